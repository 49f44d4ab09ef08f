import math

import numpy as np

from maths import ema, root_mean_square
from rule import Recorded, Rule, SMALL


def adafactor(h, s, t, lr, p, g):
    weight = t**h.beta2_decay
    alpha = max(h.eps2, root_mean_square(p)) * min(lr, 1 / math.sqrt(t))
    if g.ndim > 1:
        s.row_var = ema(s.row_var, np.mean(g * g, axis=-1, keepdims=True), 1 - weight)
        s.col_var = ema(s.col_var, np.mean(g * g, axis=-2, keepdims=True), 1 - weight)
        mean = np.mean(s.row_var, axis=-2, keepdims=True)
        variance = s.row_var * s.col_var / np.maximum(mean, h.eps1)
    else:
        s.variance = variance = ema(s.variance, g * g, 1 - weight)
    u = g / np.sqrt(np.maximum(variance, h.eps1**2))
    return alpha / max(1.0, root_mean_square(u) / h.d) * u


RULE = Rule(
    adafactor,
    {"lr": 1e-2, "beta2_decay": -0.8, "eps1": 1.1920928955078125e-7, "eps2": 1e-3, "d": 1.0},
    decay="beside",
    recorded=Recorded(others=["row_var", "col_var", "variance"]),
    sizes=SMALL,
    shapes_of={
        "options": {"w": (5, 3), "b": (7,), "k": (2, 3, 2), "s": (), "row": (1, 6),
                    "column": (6, 1)},
    },
)
