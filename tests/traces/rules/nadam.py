from maths import BETAS, EPS, L2, moments, root
from rule import Rule


def nadam(h, s, t, lr, p, g):
    moments(h, s, g)
    mu = h.beta1 * (1 - 0.5 * 0.96 ** (t * h.momentum_decay))
    next_mu = h.beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * h.momentum_decay))
    s.mu_product = mu if t == 1 else s.mu_product * mu
    ahead = (1 - mu) / (1 - s.mu_product) * g + next_mu / (1 - s.mu_product * next_mu) * s.m
    return lr * ahead / root(h, s.v / (1 - h.beta2**t))


RULE = Rule(
    nadam,
    BETAS | EPS | L2 | {"lr": 2e-3, "momentum_decay": 4e-3, "cautious": False},
    closed_forms={
        "eps_inside": dict(lr=0.01, beta2=0.95, eps=0.02, eps_inside_root=True, weight_decay=0.1),
        "cautious": dict(
            lr=0.01, beta2=0.95, eps=1e-3, weight_decay=0.3, decoupled_weight_decay=True,
            cautious=True),
    },
)
