"""What each of PyTorch's optimizers is here: its rule, its hyperparameters, and the state that only one side keeps.

All other state has the same name and shape on both sides.
"""

import math

import torch

# Each of our hyperparameters that PyTorch calls otherwise: by PyTorch's name and what to look up
# there, or the constant that PyTorch's rule has. Those with PyTorch's name are not in this table.
BETAS = {"beta1": ("betas", 0), "beta2": ("betas", 1)}
PLAIN = {"cautious": False, "eps_inside_root": False}
ADAM = BETAS | PLAIN | {
    "amsgrad": ("amsgrad", lambda is_on: "max_raw" if is_on else "off"),
    "nesterov": False,
    "eps_before_correction": False,
}
RULES = {
    "SGD": ("sgd", PLAIN | {"momentum_form": "classic"}),
    "Adam": ("adam", ADAM),
    "AdamW": ("adamw", ADAM),
    "Adagrad": ("adagrad", PLAIN),
    "Adadelta": ("adadelta", {}),
    "RMSprop": ("rmsprop", PLAIN),
    "Rprop": ("rprop", {
        "etaminus": ("etas", 0),
        "etaplus": ("etas", 1),
        "step_size_min": ("step_sizes", 0),
        "step_size_max": ("step_sizes", 1),
    }),
    "ASGD": ("asgd", {}),
    "Adamax": ("adamax", BETAS | PLAIN | {"eps_in_state": True}),
    "NAdam": ("nadam", BETAS | PLAIN),
    "RAdam": ("radam", BETAS | PLAIN | {"eps_before_correction": True, "rho_threshold": 5}),
    "Adafactor": ("adafactor", {"eps1": ("eps", 0), "eps2": ("eps", 1)}),
    "Muon": ("muon", {
        "ns_a": ("ns_coefficients", 0),
        "ns_b": ("ns_coefficients", 1),
        "ns_c": ("ns_coefficients", 2),
        "adjust_lr_fn": ("adjust_lr_fn", lambda name: name or "original"),
        "maximize": False,
    }),
}
# Of PyTorch's options, those that change no outcome.
NEUTRAL = {"lr", "foreach", "fused", "capturable", "differentiable"}
# PyTorch keeps no count of steps for these.
UNCOUNTED = {"sgd", "muon"}
# Their state is not zero before the first step.
STARTED = {"adagrad", "rprop"}


def rule_of(optimizer, group):
    """Our name for the rule of PyTorch's `group`, and the table of its hyperparameters."""
    classes = [cls.__name__ for cls in type(optimizer).__mro__ if cls.__name__ in RULES]
    if not classes:
        return type(optimizer).__name__, {}
    rule, table = RULES[classes[0]]
    if rule in ("adam", "adamw"):
        rule = "adamw" if group.get("decoupled_weight_decay") else "adam"
    return rule, table


def hyperparameter_problems(optimizer, group, ours, dtype):
    """How the hyperparameters of PyTorch's `group`, the rate apart, differ from `ours`, which are texts."""
    rule, table = rule_of(optimizer, group)
    read = {"decoupled_weight_decay"} if rule in ("adam", "adamw") else set()
    for name, text in ours.items():
        if name == "lr":
            continue
        theirs = table.get(name, (name, None))
        if isinstance(theirs, tuple):
            key, place = theirs
            read.add(key)
            if key not in group:
                yield f"{name} is {text} in the file; PyTorch has no such hyperparameter"
                continue
            theirs = value_at(group[key], place, dtype)
        if not is_equal(text, theirs):
            yield f"{name} is {text} in the file and {theirs} in PyTorch"
    for name in sorted(set(optimizer.defaults) - read - NEUTRAL):
        yield f"PyTorch's {name} = {group[name]} has no like in the file"


def value_at(value, place, dtype):
    """PyTorch's hyperparameter `value`, or what `place` says of it."""
    if callable(place):
        return place(value)
    if place is not None:
        value = value[place]
    # Adafactor's eps of None is the type's.
    return torch.finfo(dtype).eps if value is None else value


def is_equal(text, value):
    if isinstance(value, bool):
        return text == str(value).lower()
    if isinstance(value, str):
        return text == value
    try:
        return float(text) == float(value)
    except ValueError:
        return False


def state_shape(slot, shape):
    """The shape of the state `slot` of a parameter of `shape`, a list."""
    if slot == "row_var":
        return [*shape[:-1], 1]
    if slot == "col_var":
        return [*shape[:-2], 1, shape[-1]]
    return list(shape)


def mu_product(ours, t):
    """NAdam's product of its momenta until step `t`: here it follows from the count."""
    beta1, decay = float(ours["beta1"]), float(ours["momentum_decay"])
    return math.prod(beta1 * (1 - 0.5 * 0.96 ** (k * decay)) for k in range(1, t + 1))


def mu(ours, t):
    """ASGD's weight of the step after `t` in the average: here it follows from the count."""
    return 1 / max(1, t - float(ours["t0"]))


def eta(ours, state, t, lr):
    """ASGD's rate of the step after `t`. Ours is negative where it still follows from `lr`."""
    follows = lr / (1 + float(ours["lambd"]) * lr * t) ** float(ours["alpha"])
    return state["eta"] if state["eta"] >= 0 else follows
