"""Runs the rules of rules/, in plain numpy: to check what the frameworks give, and to record what
none of them has."""

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np

# Each file's rule, under the file's name.
FILES = sorted((Path(__file__).parent / "rules").glob("*.py"))
RULES = {file.stem: import_module(f"rules.{file.stem}").RULE for file in FILES}


class State:
    def __getattr__(self, _):
        return 0.0


def hyperparameters(rule, changed):
    defaults = {"maximize": False, "weight_decay": 0.0} | RULES[rule].defaults
    unknown = set(changed) - set(defaults)
    assert not unknown, f"{rule} has no {unknown}"
    return SimpleNamespace(**(defaults | changed))


def rates(rule, changed, steps):
    lr = hyperparameters(rule, changed).lr
    return lr if isinstance(lr, list) else [lr] * steps


def is_evaluated(trace, t):
    """Whether the schedule-free optimizers are switched to evaluation after step t."""
    return t in (1, 10, trace.steps)


def recorded_state(case, trace, params, find):
    """`find(slot, name)` gives the state of a tensor, None where it has no such state."""
    rule = RULES[case.rule]
    recorded = rule.recorded_of.get(case.variant, rule.recorded)
    found = {}
    for slot in recorded.like_params + recorded.others:
        for n, p in params.items():
            value = find(slot, n)
            if value is not None:
                value = np.asarray(value, p.dtype)
                if slot in recorded.others:
                    value = value.reshape(-1)
                elif value.size == p.size:
                    value = value.reshape(p.shape)
                else:
                    # A framework may hold one zero for a tensor of zeros.
                    value = np.full_like(p, value)
                found[f"expected_{slot}.{trace.steps}.{n}"] = value
    return found


def cautious(change, g):
    mask = ((np.sign(change) == np.sign(g)) & (g != 0)).astype(g.dtype)
    return change * mask / max(mask.mean(), 1e-3)


def run(case, trace, dtype, watch=None):
    """The parameters after every step, and what some rules have besides them.

    `watch(name, change, g)` gets what decides each mask of caution.
    """
    rule, h = RULES[case.rule], hyperparameters(case.rule, case.hyper)
    lrs = rates(case.rule, case.hyper, trace.steps)[:trace.steps]
    h.lr = rates(case.rule, case.hyper, 1)[0]
    decay = "beside" if getattr(h, "decoupled_weight_decay", False) else rule.decay
    params = trace.start(dtype)
    states = {n: State() for n in params}
    steps, extras = [], {}
    for t, lr in enumerate(lrs, start=1):
        grads = trace.gradient(t, dtype)
        curvature = trace.curvature(t, dtype)
        for n, p in params.items():
            if h.maximize:
                grads[n] = -grads[n]
            if decay == "gradient":
                grads[n] = grads[n] + h.weight_decay * p
        if rule.prepare:
            rule.prepare(h, states, t, lr, params, grads)
        for n, p in params.items():
            g, s = grads[n], states[n]
            more = [curvature and curvature[n]] if rule.curvature else []
            change = rule.update(h, s, t, lr, p, g, *more)
            if getattr(h, "cautious", False):
                if watch:
                    watch(n, s.before_sign if rule.takes_signs else change, g)
                change = cautious(change, g)
            if decay == "proximal":
                p = (p - change) / (1 + lr * h.weight_decay)
            else:
                p = p - (lr * h.weight_decay * p + change if decay == "beside" else change)
            assert p.dtype == dtype, f"{case.name} left {dtype}"
            params[n] = p
            if "evaluated" in vars(s) and is_evaluated(trace, t):
                extras[f"evaluated.{t}.{n}"] = s.evaluated
        steps.append(dict(params))
    find = lambda slot, n: vars(states[n]).get(slot)
    return steps, extras | recorded_state(case, trace, params, find)
