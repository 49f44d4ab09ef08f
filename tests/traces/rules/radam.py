import math

import numpy as np

from maths import BETAS, EPS, L2, moments, root
from rule import Rule


def radam(h, s, t, lr, p, g):
    moments(h, s, g)
    c2 = 1 - h.beta2**t
    m_hat = s.m / (1 - h.beta1**t)
    limit = 2 / (1 - h.beta2) - 1
    rho = limit - 2 * t * h.beta2**t / c2
    if rho <= h.rho_threshold:
        return lr * m_hat
    r = math.sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho))
    if h.eps_before_correction and not h.eps_inside_root:
        return lr * m_hat * r * math.sqrt(c2) / (np.sqrt(s.v) + h.eps)
    return lr * m_hat * r / root(h, s.v / c2)


RULE = Rule(
    radam,
    BETAS | EPS | L2 | {
        "lr": 1e-3, "eps_before_correction": True, "rho_threshold": 5.0, "cautious": False,
    },
    closed_forms={
        "cautious": dict(
            lr=0.01, beta2=0.95, eps=1e-3, weight_decay=0.1, maximize=True, cautious=True),
    },
)
