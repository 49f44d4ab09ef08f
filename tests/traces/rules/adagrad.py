from maths import root
from rule import Rule


def adagrad(h, s, t, lr, p, g):
    s.sum = (h.initial_accumulator_value if t == 1 else s.sum) + g * g
    return lr / (1 + (t - 1) * h.lr_decay) * g / root(h, s.sum)


RULE = Rule(
    adagrad,
    {
        "lr": 1e-2, "lr_decay": 0.0, "initial_accumulator_value": 0.0, "eps": 1e-10,
        "eps_inside_root": False,
    },
)
