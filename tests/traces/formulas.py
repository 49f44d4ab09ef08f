"""The rules in plain numpy, to check what the frameworks give and to record what none of them has.

A rule is a function of its hyperparameters `h`, its state `s` (anything not yet set is zero), the
step count `t` from 1, the learning rate, the parameters and the gradient. It returns what is to be
subtracted from the parameters. Maximizing and weight decay are added by `run`.
"""

import math
from types import SimpleNamespace

import numpy as np

# Steps at which the schedule-free optimizers are switched to evaluation.
EVALUATED = [1, 10, 100]


class State:
    def __getattr__(self, _):
        return 0.0


def ema(x, y, beta):
    return x + (1 - beta) * (y - x)


def root(h, x):
    return np.sqrt(x + h.eps) if h.eps_inside_root else np.sqrt(x) + h.eps


def moments(h, s, g):
    s.m = ema(s.m, g, h.beta1)
    s.v = ema(s.v, g * g, h.beta2)


def sgd(h, s, t, lr, p, g):
    if h.momentum == 0:
        return lr * g
    if h.momentum_form == "ema":
        s.b = ema(s.b, g, h.momentum)
    else:
        s.b = g if t == 1 else h.momentum * s.b + (1 - h.dampening) * g
    return lr * (g + h.momentum * s.b if h.nesterov else s.b)


def adagrad(h, s, t, lr, p, g):
    s.sum = (h.initial_accumulator_value if t == 1 else s.sum) + g * g
    return lr / (1 + (t - 1) * h.lr_decay) * g / root(h, s.sum)


def adadelta(h, s, t, lr, p, g):
    s.square_avg = ema(s.square_avg, g * g, h.rho)
    delta = np.sqrt(s.acc_delta + h.eps) / np.sqrt(s.square_avg + h.eps) * g
    s.acc_delta = ema(s.acc_delta, delta * delta, h.rho)
    return lr * delta


def rmsprop(h, s, t, lr, p, g):
    s.square_avg = variance = ema(s.square_avg, g * g, h.alpha)
    if h.centered:
        s.grad_avg = ema(s.grad_avg, g, h.alpha)
        variance = np.maximum(s.square_avg - s.grad_avg**2, 0)
    s.b = h.momentum * s.b + g / root(h, variance)
    return lr * s.b


def rprop(h, s, t, lr, p, g):
    agreement = np.sign(g) * np.sign(s.prev)
    factor = np.where(agreement > 0, h.etaplus, np.where(agreement < 0, h.etaminus, 1.0))
    step_size = (h.lr if t == 1 else s.step_size) * factor.astype(g.dtype)
    s.step_size = np.clip(step_size, h.step_size_min, h.step_size_max)
    s.prev = np.where(agreement < 0, np.zeros_like(g), g)
    return np.sign(s.prev) * s.step_size


def asgd(h, s, t, lr, p, g):
    # Both follow from the step before, so that a changed learning rate acts one step late.
    eta = lr if t == 1 else s.lr / (1 + h.lambd * s.lr * (t - 1)) ** h.alpha
    mu = 1 / max(1, t - 1 - h.t0)
    s.lr = lr
    change = h.lambd * eta * p + eta * g
    s.ax = s.ax + mu * (p - change - s.ax)
    return change


def adam(h, s, t, lr, p, g):
    moments(h, s, g)
    c1, c2 = 1 - h.beta1**t, 1 - h.beta2**t
    m_hat = s.m / c1
    if h.nesterov:
        m_hat = h.beta1 * s.m / (1 - h.beta1 ** (t + 1)) + (1 - h.beta1) * g / c1
    if h.eps_before_correction and not h.eps_inside_root:
        s.max_v = np.maximum(s.max_v, s.v)
        v = {"off": s.v, "max_raw": s.max_v}[h.amsgrad]
        return lr * m_hat * math.sqrt(c2) / (np.sqrt(v) + h.eps)
    v_hat = s.v if h.amsgrad in ("max_raw", "max_uncorrected") else s.v / c2
    if h.amsgrad != "off":
        v_hat = s.max_v = np.maximum(s.max_v, v_hat)
    if h.amsgrad == "max_raw":
        v_hat = v_hat / c2
    return lr * m_hat / root(h, v_hat)


