import numpy as np

from maths import ema
from rule import Recorded, Rule, SMALL


def novograd(h, s, t, lr, p, g):
    square = np.linalg.norm(g) ** 2
    s.exp_avg_sq = square if t == 1 else ema(s.exp_avg_sq, square, h.beta2)
    s.exp_avg = h.beta1 * s.exp_avg + g / (np.sqrt(s.exp_avg_sq) + h.eps) + h.weight_decay * p
    return lr * s.exp_avg


RULE = Rule(
    novograd,
    {"lr": 1e-3, "beta1": 0.9, "beta2": 0.25, "eps": 1e-6},
    decay="own",
    recorded=Recorded(like_params=["exp_avg"], others=["exp_avg_sq"]),
    sizes=SMALL,
)
