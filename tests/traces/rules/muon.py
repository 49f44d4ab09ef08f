import math

from maths import ema, newton_schulz
from rule import Recorded, Rule, SMALL


def muon(h, s, t, lr, p, g):
    s.momentum_buffer = ema(s.momentum_buffer, g, h.momentum)
    u = g + h.momentum * (s.momentum_buffer - g) if h.nesterov else s.momentum_buffer
    rows, columns = p.shape
    scale = {"original": math.sqrt(max(1, rows / columns)),
             "match_rms_adamw": 0.2 * math.sqrt(max(rows, columns)),
             "spectral_unclamped": math.sqrt(rows / columns)}[h.adjust_lr_fn]
    return lr * scale * newton_schulz(u, h.ns_a, h.ns_b, h.ns_c, h.ns_steps, h.eps)


RULE = Rule(
    muon,
    {
        "lr": 1e-3, "momentum": 0.95, "nesterov": True, "weight_decay": 0.1, "eps": 1e-7,
        "ns_steps": 5, "ns_a": 3.4445, "ns_b": -4.775, "ns_c": 2.0315, "adjust_lr_fn": "original",
    },
    decay="beside",
    recorded=Recorded(like_params=["momentum_buffer"]),
    sizes=SMALL,
    shapes={"tall": (5, 3), "wide": (3, 7), "square": (4, 4)},
    shapes_of={
        "match_rms_adamw": {"tall": (5, 3), "row": (1, 6), "column": (6, 1)},
        "spectral_unclamped": {"wide": (3, 7), "column": (6, 1), "row": (1, 6)},
    },
)
