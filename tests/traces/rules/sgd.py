from maths import ema
from rule import Rule


def sgd(h, s, t, lr, p, g):
    if h.momentum == 0:
        return lr * g
    if h.momentum_form == "ema":
        s.b = ema(s.b, g, h.momentum)
    else:
        s.b = g if t == 1 else h.momentum * s.b + (1 - h.dampening) * g
    return lr * (g + h.momentum * s.b if h.nesterov else s.b)


RULE = Rule(
    sgd,
    {
        "lr": 1e-3, "momentum": 0.0, "dampening": 0.0, "nesterov": False,
        "momentum_form": "classic", "cautious": False,
    },
    closed_forms={
        "cautious": dict(
            lr=0.02, momentum=0.9, nesterov=True, weight_decay=0.1, maximize=True,
            cautious=True),
    },
)
