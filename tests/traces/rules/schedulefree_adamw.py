import numpy as np

from maths import BETAS, SCHEDULE_FREE, ema, schedulefree
from rule import Rule


def schedulefree_adamw(h, s, t, lr, y, g):
    s.v = ema(s.v, g * g, h.beta2)
    d = g / (np.sqrt(s.v / (1 - h.beta2**t)) + h.eps)
    return schedulefree(h, s, t, lr, y, d, h.beta1)


RULE = Rule(schedulefree_adamw, BETAS | SCHEDULE_FREE | {"lr": 2.5e-3, "eps": 1e-8}, decay="own")
