"""Every trace of a framework: its name, the call of the framework, and what that is called here.

The name starts with the rule. The keywords are the trace's `hyper`; what is left out has this
crate's default. record.py refuses a case whose keywords do not describe what the framework did.
"""

import math
from functools import partial

import optax
import prodigyopt
import pytorch_optimizer as po
import schedulefree
import torch
import torch.optim as o

from maths import newton_schulz
# Keras comes from there since its backend has to be chosen before it is imported, and timm so
# that it asks for no more than its optimizers need.
from case import SHORT
from frameworks import keras, keras_case, optax_case, timm_adamw, timm_lion, torch_case

k = keras.optimizers

# pytorch-optimizer also adds 1e-15 under AdaBound's root, which the paper does not.
NO_SECOND_EPS = ", its exp_avg_sq_eps set to 0"
for denominator in ["apply_ams_bound", "apply_ams_bound_foreach"]:
    without = partial(getattr(po.AdaBound, denominator), exp_avg_sq_eps=0.0)
    setattr(po.AdaBound, denominator, staticmethod(without))


# In f64 it would take the eps of f64.
F32_EPS = 1.1920928955078125e-7
EPS_OF_F32 = ", its eps1 that of f32"

# PyTorch's is in bf16 whatever the parameters are.
NOT_IN_BF16 = ", its Newton-Schulz in the parameters' type"
torch.optim._muon._zeropower_via_newtonschulz = (
    lambda u, coefficients, steps, eps: newton_schulz(u, *coefficients, steps, eps))


def warm_up_and_cosine(peak, steps=SHORT, warm_up=10):
    def lr(step):
        if step < warm_up:
            return peak * (step + 1) / warm_up
        return peak * (1 + math.cos(math.pi * (step - warm_up) / (steps - warm_up))) / 2

    # Few digits, since the list goes into the file's header.
    return [round(lr(step), 5) for step in range(steps)]


def chain(lr, scale, weight_decay=0.0):
    return optax.chain(scale, optax.add_decayed_weights(weight_decay),
                       optax.scale_by_learning_rate(lr))


SGD_LR = warm_up_and_cosine(0.05)
ASGD_LR = warm_up_and_cosine(0.1)
ADAM_LR = warm_up_and_cosine(0.02)
PRODIGY_LR = warm_up_and_cosine(1.0)

