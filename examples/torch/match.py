"""Which parameters of a model and groups of PyTorch's optimizers belong to which of a checkpoint: by name."""

import importlib
import sys
from collections import namedtuple

from checkpoint import Refused
from rules import hyperparameter_problems, rule_of, state_shape

# A group: `ours` is the file's description, `theirs` PyTorch's. `params` are its parameters by name, and `slots`
# what state the file has of them.
Pair = namedtuple("Pair", "ours optimizer theirs params slots")


def match(checkpoint, named_parameters, optimizer):
    """The pairs of groups, in the file's order. Refuses all but the same names, shapes, types and rules."""
    problems = []
    names = {parameter: name for name, parameter in named_parameters}
    theirs_of = {}
    for each in several(optimizer):
        for group in each.param_groups:
            for parameter in group["params"]:
                if parameter not in names:
                    problems.append(f"the optimizer has a parameter of shape {list(parameter.shape)} "
                                    "that is not among the named ones")
                    continue
                theirs_of[names[parameter]] = each, group, parameter
    ours_of = {name: group for group in checkpoint.optimizer["groups"] for name in group["tensors"]}
    problems += [f"{name}: only the file has it" for name in ours_of if name not in theirs_of]
    problems += [f"{name}: only PyTorch's optimizer has it" for name in theirs_of if name not in ours_of]
    refuse(problems)
    if checkpoint.optimizer["evaluating"]:
        problems.append("the file has the parameters to evaluate with; save those to train")

    pairs, slots = [], checkpoint.slots()
    for index, ours in enumerate(checkpoint.optimizer["groups"]):
        first = ours["tensors"][0]
        each, group, parameter = theirs_of[first]
        params = {name: theirs_of[name][2] for name in ours["tensors"]}
        of_theirs = {names[parameter] for parameter in group["params"]}
        for name in sorted(of_theirs ^ set(params)):
            problems.append(f"{name}: in a group with {first} on one side alone")
        rule = rule_of(each, group)[0]
        if rule != ours["rule"]:
            problems.append(f"group {index}: the rule is {ours['rule']} in the file and {rule} in PyTorch")
        else:
            differences = hyperparameter_problems(each, group, ours["hyperparameters"], parameter.dtype)
            problems += [f"group {index}: {difference}" for difference in differences]
        pairs.append(Pair(ours, each, group, params, {name: slots[name] for name in params}))
        for name, parameter in params.items():
            keys = {f"model.{name}": parameter.shape} | {
                f"state.{name}.{slot}": state_shape(slot, parameter.shape) for slot in slots[name]}
            for key in keys.keys() & checkpoint.tensors.keys():
                problems += tensor_problems(key, checkpoint.tensors[key], parameter.dtype, keys[key])
    refuse(problems)
    return pairs


def tensor_problems(key, tensor, dtype, shape):
    """How `tensor` differs from the parameter's type and the shape that goes with it. Nothing is ever rounded."""
    if tensor.dtype != dtype:
        yield f"{key}: {tensor.dtype} here, and the model's parameter is {dtype}"
    if list(tensor.shape) != list(shape):
        yield f"{key}: shape {list(tensor.shape)} here, and the model needs {list(shape)}"


def several(optimizer):
    """One optimizer or a list of them, such as Muon for the matrices and AdamW for the rest."""
    return optimizer if isinstance(optimizer, (list, tuple)) else [optimizer]


def refuse(problems):
    if problems:
        raise Refused("\n".join(problems))


def built(text):
    """What the function `text`, as module:function, makes: a model and its optimizer or optimizers."""
    module, _, function = text.partition(":")
    sys.path.insert(0, ".")
    return getattr(importlib.import_module(module), function or "build")()
