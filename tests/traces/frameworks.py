"""How to run a case with each framework, in f64 or f32.

Each `*_case` makes an entry of the table in cases.py. Its `run(trace, dtype)` gives the parameters
after every step, a list of `{name: array}`, and what some rules have besides them.
"""

import os
import sys
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from types import ModuleType

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np
import optax
import torch

import formulas
from case import Case


def without_its_models(package):
    """timm's optimizers need nothing of what `import timm` asks for."""
    [folder] = find_spec(package).submodule_search_locations
    for name, path in [(package, folder), (f"{package}.optim", f"{folder}/optim")]:
        sys.modules[name] = ModuleType(name)
        sys.modules[name].__path__ = [path]


without_its_models("timm")
import timm.optim.adamw as timm_adamw
import timm.optim.lion as timm_lion

torch.set_num_threads(1)


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
            if package == "schedulefree" and formulas.is_evaluated(trace, t):
                optimizer.eval()
                extras |= {f"evaluated.{t}.{n}": p for n, p in values(params).items()}
                optimizer.train()
                # Switching there and back rounds; the run goes on from what it had.
                for n, p in steps[-1].items():
                    params[n].data.copy_(torch.tensor(p))
        # Prodigy's sums over all tensors are its group's.
        find = lambda slot, n: (optimizer.state[params[n]] | optimizer.param_groups[0]).get(slot)
        return steps, extras | formulas.recorded_state(case, trace, steps[-1], find)

    return Case(name, hyper, source, run)


def class_path(make):
    made = make.func if isinstance(make, partial) else make
    return f"{made.__module__}.{made.__qualname__}"


def values(tensors):
    return {n: tensor.detach().numpy().copy() for n, tensor in tensors.items()}


# What optax calls the state. LARS' buffer has the sign of what is added to the parameters there.
OPTAX_STATE = {
    "lars": {"momentum_buffer": ("trace", -1)},
    "lamb": {"exp_avg": ("mu", 1), "exp_avg_sq": ("nu", 1)},
    "novograd": {"exp_avg": ("mu", 1), "exp_avg_sq": ("nu", 1)},
    "prodigy": {"exp_avg": ("exp_avg", 1), "exp_avg_sq": ("exp_avg_sq", 1), "s": ("grad_sum", 1),
                "p0": ("params0", 1), "d": ("estim_lr", 1),
                "d_numerator": ("numerator_weighted", 1)},
}


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

            def find(slot, n):
                if slot in OPTAX_STATE.get(case.rule, {}):
                    theirs, sign = OPTAX_STATE[case.rule][slot]
                    found = optax.tree.get(state, theirs)
                    return sign * np.asarray(found[n] if isinstance(found, dict) else found)

            return steps, formulas.recorded_state(case, trace, steps[-1], find)

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
