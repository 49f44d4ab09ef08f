"""What formulas of several rules share."""

import math

import numpy as np


def ema(x, y, beta):
    return x + (1 - beta) * (y - x)


def root(h, x):
    return np.sqrt(x + h.eps) if h.eps_inside_root else np.sqrt(x) + h.eps


def moments(h, s, g):
    s.m = ema(s.m, g, h.beta1)
    s.v = ema(s.v, g * g, h.beta2)


def trust_ratio(p, u, coefficient=1.0, eps=0.0):
    of_p, of_u = np.linalg.norm(p), np.linalg.norm(u)
    return coefficient * of_p / (of_u + eps) if of_p > 0 and of_u > 0 else 1.0


def root_mean_square(x):
    return np.linalg.norm(x) / math.sqrt(x.size)


def schedulefree(h, s, t, lr, y, d, beta):
    lr *= min(1.0, t / h.warmup_steps) if h.warmup_steps else 1.0
    s.max_lr = max(s.max_lr, lr)
    weight = t**h.r * s.max_lr**h.weight_lr_power
    s.sum = s.sum + weight
    c = weight / s.sum if s.sum else 0.0
    z = y if t == 1 else s.z
    d = d + h.weight_decay * y
    new_y = y + c * (z - y) - lr * (1 - beta * (1 - c)) * d
    s.z = z - lr * d
    s.evaluated = (new_y - (1 - beta) * s.z) / beta
    return y - new_y


def newton_schulz(x, a, b, c, steps, eps):
    """In the type that x has. Of numpy and of PyTorch."""
    is_tall = x.shape[0] > x.shape[1]
    x = x.T if is_tall else x
    x = x / max(float((x * x).sum()) ** 0.5, eps)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if is_tall else x


# Defaults that several rules share.
BETAS = {"beta1": 0.9, "beta2": 0.999}
EPS = {"eps": 1e-8, "eps_inside_root": False}
ADAM = BETAS | EPS | {"eps_before_correction": False, "amsgrad": "off", "nesterov": False}
SCHEDULE_FREE = {"r": 0.0, "weight_lr_power": 2.0, "warmup_steps": 0}
L2 = {"decoupled_weight_decay": False}
