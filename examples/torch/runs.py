"""What the tests have in common: a model, its steps in PyTorch, and the same steps by the example `torch`."""

import inspect
import subprocess
from pathlib import Path

import torch
import torch.optim._muon as muon
from safetensors.torch import save_file

import checkpoint
from from_torch import from_torch

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "target/debug/examples/torch"
# In the model's order. Two have one shape, so that only names tell them apart.
SHAPES = {"encoder.weight": [4, 3], "kernel": [2, 3, 4], "bias": [5], "scale": [], "decoder.weight": [4, 3]}
MATRICES = {"encoder.weight": [4, 3], "tall": [6, 2], "decoder.weight": [4, 3]}
# The optimizer's groups, by the place of their parameters above; the file has them the other way round.
GROUPS = [[0, 1], [2, 3, 4]]
MATRIX_GROUPS = [[0], [1, 2]]


class Model(torch.nn.Module):
    def __init__(self, shapes, seed=0):
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        for name, shape in shapes.items():
            *path, last = name.split(".")
            owner = self
            for part in path:
                if not hasattr(owner, part):
                    owner.add_module(part, torch.nn.Module())
                owner = getattr(owner, part)
            value = torch.randn(shape, generator=random, dtype=torch.float64)
            owner.register_parameter(last, torch.nn.Parameter(value.to(torch.get_default_dtype())))


def fall(step):
    """The factor of the learning rate at each step, from 0 on."""
    return 1 / (1 + step / 50)


class Run:
    """`steps` steps of one of PyTorch's optimizers at falling rates, here and there.

    The rates of the two groups are lr and lr/2.
    """

    def __init__(self, folder, name, options, rule, on, steps):
        self.folder, self.on, self.name, self.options = folder, on, name, options
        torch.set_default_dtype(torch.float64 if on == "f64" else torch.float32)
        is_muon = name == "Muon"
        self.shapes = MATRICES if is_muon else SHAPES
        self.groups = [[list(self.shapes)[place] for place in group]
                       for group in (MATRIX_GROUPS if is_muon else GROUPS)]
        # The file's groups and their tensors are in the opposite order.
        self.layout = []
        for group in self.groups[::-1]:
            tensors = [f"{n}={'x'.join(map(str, self.shapes[n]))}" for n in group[::-1]]
            self.layout += ["--group", " ".join([rule, *tensors])]
        random = torch.Generator().manual_seed(1)
        self.grads = {n: torch.randn([steps, *shape], generator=random, dtype=torch.float64)
                      .to(torch.get_default_dtype()) for n, shape in self.shapes.items()}
        self.fresh = self.file("fresh")
        program("fresh", self.fresh, "--on", on, *self.layout)

    def file(self, name):
        return self.folder / f"{name}.safetensors"

    def make(self, seed=0):
        """A model and its optimizer."""
        model = Model(self.shapes, seed)
        params = dict(model.named_parameters())
        rates = [self.options["lr"], self.options["lr"] / 2]
        groups = [{"params": [params[n] for n in group], "lr": lr, "initial_lr": lr}
                  for group, lr in zip(self.groups, rates)]
        return model, getattr(torch.optim, self.name)(groups, **self.options)

    def there(self, model, optimizer, start, end):
        """Takes the steps from `start` to `end` in PyTorch."""
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, fall, last_epoch=start - 1)
        for step in range(start, end):
            for name, parameter in model.named_parameters():
                parameter.grad = self.grads[name][step].clone()
            optimizer.step()
            scheduler.step()

    def here(self, source, target, start, end):
        """Takes them by the example, from the file `source` to the file `target`."""
        grads = {f"grad.{name}": grad[start:end].contiguous() for name, grad in self.grads.items()}
        lr = self.options["lr"]
        rates = [[lr / 2 * fall(step), lr * fall(step)] for step in range(start, end)]
        grads["lr"] = torch.tensor(rates, dtype=torch.float64)
        save_file(grads, self.file("grads"))
        program("resume", source, self.file("grads"), target, "--on", self.on, *self.layout)

    def save(self, made, name, steps):
        """What from_torch makes of a model and its optimizer, which are `made`."""
        model, optimizer = made
        from_torch(self.fresh, model.named_parameters(), optimizer, self.file(name), steps)
        return self.file(name)


def program(*arguments):
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"torch {' '.join(map(str, arguments))}\n{done.stderr}")


def build():
    """Compiles the example, and says so if that fails."""
    subprocess.run(["cargo", "build", "--quiet", "--example", "torch"], cwd=ROOT, check=True)


def difference(found, expected, half):
    """How much two files differ in their tensors, and in what a group has one of. `half` as below."""
    found, expected = checkpoint.read(found), checkpoint.read(expected)
    assert found.tensors.keys() == expected.tensors.keys()
    differences = [tensor_difference(found, expected, checkpoint.read(half))]
    for ours, theirs in zip(found.optimizer["groups"], expected.optimizer["groups"], strict=True):
        assert (ours["performed"], ours["tensors"]) == (theirs["performed"], theirs["tensors"])
        differences += [abs(ours["state"][slot] / value - 1) for slot, value in theirs["state"].items()]
    return max(differences)


def tensor_difference(found, expected, half, beginning=""):
    """The largest difference of two numbers, as a part of the largest number of their tensor.

    A number that came down to nearly zero has the roundings of what it was: `half` is what it was halfway.
    """
    differences = [0]
    for name, tensor in expected.tensors.items():
        if name.startswith(beginning):
            largest = max(tensor.abs().max().item(), half.tensors[name].abs().max().item()) or 1
            differences.append((found.tensors[name] - tensor).abs().max().item() / largest)
    return max(differences)


def without_bf16():
    """Has PyTorch's Muon take its Newton–Schulz steps in the parameters' type, as ours does."""
    source = inspect.getsource(muon._zeropower_via_newtonschulz)
    assert source.count("torch.bfloat16") == 1
    exec(source.replace("torch.bfloat16", "grad.dtype"), muon.__dict__)
