import numpy as np

from rule import Rule


def gradient_agreement(h, s, t, lr, p, g):
    agreement = np.sum(g * s.prev)
    rate = (lr if t == 1 else s.rate) * (1 + h.factor if agreement > 0 else 1 - h.factor)
    # Kept in the type that all is kept in, as a framework would keep a rate per tensor.
    s.rate = g.dtype.type(max(rate, h.min_lr))
    s.prev = g
    s.v = h.momentum * s.v - s.rate * g
    return -s.v


# The cosine of two gradients has to be so far from zero that f32 finds its sign.
CLEAR_AGREEMENT = 1e-3


def refuses(trace):
    for before, after in zip(trace.grads, trace.grads[1:]):
        for one, other in zip(before.values(), after.values()):
            one, other = one.astype("f8"), other.astype("f8")
            sizes = np.linalg.norm(one) * np.linalg.norm(other)
            if not abs((one * other).sum()) >= CLEAR_AGREEMENT * sizes > 0:
                return "two gradients are nearly orthogonal"


RULE = Rule(
    gradient_agreement,
    {"lr": 1e-3, "momentum": 0.9, "factor": 0.1, "min_lr": 1e-6},
    refuses=refuses,
    closed_forms={
        "": dict(),
        "options": dict(lr=0.01, momentum=0.7, factor=0.3, min_lr=0.005, maximize=True),
    },
)
