import numpy as np

from maths import ema
from rule import Rule


def adadelta(h, s, t, lr, p, g):
    s.square_avg = ema(s.square_avg, g * g, h.rho)
    delta = np.sqrt(s.acc_delta + h.eps) / np.sqrt(s.square_avg + h.eps) * g
    s.acc_delta = ema(s.acc_delta, delta * delta, h.rho)
    return lr * delta


RULE = Rule(adadelta, {"lr": 1.0, "rho": 0.9, "eps": 1e-6})
