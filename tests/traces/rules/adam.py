import math

import numpy as np

from maths import ADAM, moments, root
from rule import Rule


def adam(h, s, t, lr, p, g):
    moments(h, s, g)
    c1, c2 = 1 - h.beta1**t, 1 - h.beta2**t
    m_hat = s.m / c1
    if h.nesterov:
        m_hat = h.beta1 * s.m / (1 - h.beta1 ** (t + 1)) + (1 - h.beta1) * g / c1
    if h.eps_before_correction and not h.eps_inside_root:
        s.max_v = np.maximum(s.max_v, s.v)
        v = {"off": s.v, "max_raw": s.max_v}[h.amsgrad]
        return lr * m_hat * math.sqrt(c2) / (np.sqrt(v) + h.eps)
    v_hat = s.v if h.amsgrad in ("max_raw", "max_uncorrected") else s.v / c2
    if h.amsgrad != "off":
        v_hat = s.max_v = np.maximum(s.max_v, v_hat)
    if h.amsgrad == "max_raw":
        v_hat = v_hat / c2
    return lr * m_hat / root(h, v_hat)


RULE = Rule(
    adam,
    ADAM | {"lr": 1e-3, "cautious": False},
    closed_forms={
        "cautious": dict(
            lr=0.01, beta2=0.95, eps=1e-3, weight_decay=0.1, amsgrad="max_raw", cautious=True),
    },
)
