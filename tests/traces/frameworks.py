"""How to run a case with each framework, in f64 or f32.

Each `*_case` makes an entry of the table in cases.py. Its `run(trace, dtype)` gives the parameters
after every step, a list of `{name: array}`, and what some rules have besides them.
"""

import os
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Callable

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np
import optax
import torch

import formulas

torch.set_num_threads(1)


@dataclass
class Case:
    name: str
    hyper: dict
    source: str
    runner: Callable

    @property
    def rule(self):
        return self.name.split("-")[0]

    def run(self, trace, dtype):
        return self.runner(self, trace, dtype)


def torch_case(name, make, negated=False, note="", **hyper):
    """`make(parameters)` gives a PyTorch optimizer, of whichever package.

    `negated`: the framework cannot maximize, or gets it wrong, so it gets the negated gradients.
    `note` joins the trace's `source`.
    """
    package = class_path(make).split(".")[0]
    distribution = package.replace("_", "-")
    source = f"{distribution} {version(distribution)} {class_path(make)}{note}"

    def run(case, trace, dtype):
        # Some optimizers keep scalars as tensors of the default type.
        torch.set_default_dtype(getattr(torch, dtype))
        params = {n: torch.tensor(p, requires_grad=True) for n, p in trace.start(dtype).items()}
        optimizer = make(list(params.values()))
        if package == "schedulefree":
            optimizer.train()
        steps, extras = [], {}
        for t, lr in enumerate(formulas.rates(case.rule, case.hyper, trace.steps), start=1):
            if isinstance(case.hyper.get("lr"), list):
                optimizer.param_groups[0]["lr"] = lr
            for n, g in trace.gradient(t, dtype).items():
                # A copy, since some optimizers write into it.
                params[n].grad = torch.tensor(-g if negated else g)
            curvature = trace.curvature(t, dtype)
            if curvature:
                optimizer.step(hessian=[torch.tensor(h) for h in curvature.values()])
            else:
                optimizer.step()
            steps.append(values(params))
            if package == "schedulefree" and t in formulas.EVALUATED:
                optimizer.eval()
                extras |= {f"evaluated.{t}.{n}": p for n, p in values(params).items()}
                optimizer.train()
                # Switching there and back rounds; the run goes on from what it had.
                for n, p in steps[-1].items():
                    params[n].data.copy_(torch.tensor(p))
        if case.rule == "asgd":
            averages = {n: optimizer.state[p]["ax"] for n, p in params.items()}
            extras = {f"expected_ax.{trace.steps}.{n}": a for n, a in values(averages).items()}
        return steps, extras

    return Case(name, hyper, source, run)


def class_path(make):
    made = make.func if isinstance(make, partial) else make
    return f"{made.__module__}.{made.__qualname__}"


def values(tensors):
    return {n: tensor.detach().numpy().copy() for n, tensor in tensors.items()}


def optax_case(name, what, make, negated=False, **hyper):
    """`make(lr)` gives a gradient transformation; `what` names it in the trace's `source`."""

    def run(case, trace, dtype):
        with jax.enable_x64(dtype == "float64"):
            lrs = np.array(formulas.rates(case.rule, case.hyper, trace.steps))
            # optax rounds a plain number to f32 even here; a callable it takes as it is.
            transform = make(lambda count: lrs[int(count)])
            params = {n: jax.numpy.asarray(p) for n, p in trace.start(dtype).items()}
            state = transform.init(params)
            steps = []
            for t in range(1, trace.steps + 1):
                gradient = {n: jax.numpy.asarray(-g if negated else g)
                            for n, g in trace.gradient(t, dtype).items()}
                updates, state = transform.update(gradient, state, params)
                params = optax.apply_updates(params, updates)
                steps.append({n: np.asarray(p) for n, p in params.items()})
            return steps, {}

    return Case(name, hyper, f"optax {optax.__version__} {what}", run)


def keras_case(name, make, **hyper):
    """`make()` gives a Keras optimizer."""
    source = f"keras {keras.__version__} {class_path(make)} on jax {jax.__version__}"

    def run(case, trace, dtype):
        with jax.enable_x64(dtype == "float64"):
            keras.config.set_floatx(dtype)
            variables = {n: keras.Variable(p, dtype=dtype, name=n)
                         for n, p in trace.start(dtype).items()}
            optimizer = make()
            optimizer.build(list(variables.values()))
            steps = []
            for t in range(1, trace.steps + 1):
                gradient = [jax.numpy.asarray(g) for g in trace.gradient(t, dtype).values()]
                optimizer.apply(gradient, list(variables.values()))
                steps.append({n: np.asarray(v.value) for n, v in variables.items()})
            return steps, {}

    return Case(name, hyper, source, run)


def formula_case(name, **hyper):
    """What no framework has."""
    return Case(name, hyper, "closed form in numpy (formulas.py)", formulas.run)
