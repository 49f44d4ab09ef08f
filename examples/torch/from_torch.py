"""Turns a run of PyTorch into a checkpoint of wgpu-optim.

    python3 from_torch.py fresh.safetensors train:build run.pt run.safetensors [STEPS]

fresh.safetensors is a checkpoint that the program which is to go on saved before its first step: it
has the layout, rules, hyperparameters and options. `build()` of train.py returns the model and its
optimizer, or a list of optimizers; run.pt has their state_dict() as "model" and "optimizer". STEPS is
how many steps were taken, for SGD and Muon, which do not count them.
"""

import math
import sys

import torch

from checkpoint import Refused, read, write
from match import built, match, refuse, several, tensor_problems
from rules import UNCOUNTED, mu, mu_product, state_shape


def from_torch(fresh, named_parameters, optimizer, path, steps=None, user=None):
    """Writes the parameters and `optimizer`, or several, to the file `path`, by name.

    `fresh` is a checkpoint of the same layout before its first step. `steps` are those taken; needed for SGD
    and Muon, and else compared. `user` are texts to save with it. Raises `Refused` if anything
    does not fit; then nothing was written.
    """
    checkpoint = read(fresh)
    pairs = match(checkpoint, named_parameters, optimizer)
    described = checkpoint.optimizer
    problems = []
    if any(group["recorded"] for group in described["groups"]):
        problems.append(f"{fresh}: it has taken steps; expected a checkpoint from before the first one")
    if any(key.startswith("ema.") for key in checkpoint.tensors):
        problems.append(f"{fresh}: it averages its parameters, and no optimizer of PyTorch's does")
    for pair in pairs:
        count = count_of(pair, steps, problems)
        if count is None:
            continue
        lr = float(pair.theirs["lr"])
        pair.ours.update(lr=lr, last_lr=lr, performed=count, recorded=count)
        for name, parameter in pair.params.items():
            fill(checkpoint.tensors, pair, name, parameter, problems)
    refuse(problems)
    described["performed"] = max(group["performed"] for group in described["groups"])
    checkpoint.user = checkpoint.user if user is None else user
    write(path, checkpoint)


def count_of(pair, steps, problems):
    """How many steps the group has taken, all its tensors alike. `None` if there is no saying."""
    if pair.ours["rule"] in UNCOUNTED:
        if steps is None:
            problems.append(f"PyTorch's {type(pair.optimizer).__name__} does not count: say how many steps were taken")
        return steps
    states = {name: pair.optimizer.state.get(parameter, {}) for name, parameter in pair.params.items()}
    counts = {name: float(state.get("step", 0)) for name, state in states.items()}
    first, count = next(iter(counts.items()))
    for name, other in counts.items():
        if other != count:
            problems.append(f"{name} has taken {other:g} steps and {first} {count:g}; a group here has one count: "
                            "give them groups of their own (without a gradient there is no step)")
            return None
    if not count.is_integer() or count < 0 or steps not in (None, count):
        problems.append(f"{first} has taken {count:g} steps; expected {'a count' if steps is None else steps}")
        return None
    # From there on an f32 stays as it is when one is added.
    if count >= 2**24 and states[first]["step"].dtype == torch.float32:
        problems.append(f"{first}: PyTorch's f32 count has stopped at {count:g} steps")
        return None
    return int(count)


def fill(tensors, pair, name, parameter, problems):
    """Puts a parameter, its state, and what a group has one of here, into the checkpoint."""
    ours, rule, count = pair.ours, pair.ours["rule"], pair.ours["performed"]
    theirs = {slot: value for slot, value in pair.optimizer.state.get(parameter, {}).items() if value is not None}
    if f"model.{name}" in tensors:
        tensors[f"model.{name}"] = parameter.detach().cpu().contiguous()
    tensors[f"state.{name}.step"] = torch.tensor(float(count), dtype=torch.float32)
    theirs.pop("step", None)
    if count == 0 and rule in UNCOUNTED and theirs:
        problems.append(f"{name}: 0 steps, yet PyTorch has {', '.join(theirs)}")
    for slot in pair.slots[name]:
        key = f"state.{name}.{slot}"
        value = theirs.pop(slot, None)
        if value is None:
            value = not_made_yet(tensors[key], pair, slot)
        if value is None:
            problems.append(f"{key}: PyTorch has none, after {count} steps")
            continue
        problems += tensor_problems(key, value, parameter.dtype, state_shape(slot, parameter.shape))
        tensors[key] = value.detach().cpu().contiguous()
    if rule == "nadam" and count > 0:
        found, expected = float(theirs.pop("mu_product")), mu_product(ours["hyperparameters"], count)
        if not is_near(found, expected, count):
            problems.append(f"{name}: mu_product is {found}; after {count} steps it would be {expected} here")
    if rule == "asgd" and count > 0:
        found, expected = float(theirs.pop("mu")), mu(ours["hyperparameters"], count)
        if not is_near(found, expected, 1):
            problems.append(f"{name}: mu is {found}; after {count} steps it would be {expected} here")
        eta, of_others = float(theirs.pop("eta")), ours["state"]["eta"]
        if of_others not in (eta, -1):
            problems.append(f"{name}: eta is {eta}, and {of_others} of others in its group")
        ours["state"]["eta"] = eta
    problems += [f"{name}: PyTorch keeps {slot}, the file does not" for slot in theirs]


def not_made_yet(fresh, pair, slot):
    """The state that PyTorch would make at the next step, if that is no other than it makes at the first."""
    if pair.ours["performed"] == 0:
        # Rprop's first step starts from the rate of that step.
        return torch.full_like(fresh, pair.ours["lr"]) if slot == "step_size" else fresh
    # A sum without its first gradient, and a mean, start from zero.
    starts_at_zero = pair.ours["rule"] == "muon" or pair.theirs.get("dampening") == 0
    return fresh if starts_at_zero else None


def is_near(found, expected, roundings):
    """Whether they differ by that many roundings to f32 at most."""
    return math.isclose(found, expected, rel_tol=roundings * 2**-23, abs_tol=1e-37)


if __name__ == "__main__":
    if len(sys.argv) not in (5, 6):
        sys.exit(__doc__)
    fresh, text, run, path, *steps = sys.argv[1:]
    model, optimizer = built(text)
    saved = torch.load(run, weights_only=True)
    model.load_state_dict(saved["model"])
    states = saved["optimizer"] if isinstance(optimizer, (list, tuple)) else [saved["optimizer"]]
    for each, state in zip(several(optimizer), states, strict=True):
        each.load_state_dict(state)
    try:
        from_torch(fresh, model.named_parameters(), optimizer, path, *map(int, steps), user=saved.get("user"))
    except Refused as refused:
        sys.exit(str(refused))
