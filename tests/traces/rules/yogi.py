import numpy as np

from maths import BETAS, ema
from rule import Rule


def yogi(h, s, t, lr, p, g):
    if t == 1:
        s.m = s.v = h.initial_accumulator_value
    s.m = ema(s.m, g, h.beta1)
    s.v = s.v - (1 - h.beta2) * np.sign(s.v - g * g) * g * g
    v_hat = s.v / (1 - h.beta2**t)
    return lr * s.m / (1 - h.beta1**t) / (np.sqrt(v_hat) + h.eps)


RULE = Rule(
    yogi,
    BETAS | {"lr": 1e-2, "eps": 1e-3, "initial_accumulator_value": 1e-6, "cautious": False},
    closed_forms={"cautious": dict(lr=0.02, beta2=0.9, eps=0.01, maximize=True, cautious=True)},
)
