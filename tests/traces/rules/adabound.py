import math

import numpy as np

from maths import BETAS, moments
from rule import Rule


def adabound(h, s, t, lr, p, g):
    moments(h, s, g)
    s.max_v = np.maximum(s.max_v, s.v)
    v = s.max_v if h.amsbound else s.v
    rate = lr * math.sqrt(1 - h.beta2**t) / (1 - h.beta1**t) / (np.sqrt(v) + h.eps)
    final_lr = h.final_lr * lr / h.lr
    low, high = final_lr * (1 - 1 / (h.gamma * t + 1)), final_lr * (1 + 1 / (h.gamma * t))
    return np.clip(rate, low, high) * s.m


RULE = Rule(
    adabound,
    BETAS | {
        "lr": 1e-3, "eps": 1e-8, "final_lr": 0.1, "gamma": 1e-3, "amsbound": False,
        "decoupled_weight_decay": True, "cautious": False,
    },
    closed_forms={
        "cautious": dict(
            lr=0.01, beta2=0.95, gamma=0.02, eps=1e-3, weight_decay=0.3, cautious=True),
    },
)
