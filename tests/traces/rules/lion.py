import numpy as np

from maths import ema
from rule import Rule


def lion(h, s, t, lr, p, g):
    s.before_sign = h.beta1 * s.m + (1 - h.beta1) * g
    s.m = ema(s.m, g, h.beta2)
    return lr * np.sign(s.before_sign)


RULE = Rule(
    lion,
    {"lr": 1e-4, "beta1": 0.9, "beta2": 0.99, "cautious": False},
    decay="beside",
    takes_signs=True,
)