CASES = [
    torch_case("sgd", o.SGD),
    torch_case("sgd-schedule",
               partial(o.SGD, lr=SGD_LR[0], momentum=0.8, dampening=0.3, weight_decay=0.02,
                       maximize=True),
               lr=SGD_LR, momentum=0.8, dampening=0.3, weight_decay=0.02, maximize=True),
    optax_case("sgd-ema", "ema(debias=False)",
               lambda lr: chain(lr, optax.ema(0.9, debias=False)),
               lr=0.05, momentum=0.9, momentum_form="ema"),
    keras_case("sgd-keras_nesterov", partial(k.SGD, momentum=0.9, nesterov=True),
               lr=0.01, momentum=0.9, nesterov=True),

    torch_case("adagrad", o.Adagrad),
    torch_case("adagrad-options",
               partial(o.Adagrad, lr=0.1, lr_decay=0.02, initial_accumulator_value=0.3, eps=0.2,
                       weight_decay=0.1, maximize=True),
               lr=0.1, lr_decay=0.02, initial_accumulator_value=0.3, eps=0.2, weight_decay=0.1,
               maximize=True),
    optax_case("adagrad-optax", "adagrad", lambda lr: optax.adagrad(lr, eps=0.05),
               lr=0.1, initial_accumulator_value=0.1, eps=0.05, eps_inside_root=True),
    keras_case("adagrad-keras", k.Adagrad,
               lr=1e-3, initial_accumulator_value=0.1, eps=1e-7, eps_inside_root=True),

    torch_case("adadelta", o.Adadelta),
    torch_case("adadelta-options",
               partial(o.Adadelta, lr=0.5, rho=0.7, eps=0.01, weight_decay=0.1, maximize=True),
               lr=0.5, rho=0.7, eps=0.01, weight_decay=0.1, maximize=True),
    keras_case("adadelta-keras", k.Adadelta, lr=1e-3, rho=0.95, eps=1e-7),

    torch_case("rmsprop", o.RMSprop),
    torch_case("rmsprop-centered_momentum",
               partial(o.RMSprop, lr=0.003, alpha=0.9, centered=True, momentum=0.8, eps=0.05,
                       weight_decay=0.1, maximize=True),
               lr=0.003, alpha=0.9, centered=True, momentum=0.8, eps=0.05, weight_decay=0.1,
               maximize=True),
    optax_case("rmsprop-optax", "rmsprop", optax.rmsprop, alpha=0.9, eps_inside_root=True),
    keras_case("rmsprop-keras", k.RMSprop, lr=1e-3, alpha=0.9, eps=1e-7, eps_inside_root=True),
    keras_case("rmsprop-keras_centered_momentum",
               partial(k.RMSprop, centered=True, momentum=0.9, epsilon=0.02),
               lr=1e-3, alpha=0.9, centered=True, momentum=0.9, eps=0.02, eps_inside_root=True),

    torch_case("rprop", o.Rprop),
    torch_case("rprop-options",
               partial(o.Rprop, lr=0.1, etas=(0.4, 1.5), step_sizes=(0.01, 0.3), maximize=True),
               lr=0.1, etaminus=0.4, etaplus=1.5, step_size_min=0.01, step_size_max=0.3,
               maximize=True),

    torch_case("asgd", o.ASGD),
    torch_case("asgd-averaged_schedule",
               partial(o.ASGD, lr=ASGD_LR[0], lambd=0.05, alpha=0.5, t0=30, weight_decay=0.1,
                       maximize=True),
               lr=ASGD_LR, lambd=0.05, alpha=0.5, t0=30, weight_decay=0.1, maximize=True),

    torch_case("adam", o.Adam),
    torch_case("adam-max_raw",
               partial(o.Adam, lr=0.01, betas=(0.8, 0.95), eps=0.05, weight_decay=0.1,
                       amsgrad=True, maximize=True),
               lr=0.01, beta1=0.8, beta2=0.95, eps=0.05, weight_decay=0.1, amsgrad="max_raw",
               maximize=True),
    optax_case("adam-max_uncorrected_eps_inside",
               "scale_by_amsgrad with eps_root, bias_correction_nu=False",
               lambda lr: chain(lr, optax.scale_by_amsgrad(b2=0.9, eps=0.0, eps_root=0.02,
                                                           bias_correction_nu=False)),
               lr=0.01, beta2=0.9, eps=0.02, eps_inside_root=True, amsgrad="max_uncorrected"),
    optax_case("adam-optax_amsgrad", "amsgrad", optax.amsgrad, amsgrad="max_corrected"),
    optax_case("adam-optax_nadam", "nadam", optax.nadam, nesterov=True),
    keras_case("adam-keras", k.Adam, eps=1e-7, eps_before_correction=True),
    keras_case("adam-keras_amsgrad", partial(k.Adam, amsgrad=True, epsilon=0.02, beta_2=0.99),
               beta2=0.99, eps=0.02, eps_before_correction=True, amsgrad="max_raw"),

    torch_case("adamw", o.AdamW),
    torch_case("adamw-max_raw",
               partial(o.AdamW, lr=0.01, betas=(0.8, 0.95), eps=0.05, weight_decay=0.3,
                       amsgrad=True, maximize=True),
               lr=0.01, beta1=0.8, beta2=0.95, eps=0.05, weight_decay=0.3, amsgrad="max_raw",
               maximize=True),
    optax_case("adamw-max_corrected_schedule", "scale_by_amsgrad, add_decayed_weights",
               lambda lr: chain(lr, optax.scale_by_amsgrad(b2=0.95, eps=0.05), 0.2),
               lr=ADAM_LR, beta2=0.95, eps=0.05, weight_decay=0.2, amsgrad="max_corrected"),
    optax_case("adamw-max_uncorrected_eps_inside",
               "scale_by_amsgrad with eps_root, bias_correction_nu=False",
               lambda lr: chain(lr, optax.scale_by_amsgrad(b2=0.9, eps=0.0, eps_root=0.02,
                                                           bias_correction_nu=False), 0.2),
               lr=0.01, beta2=0.9, eps=0.02, eps_inside_root=True, amsgrad="max_uncorrected",
               weight_decay=0.2),
    optax_case("adamw-optax", "adamw", optax.adamw, weight_decay=1e-4),
    optax_case("adamw-optax_nadamw", "nadamw", optax.nadamw, weight_decay=1e-4, nesterov=True),
    keras_case("adamw-keras", k.AdamW, weight_decay=0.004, eps=1e-7, eps_before_correction=True),
    torch_case("adamw-cautious",
               partial(timm_adamw.AdamWLegacy, lr=0.01, betas=(0.9, 0.95), eps=1e-4,
                       weight_decay=0.3, caution=True, maximize=True),
               lr=0.01, beta2=0.95, eps=1e-4, weight_decay=0.3, maximize=True, cautious=True),

    torch_case("adamax", o.Adamax),
    torch_case("adamax-options",
               partial(o.Adamax, lr=0.01, betas=(0.8, 0.9), eps=0.05, weight_decay=0.3,
                       maximize=True),
               lr=0.01, beta1=0.8, beta2=0.9, eps=0.05, weight_decay=0.3, maximize=True),
    keras_case("adamax-keras", k.Adamax, lr=1e-3, eps=1e-7, eps_in_state=False),
    keras_case("adamax-eps_outside_state", partial(k.Adamax, beta_2=0.9, epsilon=0.05),
               lr=1e-3, beta2=0.9, eps=0.05, eps_in_state=False),

    torch_case("nadam", o.NAdam),
    torch_case("nadam-options",
               partial(o.NAdam, lr=0.01, betas=(0.8, 0.95), eps=0.05, momentum_decay=0.1,
                       weight_decay=0.3, decoupled_weight_decay=True, maximize=True),
               lr=0.01, beta1=0.8, beta2=0.95, eps=0.05, momentum_decay=0.1, weight_decay=0.3,
               decoupled_weight_decay=True, maximize=True),
    keras_case("nadam-keras", k.Nadam, lr=1e-3, eps=1e-7, momentum_decay=1.0),

    torch_case("radam", o.RAdam),
    torch_case("radam-options",
               partial(o.RAdam, lr=0.01, betas=(0.8, 0.9), eps=0.05, weight_decay=0.3,
                       maximize=True),
               lr=0.01, beta1=0.8, beta2=0.9, eps=0.05, weight_decay=0.3, maximize=True),
    optax_case("radam-optax", "radam", optax.radam, eps_before_correction=False),
    optax_case("radam-eps_inside",
               "scale_by_radam with eps_root, add_decayed_weights",
               lambda lr: chain(lr, optax.scale_by_radam(b2=0.9, eps=0.0, eps_root=0.02,
                                                         threshold=4.0), 0.2),
               lr=0.01, beta2=0.9, eps=0.02, eps_inside_root=True, eps_before_correction=False,
               rho_threshold=4.0, weight_decay=0.2, decoupled_weight_decay=True),

    optax_case("adabelief", "adabelief", optax.adabelief),
    optax_case("adabelief-options",
               "scale_by_belief with eps_root = eps, add_decayed_weights",
               lambda lr: chain(lr, optax.scale_by_belief(b2=0.99, eps=0.01, eps_root=0.01), 0.2),
               negated=True, lr=0.01, beta2=0.99, eps=0.01, weight_decay=0.2, maximize=True),
    optax_case("adabelief-eps_outside_state", "adabelief(eps_root=0)",
               lambda lr: optax.adabelief(lr, b1=0.8, b2=0.95, eps=0.05, eps_root=0.0),
               lr=0.01, beta1=0.8, beta2=0.95, eps=0.05, eps_in_state=False),

    torch_case("adabound", po.AdaBound, note=NO_SECOND_EPS),
    torch_case("adabound-options",
               partial(po.AdaBound, lr=0.01, betas=(0.8, 0.95), final_lr=0.05, gamma=0.02, eps=0.05,
                       weight_decay=0.3),
               note=NO_SECOND_EPS,
               lr=0.01, beta1=0.8, beta2=0.95, final_lr=0.05, gamma=0.02, eps=0.05,
               weight_decay=0.3),
    torch_case("adabound-amsbound",
               partial(po.AdaBound, lr=0.01, gamma=0.01, betas=(0.9, 0.9), eps=1e-4, ams_bound=True,
                       weight_decay=0.1, weight_decouple=False, maximize=True),
               note=NO_SECOND_EPS,
               lr=0.01, gamma=0.01, beta2=0.9, eps=1e-4, amsbound=True, weight_decay=0.1,
               decoupled_weight_decay=False, maximize=True),

    optax_case("yogi", "yogi", optax.yogi),
    optax_case("yogi-options", "scale_by_yogi",
               lambda lr: chain(lr, optax.scale_by_yogi(b1=0.8, b2=0.9, eps=0.05,
                                                        initial_accumulator_value=0.1)),
               negated=True, lr=0.02, beta1=0.8, beta2=0.9, eps=0.05,
               initial_accumulator_value=0.1, maximize=True),

    optax_case("lion", "lion(weight_decay=0)", lambda lr: optax.lion(lr, weight_decay=0.0)),
    optax_case("lion-options", "lion", lambda lr: optax.lion(lr, b1=0.7, b2=0.8, weight_decay=0.2),
               negated=True, lr=0.01, beta1=0.7, beta2=0.8, weight_decay=0.2, maximize=True),
    optax_case("lion-optax", "lion", optax.lion, weight_decay=1e-3),
    keras_case("lion-keras", k.Lion, lr=1e-3),
    torch_case("lion-cautious",
               partial(timm_lion.Lion, lr=0.01, betas=(0.7, 0.8), weight_decay=0.2, caution=True),
               lr=0.01, beta1=0.7, beta2=0.8, weight_decay=0.2, cautious=True),

    optax_case("signsgd", "signum", optax.signum),
    optax_case("signsgd-plain", "sign_sgd", optax.sign_sgd,
               negated=True, lr=0.01, momentum=0.0, maximize=True),

    torch_case("adan", po.Adan),
    torch_case("adan-options",
               partial(po.Adan, lr=0.01, betas=(0.9, 0.8, 0.95), eps=0.05, weight_decay=0.3),
               negated=True, lr=0.01, beta1=0.9, beta2=0.8, beta3=0.95, eps=0.05, weight_decay=0.3,
               maximize=True),
    torch_case("adan-decoupled",
               partial(po.Adan, lr=0.01, betas=(0.9, 0.8, 0.95), weight_decay=0.3,
                       weight_decouple=True),
               lr=0.01, beta1=0.9, beta2=0.8, beta3=0.95, weight_decay=0.3,
               decoupled_weight_decay=True),

    torch_case("adopt", po.ADOPT),
    torch_case("adopt-options",
               partial(po.ADOPT, lr=0.01, betas=(0.8, 0.9), eps=0.1, weight_decay=0.3,
                       clip_lambda=lambda step: step**0.1, maximize=True),
               lr=0.01, beta1=0.8, beta2=0.9, eps=0.1, weight_decay=0.3, clip_exponent=0.1,
               maximize=True),
    torch_case("adopt-decoupled",
               partial(po.ADOPT, lr=0.01, betas=(0.9, 0.95), weight_decay=0.3,
                       weight_decouple=True),
               lr=0.01, beta2=0.95, weight_decay=0.3, decoupled_weight_decay=True),

    optax_case("ademamix", "contrib.ademamix", optax.contrib.ademamix),
    torch_case("ademamix-options",
               partial(po.AdEMAMix, lr=0.01, betas=(0.8, 0.95, 0.99), alpha=3.0, eps=0.05,
                       t_alpha_beta3=40.0, weight_decay=0.3, weight_decouple=True, maximize=True),
               lr=0.01, beta1=0.8, beta2=0.95, beta3=0.99, alpha=3.0, eps=0.05,
               t_alpha_beta3=40.0, weight_decay=0.3, maximize=True),

    torch_case("schedulefree_adamw", schedulefree.AdamWScheduleFree),
    torch_case("schedulefree_adamw-schedule",
               partial(schedulefree.AdamWScheduleFree, lr=ADAM_LR[0], betas=(0.8, 0.95), eps=0.05,
                       weight_decay=0.1, r=1.0, weight_lr_power=1.0, warmup_steps=20),
               negated=True, lr=ADAM_LR, beta1=0.8, beta2=0.95, eps=0.05, weight_decay=0.1, r=1.0,
               weight_lr_power=1.0, warmup_steps=20, maximize=True),
    torch_case("schedulefree_sgd", schedulefree.SGDScheduleFree),
    torch_case("schedulefree_sgd-options",
               partial(schedulefree.SGDScheduleFree, lr=0.05, momentum=0.7, weight_decay=0.1, r=0.5,
                       weight_lr_power=1.0, warmup_steps=15),
               negated=True, lr=0.05, momentum=0.7, weight_decay=0.1, r=0.5, weight_lr_power=1.0,
               warmup_steps=15, maximize=True),

    # SophiaH clips to ±p where this crate clips to ±1 and divides by ρh: hence the factors of ρ.
    torch_case("sophia",
               partial(po.SophiaH, lr=1e-4 / 0.04, betas=(0.965, 0.99), p=0.04, eps=1e-12 / 0.04,
                       update_period=1000)),
    torch_case("sophia-options",
               partial(po.SophiaH, lr=0.01 / 0.5, betas=(0.8, 0.9), p=0.5, eps=0.02 / 0.5,
                       weight_decay=0.2 * 0.5, update_period=1000, maximize=True),
               lr=0.01, beta1=0.8, beta2=0.9, rho=0.5, eps=0.02, weight_decay=0.2, maximize=True),

    optax_case("lars", "lars", lambda lr: optax.lars(lr, eps=1e-8), lr=1.0, eps=1e-8),
    optax_case("lars-options", "lars",
               lambda lr: optax.lars(lr, weight_decay=0.1, trust_coefficient=0.02, eps=0.05,
                                     momentum=0.8, nesterov=True),
               negated=True, lr=0.3, weight_decay=0.1, trust_coefficient=0.02, eps=0.05,
               momentum=0.8, nesterov=True, maximize=True),

    optax_case("lamb", "lamb", optax.lamb),
    optax_case("lamb-options", "lamb",
               lambda lr: optax.lamb(lr, b1=0.8, b2=0.95, eps=0.01, weight_decay=0.1),
               negated=True, lr=0.02, beta1=0.8, beta2=0.95, eps=0.01, weight_decay=0.1,
               maximize=True),

    optax_case("novograd", "novograd", optax.novograd),
    optax_case("novograd-options", "novograd",
               lambda lr: optax.novograd(lr, b1=0.8, b2=0.7, eps=0.05, weight_decay=0.1),
               negated=True, lr=0.01, beta1=0.8, beta2=0.7, eps=0.05, weight_decay=0.1,
               maximize=True),

    torch_case("adafactor", partial(o.Adafactor, eps=(F32_EPS, 1e-3)), note=EPS_OF_F32),
    torch_case("adafactor-options",
               partial(o.Adafactor, lr=0.2, beta2_decay=-0.5, eps=(0.01, 0.8), d=1.2,
                       weight_decay=0.1, maximize=True),
               lr=0.2, beta2_decay=-0.5, eps1=0.01, eps2=0.8, d=1.2, weight_decay=0.1,
               maximize=True),

    torch_case("prodigy", prodigyopt.Prodigy),
    optax_case("prodigy-optax", "contrib.prodigy", optax.contrib.prodigy,
               use_bias_correction=True),
    torch_case("prodigy-growth_rate",
               partial(prodigyopt.Prodigy, lr=0.5, betas=(0.8, 0.95), beta3=0.9, eps=1e-3,
                       weight_decay=0.3, d0=0.01, d_coef=2.0, growth_rate=1.1,
                       use_bias_correction=True),
               negated=True, lr=0.5, beta1=0.8, beta2=0.95, beta3=0.9, eps=1e-3, weight_decay=0.3,
               d0=0.01, d_coef=2.0, growth_rate=1.1, use_bias_correction=True, maximize=True),
    torch_case("prodigy-safeguard_warmup_schedule",
               partial(prodigyopt.Prodigy, lr=PRODIGY_LR[0], d0=1e-5, safeguard_warmup=True),
               lr=PRODIGY_LR, d0=1e-5, safeguard_warmup=True),

    torch_case("muon", o.Muon, note=NOT_IN_BF16),
    torch_case("muon-match_rms_adamw",
               partial(o.Muon, lr=0.01, momentum=0.8, nesterov=False, weight_decay=0.3, eps=0.2,
                       ns_steps=3, ns_coefficients=(2.0, -1.5, 0.5),
                       adjust_lr_fn="match_rms_adamw"),
               note=NOT_IN_BF16, negated=True,
               lr=0.01, momentum=0.8, nesterov=False, weight_decay=0.3, eps=0.2, ns_steps=3,
               ns_a=2.0, ns_b=-1.5, ns_c=0.5, adjust_lr_fn="match_rms_adamw", maximize=True),
    torch_case("muon-spectral_unclamped",
               partial(o.Muon, lr=0.01, adjust_lr_fn="spectral_unclamped"), note=NOT_IN_BF16,
               lr=0.01, adjust_lr_fn="spectral_unclamped"),
]
