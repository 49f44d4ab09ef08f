import numpy as np

from rule import Rule


def rprop(h, s, t, lr, p, g):
    agreement = np.sign(g) * np.sign(s.prev)
    factor = np.where(agreement > 0, h.etaplus, np.where(agreement < 0, h.etaminus, 1.0))
    step_size = (h.lr if t == 1 else s.step_size) * factor.astype(g.dtype)
    s.step_size = np.clip(step_size, h.step_size_min, h.step_size_max)
    s.prev = np.where(agreement < 0, np.zeros_like(g), g)
    return np.sign(s.prev) * s.step_size


RULE = Rule(
    rprop,
    {"lr": 1e-2, "etaminus": 0.5, "etaplus": 1.2, "step_size_min": 1e-6, "step_size_max": 50.0},
)
