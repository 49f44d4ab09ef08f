"""The rules in plain numpy, to check what the frameworks give and to record what none of them has.

A rule is a function of its hyperparameters `h`, its state `s` (anything not yet set is zero), the
step count `t` from 1, the learning rate, the parameters and the gradient, of one tensor. It returns
what is to be subtracted from the parameters. Maximizing, weight decay and caution are added by
`run`.
"""

import math
from types import SimpleNamespace

import numpy as np


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
    s.before_sign = h.beta1 * s.m + (1 - h.beta1) * g
    s.m = ema(s.m, g, h.beta2)
    return lr * np.sign(s.before_sign)


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
    return lr * ahead / (np.sqrt(s.n / (1 - h.beta3**t)) + h.eps)


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


def newton_dense(h, s, t, lr, p, g, hessian):
    if hessian is not None:
        s.h = hessian
    damping = h.damping
    while True:
        try:
            lower = np.linalg.cholesky(s.h + damping * np.eye(g.size, dtype=g.dtype))
            break
        except np.linalg.LinAlgError:
            damping = max(10 * damping, 1e-8)
    s.damping = damping
    d = np.linalg.solve(lower.T, np.linalg.solve(lower, np.reshape(g, -1)))
    return lr * d.reshape(g.shape)


def trust_ratio(p, u, coefficient=1.0, eps=0.0):
    of_p, of_u = np.linalg.norm(p), np.linalg.norm(u)
    return coefficient * of_p / (of_u + eps) if of_p > 0 and of_u > 0 else 1.0


def lars(h, s, t, lr, p, g):
    u = lr * trust_ratio(p, g, h.trust_coefficient, h.eps) * g
    s.momentum_buffer = h.momentum * s.momentum_buffer + u
    return u + h.momentum * s.momentum_buffer if h.nesterov else s.momentum_buffer


def lamb(h, s, t, lr, p, g):
    s.exp_avg = ema(s.exp_avg, g, h.beta1)
    s.exp_avg_sq = ema(s.exp_avg_sq, g * g, h.beta2)
    u = s.exp_avg / (1 - h.beta1**t) / (np.sqrt(s.exp_avg_sq / (1 - h.beta2**t)) + h.eps)
    u = u + h.weight_decay * p
    s.trust_ratio = trust_ratio(p, u)
    return lr * s.trust_ratio * u


def novograd(h, s, t, lr, p, g):
    square = np.linalg.norm(g) ** 2
    s.exp_avg_sq = square if t == 1 else ema(s.exp_avg_sq, square, h.beta2)
    s.exp_avg = h.beta1 * s.exp_avg + g / (np.sqrt(s.exp_avg_sq) + h.eps) + h.weight_decay * p
    return lr * s.exp_avg


def root_mean_square(x):
    return np.linalg.norm(x) / math.sqrt(x.size)


def adafactor(h, s, t, lr, p, g):
    weight = t**h.beta2_decay
    alpha = max(h.eps2, root_mean_square(p)) * min(lr, 1 / math.sqrt(t))
    if g.ndim > 1:
        s.row_var = ema(s.row_var, np.mean(g * g, axis=-1, keepdims=True), 1 - weight)
        s.col_var = ema(s.col_var, np.mean(g * g, axis=-2, keepdims=True), 1 - weight)
        mean = np.mean(s.row_var, axis=-2, keepdims=True)
        variance = s.row_var * s.col_var / np.maximum(mean, h.eps1)
    else:
        s.variance = variance = ema(s.variance, g * g, 1 - weight)
    u = g / np.sqrt(np.maximum(variance, h.eps1**2))
    return alpha / max(1.0, root_mean_square(u) / h.d) * u


def prodigy_estimate(h, states, t, lr, params, grads):
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


def gradient_agreement(h, s, t, lr, p, g):
    agreement = np.sum(g * s.prev)
    rate = (lr if t == 1 else s.rate) * (1 + h.factor if agreement > 0 else 1 - h.factor)
    # Kept in the type that all is kept in, as a framework would keep a rate per tensor.
    s.rate = g.dtype.type(max(rate, h.min_lr))
    s.prev = g
    s.v = h.momentum * s.v - s.rate * g
    return -s.v


def newton_schulz(x, a, b, c, steps, eps):
    """In the type that x has. Of numpy and of PyTorch."""
    is_tall = x.shape[0] > x.shape[1]
    x = x.T if is_tall else x
    x = x / max(float((x * x).sum()) ** 0.5, eps)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if is_tall else x