def adamax(h, s, t, lr, p, g):
    s.m = ema(s.m, g, h.beta1)
    m_hat = s.m / (1 - h.beta1**t)
    if h.eps_in_state:
        s.u = np.maximum(h.beta2 * s.u, np.abs(g) + h.eps)
        return lr * m_hat / s.u
    s.u = np.maximum(h.beta2 * s.u, np.abs(g))
    return lr * m_hat / (s.u + h.eps)


def nadam(h, s, t, lr, p, g):
    moments(h, s, g)
    mu = h.beta1 * (1 - 0.5 * 0.96 ** (t * h.momentum_decay))
    next_mu = h.beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * h.momentum_decay))
    s.mu_product = mu if t == 1 else s.mu_product * mu
    ahead = (1 - mu) / (1 - s.mu_product) * g + next_mu / (1 - s.mu_product * next_mu) * s.m
    return lr * ahead / root(h, s.v / (1 - h.beta2**t))


def radam(h, s, t, lr, p, g):
    moments(h, s, g)
    c2 = 1 - h.beta2**t
    m_hat = s.m / (1 - h.beta1**t)
    limit = 2 / (1 - h.beta2) - 1
    rho = limit - 2 * t * h.beta2**t / c2
    if rho <= h.rho_threshold:
        return lr * m_hat
    r = math.sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho))
    if h.eps_before_correction and not h.eps_inside_root:
        return lr * m_hat * r * math.sqrt(c2) / (np.sqrt(s.v) + h.eps)
    return lr * m_hat * r / root(h, s.v / c2)


def adabelief(h, s, t, lr, p, g):
    s.m = ema(s.m, g, h.beta1)
    s.s = ema(s.s, (g - s.m) ** 2, h.beta2) + (h.eps if h.eps_in_state else 0.0)
    return lr * s.m / (1 - h.beta1**t) / root(h, s.s / (1 - h.beta2**t))


def adabound(h, s, t, lr, p, g):
    moments(h, s, g)
    s.max_v = np.maximum(s.max_v, s.v)
    v = s.max_v if h.amsbound else s.v
    rate = lr * math.sqrt(1 - h.beta2**t) / (1 - h.beta1**t) / (np.sqrt(v) + h.eps)
    final_lr = h.final_lr * lr / h.lr
    low, high = final_lr * (1 - 1 / (h.gamma * t + 1)), final_lr * (1 + 1 / (h.gamma * t))
    return np.clip(rate, low, high) * s.m


def yogi(h, s, t, lr, p, g):
    if t == 1:
        s.m = s.v = h.initial_accumulator_value
    s.m = ema(s.m, g, h.beta1)
    s.v = s.v - (1 - h.beta2) * np.sign(s.v - g * g) * g * g
    v_hat = s.v / (1 - h.beta2**t)
    return lr * s.m / (1 - h.beta1**t) / (np.sqrt(v_hat) + h.eps)


def lion(h, s, t, lr, p, g):
    u = np.sign(h.beta1 * s.m + (1 - h.beta1) * g)
    s.m = ema(s.m, g, h.beta2)
    return lr * u


def signsgd(h, s, t, lr, p, g):
    s.b = ema(s.b, g, h.momentum)
    return lr * np.sign(s.b)


def adan(h, s, t, lr, p, g):
    d = g - (g if t == 1 else s.prev)
    s.prev = g
    s.m = ema(s.m, g, h.beta1)
    s.diff = ema(s.diff, d, h.beta2)
    s.n = ema(s.n, (g + h.beta2 * d) ** 2, h.beta3)
    ahead = s.m / (1 - h.beta1**t) + h.beta2 * s.diff / (1 - h.beta2**t)
    change = lr * ahead / (np.sqrt(s.n / (1 - h.beta3**t)) + h.eps)
    if h.decoupled_weight_decay:
        return change
    return p - (p - change) / (1 + lr * h.weight_decay)


