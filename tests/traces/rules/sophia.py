import numpy as np

from maths import ema
from rule import Curvature, Rule


def sophia(h, s, t, lr, p, g, estimate):
    if estimate is not None:
        s.h = ema(s.h, estimate, h.beta2)
    s.m = ema(s.m, g, h.beta1)
    return lr * np.clip(s.m / np.maximum(h.rho * s.h, h.eps), -1, 1)


def make_estimate(trace, h, t):
    # Such that some steps are clipped and some not.
    first_weight = (1 - h.beta2) * h.rho
    middle = -np.log10(30 * first_weight)
    return trace.numbers(middle - 1.5, middle + 1.5, zeros=1 / 16, bias=0.95)


RULE = Rule(
    sophia,
    {"lr": 1e-4, "beta1": 0.965, "beta2": 0.99, "rho": 0.04, "eps": 1e-12, "cautious": False},
    decay="beside",
    curvature=Curvature("hessian_estimate", 10, make_estimate),
    closed_forms={
        "cautious": dict(
            lr=0.01, beta1=0.8, beta2=0.9, rho=0.5, eps=0.02, weight_decay=0.2, cautious=True),
    },
)