def muon(h, s, t, lr, p, g):
    s.momentum_buffer = ema(s.momentum_buffer, g, h.momentum)
    u = g + h.momentum * (s.momentum_buffer - g) if h.nesterov else s.momentum_buffer
    rows, columns = p.shape
    scale = {"original": math.sqrt(max(1, rows / columns)),
             "match_rms_adamw": 0.2 * math.sqrt(max(rows, columns)),
             "spectral_unclamped": math.sqrt(rows / columns)}[h.adjust_lr_fn]
    return lr * scale * newton_schulz(u, h.ns_a, h.ns_b, h.ns_c, h.ns_steps, h.eps)


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
    "newton_dense": (newton_dense, {"lr": 1.0, "damping": 0.0}),
    "lars": (lars, {"lr": 1e-3, "momentum": 0.9, "nesterov": False, "trust_coefficient": 1e-3,
                    "eps": 1e-8}),
    "lamb": (lamb, BETAS | {"lr": 1e-3, "eps": 1e-6}),
    "novograd": (novograd, {"lr": 1e-3, "beta1": 0.9, "beta2": 0.25, "eps": 1e-6}),
    "adafactor": (adafactor, {"lr": 1e-2, "beta2_decay": -0.8, "eps1": 1.1920928955078125e-7,
                              "eps2": 1e-3, "d": 1.0}),
    "prodigy": (prodigy, BETAS | {"lr": 1.0, "beta3": 0.0, "eps": 1e-8, "d0": 1e-6, "d_coef": 1.0,
                                  "growth_rate": 0.0, "use_bias_correction": False,
                                  "safeguard_warmup": False}),
    "gradient_agreement": (gradient_agreement, {"lr": 1e-3, "momentum": 0.9, "factor": 0.1,
                                                "min_lr": 1e-6}),
    "muon": (muon, {"lr": 1e-3, "momentum": 0.95, "nesterov": True, "weight_decay": 0.1,
                    "eps": 1e-7, "ns_steps": 5, "ns_a": 3.4445, "ns_b": -4.775, "ns_c": 2.0315,
                    "adjust_lr_fn": "original"}),
}
DECOUPLED = ["adamw", "adabelief", "lion", "ademamix", "sophia", "adafactor", "muon"]
DECAY_OF_THEIR_OWN = ["schedulefree_adamw", "schedulefree_sgd", "lamb", "novograd", "prodigy"]
CAUTIOUS = ["sgd", "rmsprop", "adam", "adamw", "nadam", "radam", "adabelief", "adamax", "adabound",
            "yogi", "lion", "adan", "adopt", "ademamix", "sophia"]

# The state that is recorded after the last step, of a rule or of one trace: slots of the tensor's
# shape, and others. Prodigy's sums grow with d / d0 and are recorded where that stays small: their
# errors would drown those of the parameters.
STATE = {
    "asgd": (["ax"], []),
    "lars": (["momentum_buffer"], []),
    "lamb": (["exp_avg", "exp_avg_sq"], ["trust_ratio"]),
    "novograd": (["exp_avg"], ["exp_avg_sq"]),
    "adafactor": ([], ["row_var", "col_var", "variance"]),
    "prodigy": (["exp_avg", "exp_avg_sq", "p0"], ["d"]),
    "prodigy-growth_rate": (["exp_avg", "exp_avg_sq", "p0", "s"], ["d", "d_numerator"]),
    "muon": (["momentum_buffer"], []),
}


def hyperparameters(rule, changed):
    defaults = {"maximize": False, "weight_decay": 0.0} | RULES[rule][1]
    if rule in CAUTIOUS:
        defaults["cautious"] = False
    unknown = set(changed) - set(defaults)
    assert not unknown, f"{rule} has no {unknown}"
    return SimpleNamespace(**(defaults | changed))


def rates(rule, changed, steps):
    lr = hyperparameters(rule, changed).lr
    return lr if isinstance(lr, list) else [lr] * steps


def is_evaluated(trace, t):
    """Whether the schedule-free optimizers are switched to evaluation after step t."""
    return t in (1, 10, trace.steps)


def recorded_state(case, trace, params, find):
    """`find(slot, name)` gives the state of a tensor, None where it has no such state."""
    like_params, others = STATE.get(case.name) or STATE.get(case.rule, ([], []))
    found = {}
    for slot in like_params + others:
        for n, p in params.items():
            value = find(slot, n)
            if value is not None:
                value = np.asarray(value, p.dtype)
                if slot in others:
                    value = value.reshape(-1)
                elif value.size == p.size:
                    value = value.reshape(p.shape)
                else:
                    # A framework may hold one zero for a tensor of zeros.
                    value = np.full_like(p, value)
                found[f"expected_{slot}.{trace.steps}.{n}"] = value
    return found


def cautious(change, g):
    mask = ((np.sign(change) == np.sign(g)) & (g != 0)).astype(g.dtype)
    return change * mask / max(mask.mean(), 1e-3)


def run(case, trace, dtype, watch=None):
    """The parameters after every step, and what some rules have besides them.

    `watch(name, change, g)` gets what decides each mask of caution.
    """
    update, h = RULES[case.rule][0], hyperparameters(case.rule, case.hyper)
    lrs = rates(case.rule, case.hyper, trace.steps)[:trace.steps]
    h.lr = rates(case.rule, case.hyper, 1)[0]
    decoupled = getattr(h, "decoupled_weight_decay", case.rule in DECOUPLED)
    proximal = case.rule == "adan" and not decoupled
    coupled = not (decoupled or proximal or case.rule in DECAY_OF_THEIR_OWN)
    params = trace.start(dtype)
    states = {n: State() for n in params}
    steps, extras = [], {}
    for t, lr in enumerate(lrs, start=1):
        grads = trace.gradient(t, dtype)
        curvature = trace.curvature(t, dtype)
        for n, p in params.items():
            if h.maximize:
                grads[n] = -grads[n]
            if coupled:
                grads[n] = grads[n] + h.weight_decay * p
        if case.rule == "prodigy":
            prodigy_estimate(h, states, t, lr, params, grads)
        for n, p in params.items():
            g, s = grads[n], states[n]
            more = [curvature and curvature[n]] if trace.second_order else []
            change = update(h, s, t, lr, p, g, *more)
            if getattr(h, "cautious", False):
                if watch:
                    watch(n, s.before_sign if case.rule == "lion" else change, g)
                change = cautious(change, g)
            if proximal:
                p = (p - change) / (1 + lr * h.weight_decay)
            else:
                p = p - (lr * h.weight_decay * p + change if decoupled else change)
            assert p.dtype == dtype, f"{case.name} left {dtype}"
            params[n] = p
            if "schedulefree" in case.rule and is_evaluated(trace, t):
                extras[f"evaluated.{t}.{n}"] = s.evaluated
        steps.append(dict(params))
    find = lambda slot, n: states[n].__dict__.get(slot)
    return steps, extras | recorded_state(case, trace, params, find)
