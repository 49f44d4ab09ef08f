from maths import trust_ratio
from rule import Recorded, Rule, SMALL


def lars(h, s, t, lr, p, g):
    u = lr * trust_ratio(p, g, h.trust_coefficient, h.eps) * g
    s.momentum_buffer = h.momentum * s.momentum_buffer + u
    return u + h.momentum * s.momentum_buffer if h.nesterov else s.momentum_buffer


RULE = Rule(
    lars,
    {"lr": 1e-3, "momentum": 0.9, "nesterov": False, "trust_coefficient": 1e-3, "eps": 1e-8},
    recorded=Recorded(like_params=["momentum_buffer"]),
    sizes=SMALL,
)
