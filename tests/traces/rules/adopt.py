import numpy as np

from maths import L2, ema
from rule import Rule


def adopt(h, s, t, lr, p, g):
    if t == 1:
        s.v = g * g
        return np.zeros_like(p)
    bound = t**h.clip_exponent
    s.m = ema(s.m, np.clip(g / np.maximum(np.sqrt(s.v), h.eps), -bound, bound), h.beta1)
    s.v = ema(s.v, g * g, h.beta2)
    return lr * s.m


RULE = Rule(
    adopt,
    L2 | {
        "lr": 1e-3, "beta1": 0.9, "beta2": 0.9999, "eps": 1e-6, "clip_exponent": 0.25,
        "cautious": False,
    },
    closed_forms={
        "cautious": dict(
            lr=0.01, beta2=0.95, eps=0.01, weight_decay=0.3, decoupled_weight_decay=True,
            cautious=True),
    },
)
