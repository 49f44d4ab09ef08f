"""Prints the table of tests/reference.rs: what the reference implementations make of a small problem.

    pip install torch==2.15.0 optax==0.2.8 pytorch-optimizer==4.1.0
    python tests/reference/record.py

Everything runs in f64. Three elements, twelve steps; inputs are closed forms of step and element.
"""

import math

import jax
import numpy as np
import optax
import pytorch_optimizer as po
import torch

jax.config.update("jax_enable_x64", True)
torch.set_default_dtype(torch.float64)

STEPS = 12
START = [0.5, -1.25, 2.0]


def grad(t, i):
    return 0.0 if (t + i) % 5 == 0 else math.sin(t * (i + 1.0)) * 10.0 ** (i - 1)


def run_torch(make):
    p = torch.tensor(START, requires_grad=True)
    optimizer = make([p])
    for t in range(1, STEPS + 1):
        # A new tensor each time, since some implementations write into it.
        p.grad = torch.tensor([grad(t, i) for i in range(3)])
        optimizer.step()
    return p.detach().tolist()


def run_optax(transform):
    p = np.array(START)
    state = transform.init(p)
    for t in range(1, STEPS + 1):
        updates, state = transform.update(np.array([grad(t, i) for i in range(3)]), state, p)
        p = np.asarray(optax.apply_updates(p, updates))
    return p.tolist()


def run_formula(update):
    """`update(t, g, p, m, v)` returns new p, m, v; for variants that no library has."""
    result = []
    for i in range(3):
        p, m, v = START[i], 0.0, 0.0
        for t in range(1, STEPS + 1):
            p, m, v = update(t, grad(t, i), p, m, v)
        result.append(p)
    return result


def nadam_inside(t, g, p, m, v):
    mu = [0.9 * (1 - 0.5 * 0.96 ** (k * 0.004)) for k in range(t + 2)]
    product = math.prod(mu[1 : t + 1])
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g * g
    look = (1 - mu[t]) / (1 - product) * g + mu[t + 1] / (1 - product * mu[t + 1]) * m
    return p - 0.01 * look / math.sqrt(v / (1 - 0.999**t) + 0.03), m, v


def radam_inside(t, g, p, m, v):
    m = 0.9 * m + 0.1 * g
    v = 0.9 * v + 0.1 * g * g
    m_hat, v_hat = m / (1 - 0.9**t), v / (1 - 0.9**t)
    limit = 2 / (1 - 0.9) - 1
    rho = limit - 2 * t * 0.9**t / (1 - 0.9**t)
    if rho <= 5:
        return p - 0.01 * m_hat, m, v
    r = math.sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho))
    return p - 0.01 * r * m_hat / math.sqrt(v_hat + 0.03), m, v


def adabelief_inside(t, g, p, m, s):
    g = -g  # maximize
    m = 0.9 * m + 0.1 * g
    s = 0.999 * s + 0.001 * (g - m) ** 2 + 0.03
    return p - 0.01 * m / (1 - 0.9**t) / math.sqrt(s / (1 - 0.999**t) + 0.03), m, s


def lr(value):
    # A callable keeps optax from rounding the rate to f32.
    return lambda _: np.float64(value)