def adopt(h, s, t, lr, p, g):
    if t == 1:
        s.v = g * g
        return np.zeros_like(p)
    bound = t**h.clip_exponent
    s.m = ema(s.m, np.clip(g / np.maximum(np.sqrt(s.v), h.eps), -bound, bound), h.beta1)
    s.v = ema(s.v, g * g, h.beta2)
    return lr * s.m


def ademamix(h, s, t, lr, p, g):
    alpha, beta3 = h.alpha, h.beta3
    if t < h.t_alpha_beta3:
        progress = t / h.t_alpha_beta3
        alpha *= progress
        fast, slow = math.log(h.beta1), math.log(h.beta3)
        beta3 = min(beta3, math.exp(fast * slow / ((1 - progress) * slow + progress * fast)))
    moments(h, s, g)
    s.slow = ema(s.slow, g, beta3)
    m_hat = s.m / (1 - h.beta1**t) + alpha * s.slow
    return lr * m_hat / (np.sqrt(s.v / (1 - h.beta2**t)) + h.eps)


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


def schedulefree_adamw(h, s, t, lr, y, g):
    s.v = ema(s.v, g * g, h.beta2)
    d = g / (np.sqrt(s.v / (1 - h.beta2**t)) + h.eps)
    return schedulefree(h, s, t, lr, y, d, h.beta1)


def schedulefree_sgd(h, s, t, lr, y, g):
    return schedulefree(h, s, t, lr, y, g, h.momentum)


def sophia(h, s, t, lr, p, g, estimate):
    if estimate is not None:
        s.h = ema(s.h, estimate, h.beta2)
    s.m = ema(s.m, g, h.beta1)
    return lr * np.clip(s.m / np.maximum(h.rho * s.h, h.eps), -1, 1)


def newton(h, s, t, lr, p, g, hessian):
    if hessian is not None:
        s.h = hessian
    return lr * g / (np.abs(s.h) + h.damping)


BETAS = {"beta1": 0.9, "beta2": 0.999}
EPS = {"eps": 1e-8, "eps_inside_root": False}
ADAM = BETAS | EPS | {"eps_before_correction": False, "amsgrad": "off", "nesterov": False}
SCHEDULE_FREE = {"r": 0.0, "weight_lr_power": 2.0, "warmup_steps": 0}
L2 = {"decoupled_weight_decay": False}

