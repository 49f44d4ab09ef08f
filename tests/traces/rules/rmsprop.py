import numpy as np

from maths import EPS, ema, root
from rule import Rule


def rmsprop(h, s, t, lr, p, g):
    s.square_avg = variance = ema(s.square_avg, g * g, h.alpha)
    if h.centered:
        s.grad_avg = ema(s.grad_avg, g, h.alpha)
        variance = np.maximum(s.square_avg - s.grad_avg**2, 0)
    s.b = h.momentum * s.b + g / root(h, variance)
    return lr * s.b


RULE = Rule(
    rmsprop,
    EPS | {"lr": 1e-2, "alpha": 0.99, "momentum": 0.0, "centered": False, "cautious": False},
    closed_forms={
        "cautious": dict(
            lr=0.003, alpha=0.9, momentum=0.8, eps=0.05, weight_decay=0.1, cautious=True),
    },
)