o = torch.optim
CASES = [
    ("sgd", "lr=0.05", lambda p: o.SGD(p, lr=0.05)),
    ("sgd", "lr=0.05 momentum=0.9", lambda p: o.SGD(p, lr=0.05, momentum=0.9)),
    ("sgd", "lr=0.05 momentum=0.8 dampening=0.3 weight_decay=0.1 maximize=true",
     lambda p: o.SGD(p, lr=0.05, momentum=0.8, dampening=0.3, weight_decay=0.1, maximize=True)),
    ("sgd", "lr=0.05 momentum=0.9 nesterov=true",
     lambda p: o.SGD(p, lr=0.05, momentum=0.9, nesterov=True)),
    ("sgd", "lr=0.05 momentum=0.9 momentum_form=ema",
     optax.chain(optax.ema(0.9, debias=False), optax.scale_by_learning_rate(lr(0.05)))),
    ("adagrad", "lr=0.1", lambda p: o.Adagrad(p, lr=0.1)),
    ("adagrad", "lr=0.1 lr_decay=0.2 weight_decay=0.1 initial_accumulator_value=0.3 eps=0.01 maximize=true",
     lambda p: o.Adagrad(p, lr=0.1, lr_decay=0.2, weight_decay=0.1,
                         initial_accumulator_value=0.3, eps=0.01, maximize=True)),
    ("adagrad", "lr=0.1 eps=0.03 eps_inside_root=true initial_accumulator_value=0.1",
     optax.adagrad(lr(0.1), initial_accumulator_value=0.1, eps=0.03)),
    ("rmsprop", "lr=0.01", lambda p: o.RMSprop(p, lr=0.01)),
    ("rmsprop", "lr=0.01 alpha=0.9 centered=true momentum=0.9 eps=0.01 weight_decay=0.1 maximize=true",
     lambda p: o.RMSprop(p, lr=0.01, alpha=0.9, centered=True, momentum=0.9, eps=0.01,
                         weight_decay=0.1, maximize=True)),
    ("rmsprop", "lr=0.01 alpha=0.9 eps=0.03 eps_inside_root=true",
     optax.rmsprop(lr(0.01), decay=0.9, eps=0.03, eps_in_sqrt=True)),
    ("adam", "lr=0.01", lambda p: o.Adam(p, lr=0.01)),
    ("adam", "lr=0.01 beta1=0.8 beta2=0.95 eps=0.02 weight_decay=0.1 amsgrad=max_raw maximize=true",
     lambda p: o.Adam(p, lr=0.01, betas=(0.8, 0.95), eps=0.02, weight_decay=0.1, amsgrad=True,
                      maximize=True)),
    ("adam", "lr=0.01 beta2=0.9 amsgrad=max_corrected", optax.amsgrad(lr(0.01), b2=0.9)),
    ("adam", "lr=0.01 beta2=0.9 amsgrad=max_uncorrected eps=0.02",
     optax.amsgrad(lr(0.01), b2=0.9, eps=0.02, bias_correction_nu=False)),
    ("adam", "lr=0.01 nesterov=true", optax.nadam(lr(0.01))),
    ("adam", "lr=0.01 eps=0.03 eps_inside_root=true", optax.adam(lr(0.01), eps=0.0, eps_root=0.03)),
    ("adamw", "lr=0.01", lambda p: o.AdamW(p, lr=0.01)),
    ("adamw", "lr=0.01 beta1=0.8 beta2=0.95 eps=0.02 weight_decay=0.3 amsgrad=max_raw maximize=true",
     lambda p: o.AdamW(p, lr=0.01, betas=(0.8, 0.95), eps=0.02, weight_decay=0.3, amsgrad=True,
                       maximize=True)),
    ("adamw", "lr=0.01 weight_decay=0.2 nesterov=true", optax.nadamw(lr(0.01), weight_decay=0.2)),
    ("adamw", "lr=0.01 weight_decay=0.2 beta2=0.9 amsgrad=max_corrected",
     optax.chain(optax.scale_by_amsgrad(b2=0.9), optax.add_decayed_weights(0.2),
                 optax.scale_by_learning_rate(lr(0.01)))),
    ("adamw", "lr=0.01 weight_decay=0.2 beta2=0.9 amsgrad=max_uncorrected",
     optax.chain(optax.scale_by_amsgrad(b2=0.9, bias_correction_nu=False),
                 optax.add_decayed_weights(0.2), optax.scale_by_learning_rate(lr(0.01)))),
    ("adamw", "lr=0.01 weight_decay=0.2 eps=0.03 eps_inside_root=true",
     optax.adamw(lr(0.01), eps=0.0, eps_root=0.03, weight_decay=0.2)),
    ("nadam", "lr=0.01", lambda p: o.NAdam(p, lr=0.01)),
    ("nadam", "lr=0.01 beta1=0.8 beta2=0.95 eps=0.02 momentum_decay=0.1 weight_decay=0.3 maximize=true",
     lambda p: o.NAdam(p, lr=0.01, betas=(0.8, 0.95), eps=0.02, momentum_decay=0.1,
                       weight_decay=0.3, maximize=True)),
    ("nadam", "lr=0.01 weight_decay=0.3 decoupled_weight_decay=true",
     lambda p: o.NAdam(p, lr=0.01, weight_decay=0.3, decoupled_weight_decay=True)),
    ("radam", "lr=0.01", lambda p: o.RAdam(p, lr=0.01)),
    ("radam", "lr=0.01 beta1=0.8 beta2=0.9 eps=0.02 weight_decay=0.3 maximize=true",
     lambda p: o.RAdam(p, lr=0.01, betas=(0.8, 0.9), eps=0.02, weight_decay=0.3, maximize=True)),
    ("radam", "lr=0.01 beta2=0.9 weight_decay=0.3 decoupled_weight_decay=true",
     lambda p: o.RAdam(p, lr=0.01, betas=(0.9, 0.9), weight_decay=0.3, decoupled_weight_decay=True)),
    ("radam", "lr=0.01 beta2=0.9 rho_threshold=4 eps=1e-30",
     optax.radam(lr(0.01), b2=0.9, eps=1e-30, threshold=4.0)),
    ("adabelief", "lr=0.01 eps=0.001", optax.adabelief(lr(0.01), eps=1e-3, eps_root=1e-3)),
    ("adabelief", "lr=0.01 eps=0.02 eps_in_state=false",
     optax.adabelief(lr(0.01), eps=0.02, eps_root=0.0)),
    ("adabelief", "lr=0.01 eps=0.001 weight_decay=0.2",
     optax.chain(optax.scale_by_belief(eps=1e-3, eps_root=1e-3), optax.add_decayed_weights(0.2),
                 optax.scale_by_learning_rate(lr(0.01)))),
    ("lion", "lr=0.01 maximize=true",
     optax.chain(optax.scale(-1.0), optax.lion(lr(0.01), weight_decay=0.0))),
    ("lion", "lr=0.01 weight_decay=0.2", optax.lion(lr(0.01), weight_decay=0.2)),
    ("lion", "lr=0.01 beta1=0.7 beta2=0.8", optax.lion(lr(0.01), b1=0.7, b2=0.8, weight_decay=0.0)),
    ("adadelta", "lr=1", lambda p: o.Adadelta(p)),
    ("adadelta", "lr=0.5 rho=0.7 eps=0.01 weight_decay=0.1 maximize=true",
     lambda p: o.Adadelta(p, lr=0.5, rho=0.7, eps=0.01, weight_decay=0.1, maximize=True)),
    ("rprop", "lr=0.01", lambda p: o.Rprop(p)),
    ("rprop", "lr=0.1 etaminus=0.4 etaplus=1.5 step_size_min=0.05 step_size_max=0.3 maximize=true",
     lambda p: o.Rprop(p, lr=0.1, etas=(0.4, 1.5), step_sizes=(0.05, 0.3), maximize=True)),
    ("adamax", "lr=0.01", lambda p: o.Adamax(p, lr=0.01)),
    ("adamax", "lr=0.01 beta1=0.8 beta2=0.9 eps=0.02 weight_decay=0.3 maximize=true",
     lambda p: o.Adamax(p, lr=0.01, betas=(0.8, 0.9), eps=0.02, weight_decay=0.3, maximize=True)),
    ("adabound", "lr=0.01", lambda p: po.AdaBound(p, lr=0.01)),
    ("adabound", "lr=0.01 final_lr=0.05 gamma=0.2 eps=0.02 weight_decay=0.3",
     lambda p: po.AdaBound(p, lr=0.01, final_lr=0.05, gamma=0.2, eps=0.02, weight_decay=0.3)),
    ("adabound", "lr=0.01 gamma=0.2 beta2=0.9 amsbound=true weight_decay=0.3 decoupled_weight_decay=false maximize=true",
     lambda p: po.AdaBound(p, lr=0.01, gamma=0.2, betas=(0.9, 0.9), ams_bound=True,
                           weight_decay=0.3, weight_decouple=False, maximize=True)),
    ("yogi", "lr=0.01", optax.yogi(lr(0.01))),
    ("yogi", "lr=0.01 beta1=0.8 beta2=0.9 eps=0.02 maximize=true",
     optax.chain(optax.scale(-1.0), optax.yogi(lr(0.01), b1=0.8, b2=0.9, eps=0.02))),
    ("signsgd", "lr=0.01", optax.chain(optax.ema(0.9, debias=False), optax.sign_sgd(lr(0.01)))),
    ("signsgd", "lr=0.01 momentum=0 maximize=true",
     optax.chain(optax.scale(-1.0), optax.sign_sgd(lr(0.01)))),
    ("adan", "lr=0.01", lambda p: po.Adan(p, lr=0.01)),
    ("adan", "lr=0.01 beta1=0.9 beta2=0.8 beta3=0.95 eps=0.02 weight_decay=0.3",
     lambda p: po.Adan(p, lr=0.01, betas=(0.9, 0.8, 0.95), eps=0.02, weight_decay=0.3)),
    ("adan", "lr=0.01 weight_decay=0.3 decoupled_weight_decay=true",
     lambda p: po.Adan(p, lr=0.01, weight_decay=0.3, weight_decouple=True)),
    ("adopt", "lr=0.01", lambda p: po.ADOPT(p, lr=0.01)),
    ("adopt", "lr=0.01 beta1=0.8 beta2=0.9 eps=0.02 weight_decay=0.3 maximize=true",
     lambda p: po.ADOPT(p, lr=0.01, betas=(0.8, 0.9), eps=0.02, weight_decay=0.3,
                        weight_decouple=False, maximize=True)),
    ("adopt", "lr=0.01 beta2=0.9 weight_decay=0.3 decoupled_weight_decay=true",
     lambda p: po.ADOPT(p, lr=0.01, betas=(0.9, 0.9), weight_decay=0.3, weight_decouple=True)),
    ("ademamix", "lr=0.01", optax.contrib.ademamix(lr(0.01))),
    ("ademamix", "lr=0.01 beta1=0.8 beta2=0.95 beta3=0.99 alpha=3 eps=0.02 weight_decay=0.3",
     optax.contrib.ademamix(lr(0.01), b1=0.8, b2=0.95, b3=0.99, alpha=3.0, eps=0.02,
                            weight_decay=0.3)),
    ("ademamix", "lr=0.01 t_alpha_beta3=8",
     lambda p: po.AdEMAMix(p, lr=0.01, t_alpha_beta3=8.0)),
]

FORMULAS = [
    ("nadam", "lr=0.01 eps=0.03 eps_inside_root=true", nadam_inside),
    ("radam", "lr=0.01 beta2=0.9 eps=0.03 eps_inside_root=true", radam_inside),
    ("adabelief", "lr=0.01 eps=0.03 eps_inside_root=true maximize=true", adabelief_inside),
]

for rule, hyper, case in CASES + FORMULAS:
    if (rule, hyper, case) in FORMULAS:
        result = run_formula(case)
    else:
        result = run_torch(case) if callable(case) else run_optax(case)
    values = ", ".join(repr(value) for value in result)
    print(f'    ("{rule}", "{hyper}", [{values}]),')
