"""Turns a checkpoint of wgpu-optim into what PyTorch goes on from.

    python3 to_torch.py run.safetensors train:build run.pt

`build()` of train.py returns the model and its optimizer, or a list of optimizers. run.pt then has
their state_dict() as "model" and "optimizer", and the checkpoint's own texts as "user".
"""

import sys
import warnings

import torch

from checkpoint import Refused, read
from match import built, match, refuse, several
from rules import STARTED, UNCOUNTED, eta, mu, mu_product


def to_torch(path, named_parameters, optimizer):
    """Loads the file `path` into `optimizer`, or several, and into the parameters, by name.

    Returns the texts that were saved with it. Raises `Refused` if anything does not fit; then
    nothing was changed.
    """
    checkpoint = read(path)
    pairs = match(checkpoint, named_parameters, optimizer)
    problems = []
    states = {}
    for pair in pairs:
        for name, parameter in pair.params.items():
            states[parameter] = state_of(checkpoint, pair, name, problems)
    refuse(problems)
    if any(key.startswith("ema.") for key in checkpoint.tensors):
        warnings.warn("the file has an average of the parameters, which no optimizer of PyTorch's keeps")

    # From here on nothing fails.
    with torch.no_grad():
        for pair in pairs:
            for name, parameter in pair.params.items():
                if f"model.{name}" in checkpoint.tensors:
                    parameter.copy_(checkpoint.tensors[f"model.{name}"])
    rates = {id(pair.theirs): pair.ours["lr"] for pair in pairs}
    for each in several(optimizer):
        saved = each.state_dict()
        saved["state"] = {}
        for group, of_saved in zip(each.param_groups, saved["param_groups"]):
            lr = rates[id(group)]
            of_saved["lr"] = torch.full_like(group["lr"], lr) if torch.is_tensor(group["lr"]) else lr
            indices = zip(of_saved["params"], group["params"])
            saved["state"] |= {index: states[parameter] for index, parameter in indices if states[parameter]}
        each.load_state_dict(saved)
    return checkpoint.user


def state_of(checkpoint, pair, name, problems):
    """PyTorch's state of the parameter `name`: empty if PyTorch makes it at the first step."""
    ours, count = pair.ours, pair.ours["performed"]
    rule, of_rule = ours["rule"], ours["hyperparameters"]
    if checkpoint.tensors[f"state.{name}.step"] != torch.tensor(float(count), dtype=torch.float32):
        problems.append(f"state.{name}.step is not {count}, the count of its group")
    kept = {slot: checkpoint.tensors[f"state.{name}.{slot}"] for slot in pair.slots[name]}
    if count == 0 and rule not in STARTED:
        for slot, tensor in kept.items():
            if tensor.any():
                problems.append(f"state.{name}.{slot} is not zero, although no step was taken")
        return {}
    if rule in UNCOUNTED:
        return kept
    # PyTorch counts in its default type, and no further than that has whole numbers.
    is_double = torch.get_default_dtype() == torch.float64 and not pair.theirs.get("fused")
    step = torch.tensor(float(count), dtype=torch.float64 if is_double else torch.float32)
    if int(step) != count:
        problems.append(f"{name}: PyTorch's {step.dtype} cannot count {count} steps")
    scalars = {"step": step}
    if rule == "nadam":
        scalars["mu_product"] = torch.tensor(mu_product(of_rule, count), dtype=torch.float64)
    if rule == "asgd":
        of_next = eta(of_rule, ours["state"], count, ours["lr"]), mu(of_rule, count)
        scalars["eta"], scalars["mu"] = (torch.tensor(value, dtype=torch.float64) for value in of_next)
    return scalars | kept


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    model, optimizer = built(sys.argv[2])
    try:
        user = to_torch(sys.argv[1], model.named_parameters(), optimizer)
    except Refused as refused:
        sys.exit(str(refused))
    states = [each.state_dict() for each in several(optimizer)]
    states = states if isinstance(optimizer, (list, tuple)) else states[0]
    torch.save({"model": model.state_dict(), "optimizer": states, "user": user}, sys.argv[3])
