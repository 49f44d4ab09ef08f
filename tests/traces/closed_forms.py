"""Traces of what no framework has: of the formulas, in numpy alone."""

import formulas
from case import Case


def formula_case(name, **hyper):
    return Case(name, hyper, "closed form in numpy (formulas.py)", formulas.run)


CLOSED_FORMS = [
    formula_case("sgd-cautious",
                 lr=0.02, momentum=0.9, nesterov=True, weight_decay=0.1, maximize=True,
                 cautious=True),
    formula_case("rmsprop-cautious",
                 lr=0.003, alpha=0.9, momentum=0.8, eps=0.05, weight_decay=0.1, cautious=True),
    formula_case("adam-cautious",
                 lr=0.01, beta2=0.95, eps=1e-3, weight_decay=0.1, amsgrad="max_raw", cautious=True),
    formula_case("adamax-cautious", lr=0.01, beta2=0.95, eps=1e-4, cautious=True),
    formula_case("nadam-eps_inside",
                 lr=0.01, beta2=0.95, eps=0.02, eps_inside_root=True, weight_decay=0.1),
    formula_case("nadam-cautious",
                 lr=0.01, beta2=0.95, eps=1e-3, weight_decay=0.3, decoupled_weight_decay=True,
                 cautious=True),
    formula_case("radam-cautious",
                 lr=0.01, beta2=0.95, eps=1e-3, weight_decay=0.1, maximize=True, cautious=True),
    formula_case("adabelief-eps_inside", lr=0.01, beta2=0.95, eps=0.02, eps_inside_root=True),
    formula_case("adabelief-cautious",
                 lr=0.01, beta2=0.95, eps=1e-4, weight_decay=0.2, cautious=True),
    formula_case("adabound-cautious",
                 lr=0.01, beta2=0.95, gamma=0.02, eps=1e-3, weight_decay=0.3, cautious=True),
    formula_case("yogi-cautious", lr=0.02, beta2=0.9, eps=0.01, maximize=True, cautious=True),
    formula_case("adan-cautious",
                 lr=0.01, beta1=0.9, beta2=0.8, beta3=0.95, eps=1e-3, weight_decay=0.3,
                 cautious=True),
    formula_case("adopt-cautious",
                 lr=0.01, beta2=0.95, eps=0.01, weight_decay=0.3, decoupled_weight_decay=True,
                 cautious=True),
    formula_case("ademamix-cautious",
                 lr=0.01, beta2=0.95, beta3=0.99, eps=1e-3, t_alpha_beta3=30.0, weight_decay=0.2,
                 maximize=True, cautious=True),
    formula_case("sophia-cautious",
                 lr=0.01, beta1=0.8, beta2=0.9, rho=0.5, eps=0.02, weight_decay=0.2, cautious=True),
    formula_case("newton"),
    formula_case("newton-options", lr=0.1, damping=0.1, maximize=True),
    formula_case("newton_dense"),
    formula_case("newton_dense-options", lr=0.1, damping=0.1, maximize=True),
    formula_case("gradient_agreement"),
    formula_case("gradient_agreement-options",
                 lr=0.01, momentum=0.7, factor=0.3, min_lr=0.005, maximize=True),
]
