import numpy as np

from rule import Curvature, Rule


def newton(h, s, t, lr, p, g, hessian):
    if hessian is not None:
        s.h = hessian
    return lr * g / (np.abs(s.h) + h.damping)


def make_hessian(trace, h, t):
    # A zero needs a damping that counts, else the step leaves the range of the test.
    return trace.numbers(-1, 1, zeros=1 / 16 if h.damping > 1e-3 else 0, bias=0.5)


RULE = Rule(
    newton,
    {"lr": 1.0, "damping": 1e-8},
    curvature=Curvature("hessian", 7, make_hessian),
    closed_forms={"": dict(), "options": dict(lr=0.1, damping=0.1, maximize=True)},
)
