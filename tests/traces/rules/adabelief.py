from maths import BETAS, ema, root
from rule import Rule


def adabelief(h, s, t, lr, p, g):
    s.m = ema(s.m, g, h.beta1)
    s.s = ema(s.s, (g - s.m) ** 2, h.beta2) + (h.eps if h.eps_in_state else 0.0)
    return lr * s.m / (1 - h.beta1**t) / root(h, s.s / (1 - h.beta2**t))


RULE = Rule(
    adabelief,
    BETAS | {
        "lr": 1e-3, "eps": 1e-16, "eps_inside_root": False, "eps_in_state": True,
        "cautious": False,
    },
    decay="beside",
    closed_forms={
        "eps_inside": dict(lr=0.01, beta2=0.95, eps=0.02, eps_inside_root=True),
        "cautious": dict(lr=0.01, beta2=0.95, eps=1e-4, weight_decay=0.2, cautious=True),
    },
)
