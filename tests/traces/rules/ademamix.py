import math

import numpy as np

from maths import BETAS, ema, moments
from rule import Rule


def ademamix(h, s, t, lr, p, g):
    alpha, beta3 = h.alpha, h.beta3
    if t < h.t_alpha_beta3:
        progress = t / h.t_alpha_beta3
        alpha *= progress
        fast, slow = math.log(h.beta1), math.log(h.beta3)
        beta3 = min(beta3, math.exp(fast * slow / ((1 - progress) * slow + progress * fast)))
    moments(h, s, g)
    s.slow = ema(s.slow, g, beta3)
    m_hat = s.m / (1 - h.beta1**t) + alpha * s.slow
    return lr * m_hat / (np.sqrt(s.v / (1 - h.beta2**t)) + h.eps)


RULE = Rule(
    ademamix,
    BETAS | {
        "lr": 1e-3, "beta3": 0.9999, "alpha": 5.0, "t_alpha_beta3": 0.0, "eps": 1e-8,
        "cautious": False,
    },
    decay="beside",
    closed_forms={
        "cautious": dict(
            lr=0.01, beta2=0.95, beta3=0.99, eps=1e-3, t_alpha_beta3=30.0, weight_decay=0.2,
            maximize=True, cautious=True),
    },
)
