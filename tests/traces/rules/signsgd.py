import numpy as np

from maths import ema
from rule import Rule


def signsgd(h, s, t, lr, p, g):
    s.before_sign = s.b = ema(s.b, g, h.momentum)
    return lr * np.sign(s.before_sign)


RULE = Rule(signsgd, {"lr": 1e-3, "momentum": 0.9}, takes_signs=True)
