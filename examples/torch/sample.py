"""The files in sample/, by which tests.rs knows that PyTorch's half still fits ours.

    python3 examples/torch/sample.py    # writes them anew, after a change of the format
"""

import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from checkpoint import read
from from_torch import from_torch
from runs import build, difference, fall, program

SAMPLE = Path(__file__).parent / "sample"
GROUPS = ["adamw:lr=0.01:amsgrad=max_raw fc.weight=4x3", "asgd:lr=0.1:lambd=0.05:t0=2 fc.bias=4"]
HALF = 5


def write(folder):
    """Writes before, grads and after: five steps, and the next five."""
    torch.set_default_dtype(torch.float64)
    random = torch.Generator().manual_seed(0)
    model = torch.nn.ModuleDict({"fc": torch.nn.Linear(3, 4)})
    params = dict(model.named_parameters())
    for parameter in params.values():
        parameter.data.normal_(generator=random)
    optimizers = [torch.optim.ASGD([params["fc.bias"]], lr=0.1, lambd=0.05, t0=2),
                  torch.optim.AdamW([params["fc.weight"]], lr=0.01, amsgrad=True)]
    schedulers = [torch.optim.lr_scheduler.LambdaLR(optimizer, fall) for optimizer in optimizers]
    fresh = folder / "fresh"
    program("fresh", fresh, "--on", "f64", *[text for group in GROUPS for text in ("--group", group)])
    grads = {f"grad.{name}": torch.randn([2 * HALF, *parameter.shape], generator=random)
             for name, parameter in params.items()}
    rates = torch.tensor([[0.01 * fall(step), 0.1 * fall(step)] for step in range(HALF, 2 * HALF)])
    save_file({name: grad[HALF:].clone() for name, grad in grads.items()} | {"lr": rates},
              folder / "grads.safetensors")
    for step in range(2 * HALF):
        if step == HALF:
            from_torch(fresh, params.items(), optimizers, folder / "before.safetensors", HALF, {"epoch": "1"})
        for name, parameter in params.items():
            parameter.grad = grads[f"grad.{name}"][step].clone()
        for each in optimizers + schedulers:
            each.step()
    from_torch(fresh, params.items(), optimizers, folder / "after.safetensors", 2 * HALF, {"epoch": "2"})
    fresh.unlink()


def is_current(folder):
    """Whether `write` still gives what is in sample/."""
    write(folder)
    differences = [difference(folder / name, SAMPLE / name, SAMPLE / name)
                   for name in ("before.safetensors", "after.safetensors")]
    old, new = (load_file(where / "grads.safetensors") for where in (SAMPLE, folder))
    differences += [(old[name] - new[name]).abs().max().item() for name in old.keys() | new.keys()]
    fields = [[list(group) for group in read(where / "after.safetensors").optimizer["groups"]]
              for where in (SAMPLE, folder)]
    is_right = max(differences) < 1e-12 and fields[0] == fields[1]
    print("ok     sample/ is what is written now" if is_right else "WRONG  sample/ is out of date")
    return is_right


if __name__ == "__main__":
    build()
    write(SAMPLE)
