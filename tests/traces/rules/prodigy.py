import math

import numpy as np

from maths import BETAS, ema
from rule import Recorded, Rule, SMALL


def estimate(h, states, t, lr, params, grads):
    """What Prodigy takes from all tensors together."""
    if t == 1:
        for n, s in states.items():
            s.p0, s.d, s.d_max = params[n], h.d0, h.d0
    one = next(iter(states.values()))
    d, d_max, numerator = one.d, one.d_max, one.d_numerator
    beta3, growth_rate = h.beta3 or math.sqrt(h.beta2), h.growth_rate or math.inf
    dlr = d * lr
    if h.use_bias_correction:
        dlr *= math.sqrt(1 - h.beta2**t) / (1 - h.beta1**t)
    moved = sum((g * (states[n].p0 - params[n])).sum() for n, g in grads.items())
    numerator = beta3 * numerator + d / h.d0 * dlr * moved
    total = 0.0
    for n, s in states.items():
        s.exp_avg = ema(s.exp_avg, d * grads[n], h.beta1)
        s.exp_avg_sq = ema(s.exp_avg_sq, (d * grads[n]) ** 2, h.beta2)
        s.s = beta3 * s.s + d / h.d0 * (d if h.safeguard_warmup else dlr) * grads[n]
        total += np.abs(s.s).sum()
    assert total > 0, "frameworks differ where all gradients have been zero"
    estimate = h.d_coef * numerator / total
    # The first growth has no limit, and a larger estimate than the limit allows is kept for later.
    if d == h.d0:
        d = max(d, estimate)
    d_max = max(d_max, estimate)
    d = min(d_max, d * growth_rate)
    for s in states.values():
        s.dlr, s.d, s.d_max, s.d_numerator = dlr, d, d_max, numerator


def prodigy(h, s, t, lr, p, g):
    return s.dlr * (h.weight_decay * p + s.exp_avg / (np.sqrt(s.exp_avg_sq) + s.d * h.eps))


# The sums grow with d / d0 and are recorded where that stays small: their errors would drown those
# of the parameters.
RULE = Rule(
    prodigy,
    BETAS | {
        "lr": 1.0, "beta3": 0.0, "eps": 1e-8, "d0": 1e-6, "d_coef": 1.0, "growth_rate": 0.0,
        "use_bias_correction": False, "safeguard_warmup": False,
    },
    decay="own",
    recorded=Recorded(like_params=["exp_avg", "exp_avg_sq", "p0"], others=["d"]),
    recorded_of={
        "growth_rate": Recorded(["exp_avg", "exp_avg_sq", "p0", "s"], ["d", "d_numerator"]),
    },
    sizes=SMALL,
    prepare=estimate,
    leads_to_a_target=True,
)