# The update of each rule and this crate's defaults. Where a rule does not list it, `maximize` is
# false and `weight_decay` 0.
RULES = {
    "sgd": (sgd, {"lr": 1e-3, "momentum": 0.0, "dampening": 0.0, "nesterov": False,
                  "momentum_form": "classic"}),
    "adagrad": (adagrad, {"lr": 1e-2, "lr_decay": 0.0, "initial_accumulator_value": 0.0,
                          "eps": 1e-10, "eps_inside_root": False}),
    "adadelta": (adadelta, {"lr": 1.0, "rho": 0.9, "eps": 1e-6}),
    "rmsprop": (rmsprop, EPS | {"lr": 1e-2, "alpha": 0.99, "momentum": 0.0, "centered": False}),
    "rprop": (rprop, {"lr": 1e-2, "etaminus": 0.5, "etaplus": 1.2, "step_size_min": 1e-6,
                      "step_size_max": 50.0}),
    "asgd": (asgd, {"lr": 1e-2, "lambd": 1e-4, "alpha": 0.75, "t0": 1e6}),
    "adam": (adam, ADAM | {"lr": 1e-3}),
    "adamw": (adam, ADAM | {"lr": 1e-3, "weight_decay": 1e-2}),
    "adamax": (adamax, BETAS | {"lr": 2e-3, "eps": 1e-8, "eps_in_state": True}),
    "nadam": (nadam, BETAS | EPS | L2 | {"lr": 2e-3, "momentum_decay": 4e-3}),
    "radam": (radam, BETAS | EPS | L2 | {"lr": 1e-3, "eps_before_correction": True,
                                         "rho_threshold": 5.0}),
    "adabelief": (adabelief, BETAS | {"lr": 1e-3, "eps": 1e-16, "eps_inside_root": False,
                                      "eps_in_state": True}),
    "adabound": (adabound, BETAS | {"lr": 1e-3, "eps": 1e-8, "final_lr": 0.1, "gamma": 1e-3,
                                    "amsbound": False, "decoupled_weight_decay": True}),
    "yogi": (yogi, BETAS | {"lr": 1e-2, "eps": 1e-3, "initial_accumulator_value": 1e-6}),
    "lion": (lion, {"lr": 1e-4, "beta1": 0.9, "beta2": 0.99}),
    "signsgd": (signsgd, {"lr": 1e-3, "momentum": 0.9}),
    "adan": (adan, L2 | {"lr": 1e-3, "beta1": 0.98, "beta2": 0.92, "beta3": 0.99, "eps": 1e-8}),
    "adopt": (adopt, L2 | {"lr": 1e-3, "beta1": 0.9, "beta2": 0.9999, "eps": 1e-6,
                           "clip_exponent": 0.25}),
    "ademamix": (ademamix, BETAS | {"lr": 1e-3, "beta3": 0.9999, "alpha": 5.0,
                                    "t_alpha_beta3": 0.0, "eps": 1e-8}),
    "schedulefree_adamw": (schedulefree_adamw,
                           BETAS | SCHEDULE_FREE | {"lr": 2.5e-3, "eps": 1e-8}),
    "schedulefree_sgd": (schedulefree_sgd, SCHEDULE_FREE | {"lr": 1.0, "momentum": 0.9}),
    "sophia": (sophia, {"lr": 1e-4, "beta1": 0.965, "beta2": 0.99, "rho": 0.04, "eps": 1e-12}),
    "newton": (newton, {"lr": 1.0, "damping": 1e-8}),
}
DECOUPLED = ["adamw", "adabelief", "lion", "ademamix", "sophia"]
DECAY_OF_THEIR_OWN = ["adan", "schedulefree_adamw", "schedulefree_sgd"]


def hyperparameters(rule, changed):
    defaults = {"maximize": False, "weight_decay": 0.0} | RULES[rule][1]
    unknown = set(changed) - set(defaults)
    assert not unknown, f"{rule} has no {unknown}"
    return SimpleNamespace(**(defaults | changed))


def rates(rule, changed, steps):
    lr = hyperparameters(rule, changed).lr
    return lr if isinstance(lr, list) else [lr] * steps


def run(case, trace, dtype):
    """The parameters after every step, and what some rules have besides them."""
    update, h = RULES[case.rule][0], hyperparameters(case.rule, case.hyper)
    lrs = rates(case.rule, case.hyper, trace.steps)
    h.lr = lrs[0]
    decoupled = getattr(h, "decoupled_weight_decay", case.rule in DECOUPLED)
    coupled = not decoupled and case.rule not in DECAY_OF_THEIR_OWN
    steps, extras = [{} for _ in range(trace.steps)], {}
    for name, p in trace.start(dtype).items():
        s = State()
        for t, lr in enumerate(lrs, start=1):
            g = trace.gradient(t, dtype)[name]
            if h.maximize:
                g = -g
            if coupled:
                g = g + h.weight_decay * p
            if trace.second_order:
                curvature = trace.curvature(t, dtype)
                change = update(h, s, t, lr, p, g, curvature and curvature[name])
            else:
                change = update(h, s, t, lr, p, g)
            p = p - (lr * h.weight_decay * p + change if decoupled else change)
            assert p.dtype == dtype, f"{case.name} left {dtype}"
            steps[t - 1][name] = p
            if "schedulefree" in case.rule and t in EVALUATED:
                extras[f"evaluated.{t}.{name}"] = s.evaluated
        if case.rule == "asgd":
            extras[f"expected_ax.{trace.steps}.{name}"] = s.ax
    return steps, extras
