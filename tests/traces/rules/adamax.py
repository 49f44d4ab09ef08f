import numpy as np

from maths import BETAS, ema
from rule import Rule


def adamax(h, s, t, lr, p, g):
    s.m = ema(s.m, g, h.beta1)
    m_hat = s.m / (1 - h.beta1**t)
    if h.eps_in_state:
        s.u = np.maximum(h.beta2 * s.u, np.abs(g) + h.eps)
        return lr * m_hat / s.u
    s.u = np.maximum(h.beta2 * s.u, np.abs(g))
    return lr * m_hat / (s.u + h.eps)


RULE = Rule(
    adamax,
    BETAS | {"lr": 2e-3, "eps": 1e-8, "eps_in_state": True, "cautious": False},
    closed_forms={"cautious": dict(lr=0.01, beta2=0.95, eps=1e-4, cautious=True)},
)
