import numpy as np

from maths import BETAS, ema, trust_ratio
from rule import Recorded, Rule, SMALL


def lamb(h, s, t, lr, p, g):
    s.exp_avg = ema(s.exp_avg, g, h.beta1)
    s.exp_avg_sq = ema(s.exp_avg_sq, g * g, h.beta2)
    u = s.exp_avg / (1 - h.beta1**t) / (np.sqrt(s.exp_avg_sq / (1 - h.beta2**t)) + h.eps)
    u = u + h.weight_decay * p
    s.trust_ratio = trust_ratio(p, u)
    return lr * s.trust_ratio * u


RULE = Rule(
    lamb,
    BETAS | {"lr": 1e-3, "eps": 1e-6},
    decay="own",
    recorded=Recorded(like_params=["exp_avg", "exp_avg_sq"], others=["trust_ratio"]),
    sizes=SMALL,
)
