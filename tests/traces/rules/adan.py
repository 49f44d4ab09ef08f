import numpy as np

from maths import L2, ema
from rule import Rule


def adan(h, s, t, lr, p, g):
    d = g - (g if t == 1 else s.prev)
    s.prev = g
    s.m = ema(s.m, g, h.beta1)
    s.diff = ema(s.diff, d, h.beta2)
    s.n = ema(s.n, (g + h.beta2 * d) ** 2, h.beta3)
    ahead = s.m / (1 - h.beta1**t) + h.beta2 * s.diff / (1 - h.beta2**t)
    return lr * ahead / (np.sqrt(s.n / (1 - h.beta3**t)) + h.eps)


RULE = Rule(
    adan,
    L2 | {"lr": 1e-3, "beta1": 0.98, "beta2": 0.92, "beta3": 0.99, "eps": 1e-8, "cautious": False},
    decay="proximal",
    closed_forms={
        "cautious": dict(
            lr=0.01, beta1=0.9, beta2=0.8, beta3=0.95, eps=1e-3, weight_decay=0.3,
            cautious=True),
    },
)
