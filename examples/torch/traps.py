"""Where a way from one optimizer to another goes wrong in silence: one test for each."""

import subprocess
import sys
import warnings

import torch

import checkpoint
from checkpoint import Refused
from from_torch import from_torch
from rules import RULES
from runs import ROOT, Run, program
from to_torch import to_torch

STEPS = 6


def traps(folder):
    """Runs every test of this file, and returns whether all held."""
    tests = [(name, test) for name, test in globals().items() if name.startswith("test_")]
    failed = 0
    for name, test in tests:
        try:
            test(folder)
            print(f"ok     {name[5:].replace('_', ' ')}")
        except Exception:
            failed += 1
            sys.excepthook(*sys.exc_info())
            print(f"WRONG  {name[5:].replace('_', ' ')}")
    return failed == 0


def taken(folder, name, options, rule, on="f32", steps=STEPS):
    """A run, with the model and the optimizer after `steps` of its steps in PyTorch."""
    run = Run(folder, name, options, rule, on, 2 * STEPS)
    model, optimizer = run.make()
    run.there(model, optimizer, 0, steps)
    return run, model, optimizer


def adam(folder, on="f32", steps=STEPS):
    return taken(folder, "Adam", dict(lr=0.01), "adam:lr=0.01", on, steps)


def saved(run, model, optimizer, steps=None):
    return checkpoint.read(run.save((model, optimizer), "saved", steps))


def loaded(run, path):
    model, optimizer = run.make(seed=7)
    to_torch(path, model.named_parameters(), optimizer)
    return dict(model.named_parameters()), optimizer


def changed(path, change):
    """`path` with what `change` does to its checkpoint, and right checksums again."""
    file = checkpoint.read(path)
    change(file)
    checkpoint.write(f"{path}.changed", file)
    return f"{path}.changed"


def refuses(text, action, *arguments, **named):
    """Asserts that `action` is refused by a message with `text` in it."""
    try:
        action(*arguments, **named)
    except Refused as refused:
        assert text in str(refused), f"expected {text!r} in {str(refused)!r}"
    else:
        raise AssertionError(f"nothing was refused; expected {text!r}")


def group_of(optimizer, parameter):
    return next(group for group in optimizer.param_groups if any(p is parameter for p in group["params"]))


def test_tensors_of_one_shape_go_by_name_in_any_order(folder):
    run, model, optimizer = adam(folder)
    file = saved(run, model, optimizer)
    params = dict(model.named_parameters())
    in_file = [name for group in file.optimizer["groups"] for name in group["tensors"]]
    assert params["encoder.weight"].shape == params["decoder.weight"].shape
    assert [name for name in in_file if "coder" in name] != [name for name in params if "coder" in name]
    params, copy = loaded(run, run.file("saved"))
    for name, parameter in model.named_parameters():
        assert torch.equal(file.tensors[f"model.{name}"], parameter)
        assert torch.equal(params[name], parameter)
        for slot in ("exp_avg", "exp_avg_sq"):
            assert torch.equal(file.tensors[f"state.{name}.{slot}"], optimizer.state[parameter][slot])
            assert torch.equal(copy.state[params[name]][slot], optimizer.state[parameter][slot])


def test_missing_and_extra_names_are_refused(folder):
    run, model, optimizer = adam(folder)
    run.save((model, optimizer), "saved", None)
    other, one = run.make()
    few = [(name, parameter) for name, parameter in other.named_parameters() if name != "bias"]
    refuses("parameter of shape [5] that is not among the named ones", to_torch, run.file("saved"), few, one)
    renamed = [(name.replace("bias", "offset"), parameter) for name, parameter in other.named_parameters()]
    refuses("bias: only the file has it", to_torch, run.file("saved"), renamed, one)
    refuses("offset: only PyTorch's optimizer has it", to_torch, run.file("saved"), renamed, one)
    regrouped = torch.optim.Adam(other.parameters(), lr=0.01)
    refuses("on one side alone", to_torch, run.file("saved"), other.named_parameters(), regrouped)


def test_shapes_are_compared(folder):
    run, model, optimizer = adam(folder)
    run.save((model, optimizer), "saved", None)
    run.shapes = run.shapes | {"bias": [1, 5]}
    other, one = run.make()
    refuses("model.bias: shape [5] here, and the model needs [1, 5]",
            to_torch, run.file("saved"), other.named_parameters(), one)


def test_the_count_is_not_one_off(folder):
    for on, dtype in (("f64", torch.float64), ("f32", torch.float32)):
        run, model, optimizer = adam(folder, on)
        file = saved(run, model, optimizer)
        for group in file.optimizer["groups"]:
            assert (group["performed"], group["recorded"]) == (STEPS, STEPS)
        assert file.optimizer["performed"] == STEPS
        assert file.tensors["state.bias.step"].dtype == torch.float32
        assert file.tensors["state.bias.step"] == STEPS
        _, copy = loaded(run, run.file("saved"))
        for state in copy.state.values():
            assert state["step"] == STEPS and state["step"].dtype == dtype and state["step"].shape == ()

        def one_off(file):
            file.tensors["state.bias.step"] += 1
        refuses("state.bias.step is not 6", loaded, run, changed(run.file("saved"), one_off))
        refuses("has taken 6 steps; expected 7", run.save, (model, optimizer), "off", 7)


def test_a_count_that_f32_cannot_tell_is_refused(folder):
    run, model, optimizer = adam(folder)
    for state in optimizer.state.values():
        state["step"].fill_(2.0**24)
    refuses("has stopped at 1.67772e+07 steps", run.save, (model, optimizer), "saved", None)

    def long(file):
        for group in file.optimizer["groups"]:
            group["performed"] = 2**24 + 1
        for name in file.slots():
            file.tensors[f"state.{name}.step"].fill_(2**24 + 1)
    path = changed(run.fresh, long)
    refuses("cannot count 16777217 steps", loaded, run, path)


def test_counts_that_differ_within_a_group_are_refused(folder):
    run, model, optimizer = adam(folder)
    optimizer.state[dict(model.named_parameters())["bias"]]["step"] += 1
    refuses("bias has taken 7 steps and decoder.weight 6; a group here has one count",
            run.save, (model, optimizer), "saved", None)


def test_a_parameter_without_a_gradient_has_no_state(folder):
    run = Run(folder, "Adam", dict(lr=0.01), "adam:lr=0.01", "f32", STEPS)
    del run.grads["bias"]
    model, optimizer = run.make()
    take(run, model, optimizer)
    refuses("bias has taken 0 steps", run.save, (model, optimizer), "saved", None)
    # In a group that has no gradient at all, nothing has begun.
    del run.grads["scale"], run.grads["decoder.weight"]
    model, optimizer = run.make()
    take(run, model, optimizer)
    file = saved(run, model, optimizer)
    assert [group["performed"] for group in file.optimizer["groups"]] == [0, STEPS]
    assert file.optimizer["performed"] == STEPS
    params, copy = loaded(run, run.file("saved"))
    assert len(copy.state) == 2 and params["bias"] not in copy.state


def take(run, model, optimizer):
    for step in range(STEPS):
        for name, grad in run.grads.items():
            dict(model.named_parameters())[name].grad = grad[step].clone()
        optimizer.step()


def test_momentum_that_has_not_begun_is_zero(folder):
    options, rule = dict(lr=0.1, momentum=0.9), "sgd:lr=0.1:momentum=0.9"
    run, model, optimizer = taken(folder, "SGD", options, rule)
    bias = dict(model.named_parameters())["bias"]
    optimizer.state[bias]["momentum_buffer"] = None
    assert not saved(run, model, optimizer, STEPS).tensors["state.bias.momentum_buffer"].any()
    del optimizer.state[bias]
    assert not saved(run, model, optimizer, STEPS).tensors["state.bias.momentum_buffer"].any()
    refuses("0 steps, yet PyTorch has momentum_buffer", run.save, (model, optimizer), "saved", 0)
    # With dampening the first gradient would count in full, and here it does not.
    run, model, optimizer = taken(
        folder, "SGD", options | dict(dampening=0.5), f"{rule}:dampening=0.5")
    del optimizer.state[dict(model.named_parameters())["bias"]]
    refuses("state.bias.momentum_buffer: PyTorch has none, after 6 steps",
            run.save, (model, optimizer), "saved", STEPS)


def test_sgd_and_muon_need_a_count(folder):
    for name in ("SGD", "Muon"):
        run, model, optimizer = taken(folder, name, dict(lr=0.1), f"{name.lower()}:lr=0.1")
        refuses(f"{name} does not count", run.save, (model, optimizer), "saved", None)
        assert saved(run, model, optimizer, STEPS).optimizer["performed"] == STEPS
        _, copy = loaded(run, run.file("saved"))
        assert len(copy.state) == (0 if name == "SGD" else 3)


def test_before_the_first_step_there_is_nothing_but_a_start(folder):
    for name in RULES:
        run, model, optimizer = taken(folder, name, dict(lr=0.1), f"{RULES[name][0]}:lr=0.1{eps(name)}", steps=0)
        file, fresh = saved(run, model, optimizer, 0 if name in ("SGD", "Muon") else None), checkpoint.read(run.fresh)
        for key, tensor in fresh.tensors.items():
            if not key.startswith("model.") and not key.endswith(".step_size"):
                assert torch.equal(file.tensors[key], tensor), key
        _, copy = loaded(run, run.file("saved"))
        assert bool(copy.state) == (name in ("Adagrad", "Rprop")), name


def eps(name):
    return f":eps1={2.0**-23}" if name == "Adafactor" else ""


def test_rprop_starts_from_the_rate_of_its_first_step(folder):
    run, model, optimizer = taken(folder, "Rprop", dict(lr=0.01), "rprop:lr=0.01", steps=0)
    for group in optimizer.param_groups:
        group["lr"] = 0.25
    assert (saved(run, model, optimizer).tensors["state.bias.step_size"] == 0.25).all()
    # Ours started at the rate that was set when it was made, whatever the rate is now.
    params, copy = loaded(run, changed(run.file("saved"), lambda file: [
        group.update(lr=0.5) for group in file.optimizer["groups"]]))
    assert (copy.state[params["bias"]]["step_size"] == 0.25).all() and copy.param_groups[0]["lr"] == 0.5


def test_nothing_is_rounded(folder):
    run, model, optimizer = adam(folder, "f64")
    run.save((model, optimizer), "saved", None)
    refuses("model.bias: torch.float64 here, and the model's parameter is torch.float32",
            to_torch, run.file("saved"), *narrow(run.make()))
    state = optimizer.state[model.bias]
    state["exp_avg"] = state["exp_avg"].float()
    refuses("state.bias.exp_avg: torch.float32 here, and the model's parameter is torch.float64",
            run.save, (model, optimizer), "saved", None)
    program("fresh", run.fresh, "--on", "f32", *run.layout)
    refuses("model.bias: torch.float32 here", run.save, (model, optimizer), "saved", None)


def narrow(made):
    model, optimizer = made
    model.float()
    return model.named_parameters(), optimizer


def test_the_rate_is_the_schedules_and_not_the_first(folder):
    run, model, optimizer = adam(folder)
    rates = [group["lr"] for group in optimizer.param_groups]
    file = saved(run, model, optimizer)
    assert [group["lr"] for group in file.optimizer["groups"]] == rates[::-1]
    assert rates[0] != optimizer.param_groups[0]["initial_lr"]
    params, copy = loaded(run, run.file("saved"))
    assert [group["lr"] for group in copy.param_groups] == rates
    assert [group["initial_lr"] for group in copy.param_groups] == [0.01, 0.005]
    # A scheduler that is told the count goes on where the other one was.
    run.there(torch.nn.ParameterDict(), copy, STEPS, STEPS + 1)
    run.there(torch.nn.ParameterDict(), optimizer, STEPS, STEPS + 1)
    assert copy.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]


def test_a_rate_that_is_a_tensor_stays_one(folder):
    run, model, optimizer = adam(folder)
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(group["lr"], dtype=torch.float64)
    run.save((model, optimizer), "saved", None)
    model, copy = run.make()
    copy.param_groups[0]["lr"] = torch.tensor(9.0, dtype=torch.float64)
    to_torch(run.file("saved"), model.named_parameters(), copy)
    assert torch.equal(copy.param_groups[0]["lr"], optimizer.param_groups[0]["lr"])


def test_how_pytorch_computes_does_not_matter(folder):
    for on in ("f64", "f32"):
        for how in (dict(fused=True), dict(foreach=True)):
            run, model, optimizer = taken(folder, "AdamW", dict(lr=0.01) | how, "adamw:lr=0.01", on)
            run.save((model, optimizer), "saved", None)
            params, copy = loaded(run, run.file("saved"))
            for name, parameter in model.named_parameters():
                for slot, value in optimizer.state[parameter].items():
                    found = copy.state[params[name]][slot]
                    assert torch.equal(found, value) and found.dtype == value.dtype, (how, slot)


def test_a_parameter_that_lies_in_columns_goes_in_rows(folder):
    run, model, optimizer = adam(folder, steps=0)
    weight = model.encoder.weight
    weight.data = weight.data.t().contiguous().t()
    run.there(model, optimizer, 0, STEPS)
    assert not weight.is_contiguous() and not optimizer.state[weight]["exp_avg"].is_contiguous()
    file = saved(run, model, optimizer)
    assert torch.equal(file.tensors["model.encoder.weight"], weight)
    other, one = run.make()
    other.encoder.weight.data = other.encoder.weight.data.t().contiguous().t()
    to_torch(run.file("saved"), other.named_parameters(), one)
    assert torch.equal(other.encoder.weight, weight)
    assert torch.equal(one.state[other.encoder.weight]["exp_avg"], optimizer.state[weight]["exp_avg"])


def test_amsgrad_keeps_its_maximum(folder):
    run, model, optimizer = taken(folder, "Adam", dict(lr=0.01, amsgrad=True), "adam:lr=0.01:amsgrad=max_raw")
    largest = {name: optimizer.state[parameter]["max_exp_avg_sq"] for name, parameter in model.named_parameters()}
    file = saved(run, model, optimizer)
    params, copy = loaded(run, run.file("saved"))
    for name, value in largest.items():
        assert torch.equal(file.tensors[f"state.{name}.max_exp_avg_sq"], value)
        assert torch.equal(copy.state[params[name]]["max_exp_avg_sq"], value)
    without = Run(folder, "Adam", dict(lr=0.01), "adam:lr=0.01", "f32", STEPS)
    refuses("amsgrad is off in the file and max_raw in PyTorch", without.save, (model, optimizer), "saved", None)
    program("fresh", run.fresh, *[text.replace("max_raw", "max_corrected") for text in run.layout])
    refuses("amsgrad is max_corrected in the file", run.save, (model, optimizer), "saved", None)


def test_nadam_gets_its_product_of_momenta(folder):
    for on, tolerance in (("f64", 1e-14), ("f32", 1e-6)):
        run, model, optimizer = taken(folder, "NAdam", dict(lr=0.01), "nadam:lr=0.01", on)
        run.save((model, optimizer), "saved", None)
        params, copy = loaded(run, run.file("saved"))
        found, expected = (each.state[parameter]["mu_product"] for each, parameter in
                           ((copy, params["bias"]), (optimizer, model.bias)))
        assert found.dtype == expected.dtype and abs(found / expected - 1) < tolerance
        optimizer.state[model.bias]["mu_product"] *= 1.001
        refuses("bias: mu_product is", run.save, (model, optimizer), "saved", None)


def test_asgd_gets_its_eta_and_mu(folder):
    options = dict(lr=0.1, lambd=0.05, t0=2)
    run, model, optimizer = taken(folder, "ASGD", options, "asgd:lr=0.1:lambd=0.05:t0=2", "f64")
    file = saved(run, model, optimizer)
    state = optimizer.state[model.bias]
    assert file.optimizer["groups"][0]["state"]["eta"] == state["eta"].item()
    params, copy = loaded(run, run.file("saved"))
    for slot in ("eta", "mu", "ax"):
        assert torch.equal(copy.state[params["bias"]][slot], state[slot]), slot
    assert state["mu"] == 1 / (STEPS - 2) and not torch.equal(state["ax"], model.bias)

    # Where ours has not been told eta, it follows from the rate and the count.
    def untold(file):
        for group in file.optimizer["groups"]:
            group["state"]["eta"] = -1.0
    params, copy = loaded(run, changed(run.file("saved"), untold))
    lr = copy.param_groups[1]["lr"]
    assert copy.state[params["bias"]]["eta"] == lr / (1 + 0.05 * lr * STEPS) ** 0.75
    for slot, text in (("eta", "of others in its group"), ("mu", "bias: mu is")):
        _, model, optimizer = taken(folder, "ASGD", options, "asgd:lr=0.1:lambd=0.05:t0=2", "f64")
        optimizer.state[model.bias][slot] *= 1.5
        refuses(text, run.save, (model, optimizer), "saved", None)


def test_adafactor_has_rows_and_columns_or_a_variance(folder):
    run, model, optimizer = taken(folder, "Adafactor", dict(lr=0.1), f"adafactor:lr=0.1{eps('Adafactor')}")
    slots = saved(run, model, optimizer).slots()
    assert slots["kernel"] == ["col_var", "row_var"] and slots["bias"] == slots["scale"] == ["variance"]
    params, copy = loaded(run, run.file("saved"))
    assert copy.state[params["kernel"]]["row_var"].shape == (2, 3, 1)
    assert copy.state[params["kernel"]]["col_var"].shape == (2, 1, 4)
    assert copy.state[params["scale"]]["variance"].shape == ()
    state = optimizer.state[model.kernel]
    state["row_var"] = state["row_var"].squeeze(-1)
    refuses("state.kernel.row_var: shape [2, 3] here, and the model needs [2, 3, 1]",
            run.save, (model, optimizer), "saved", None)


def test_rprop_keeps_its_last_gradient_and_step_size(folder):
    run, model, optimizer = taken(folder, "Rprop", dict(lr=0.01), "rprop:lr=0.01")
    run.save((model, optimizer), "saved", None)
    params, copy = loaded(run, run.file("saved"))
    for slot in ("prev", "step_size"):
        assert torch.equal(copy.state[params["bias"]][slot], optimizer.state[model.bias][slot])


def test_every_hyperparameter_is_compared(folder):
    run, model, optimizer = adam(folder)
    for key, value, text in (
            ("betas", (0.5, 0.999), "group 0: beta1 is 0.9 in the file and 0.5 in PyTorch"),
            ("betas", (0.9, 0.5), "beta2 is 0.999 in the file and 0.5 in PyTorch"),
            ("eps", 1e-7, "eps is 0.00000001 in the file and 1e-07 in PyTorch"),
            ("weight_decay", 0.1, "weight_decay is 0 in the file and 0.1 in PyTorch"),
            ("maximize", True, "maximize is false in the file and True in PyTorch"),
            ("decoupled_weight_decay", True, "the rule is adam in the file and adamw in PyTorch")):
        other, one = run.make()
        group_of(one, other.bias)[key] = value
        refuses(text, run.save, (other, one), "other", None)
        refuses(text, to_torch, run.fresh, other.named_parameters(), one)
    for option in ("cautious=true", "nesterov=true", "eps_inside_root=true", "eps_before_correction=true"):
        program("fresh", run.fresh, *[text.replace("adam", f"adam:{option}") for text in run.layout])
        refuses(option.replace("=", " is "), run.save, (model, optimizer), "other", None)
    model = torch.nn.ParameterDict({"bias": torch.zeros(5)})
    program("fresh", run.fresh, "--group", "adam bias=5")
    strange = torch.optim.Adam(model.values())
    strange.defaults["sharpness"] = strange.param_groups[0]["sharpness"] = 2
    refuses("PyTorch's sharpness = 2 has no like", from_torch, run.fresh, model.items(), strange, "x")
    other = torch.optim.LBFGS(model.values())
    refuses("the rule is adam in the file and LBFGS in PyTorch", from_torch, run.fresh, model.items(), other, "x")


def test_what_is_refused_changes_nothing(folder):
    run, model, optimizer = adam(folder)
    path = run.save((model, optimizer), "saved", None)
    before = path.read_bytes()
    optimizer.state[model.bias]["step"] += 1
    refuses("one count", run.save, (model, optimizer), "saved", None)
    assert path.read_bytes() == before and not list(folder.glob("*.unfinished"))
    optimizer.param_groups[1]["eps"] = 1.0
    params = {name: parameter.clone() for name, parameter in model.named_parameters()}
    state = str(optimizer.state_dict())
    refuses("eps", to_torch, path, model.named_parameters(), optimizer)
    assert str(optimizer.state_dict()) == state
    assert all(torch.equal(params[name], parameter) for name, parameter in model.named_parameters())


def test_a_changed_file_is_refused(folder):
    run, model, optimizer = adam(folder)
    path = run.save((model, optimizer), "saved", None)
    whole = path.read_bytes()
    for place, text in ((-1, "the checksum of"), (whole.index(b"crate_version") + 2, "header's checksum")):
        wrong = bytearray(whole)
        wrong[place] ^= 1
        path.write_bytes(wrong)
        refuses(text, loaded, run, path)
    path.write_bytes(whole[:-3])
    refuses("saved.safetensors", loaded, run, path)
    path.write_bytes(whole)
    loaded(run, path)


def test_a_template_has_taken_no_step(folder):
    run, model, optimizer = adam(folder)
    path = run.save((model, optimizer), "saved", None)
    refuses("expected a checkpoint from before the first", from_torch, path, model.named_parameters(), optimizer, "x")


def test_state_without_a_step_is_refused(folder):
    run, model, optimizer = adam(folder, steps=0)
    path = changed(run.fresh, lambda file: file.tensors["state.bias.exp_avg"].fill_(1))
    refuses("state.bias.exp_avg is not zero, although no step was taken", loaded, run, path)


def test_averages_are_not_forgotten(folder):
    run, model, optimizer = adam(folder)
    path = run.save((model, optimizer), "saved", None)

    def average(file):
        file.tensors["ema.bias"] = torch.zeros(5)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded(run, changed(path, average))
    assert "average" in str(caught[0].message)
    refuses("averages its parameters", from_torch, changed(run.fresh, average),
            model.named_parameters(), optimizer, "x")
    evaluating = changed(path, lambda file: file.optimizer.update(evaluating=True))
    refuses("the parameters to evaluate with", loaded, run, evaluating)


def test_muon_and_adamw_share_a_model(folder):
    program("fresh", folder / "both", "--group", "muon:lr=0.01 w=4x3", "--group", "adamw b=4")
    model = torch.nn.ParameterDict({"b": torch.zeros(4), "w": torch.ones(4, 3)})
    both = [torch.optim.AdamW([model["b"]]), torch.optim.Muon([model["w"]], lr=0.01)]
    for _ in range(3):
        for parameter in model.values():
            parameter.grad = torch.ones_like(parameter)
        [optimizer.step() for optimizer in both]
    from_torch(folder / "both", model.items(), both, folder / "of_both", 3, {"epoch": "2"})
    copy = torch.nn.ParameterDict({"w": torch.zeros(4, 3), "b": torch.ones(4)})
    others = [torch.optim.Muon([copy["w"]]), torch.optim.AdamW([copy["b"]])]
    assert to_torch(folder / "of_both", copy.items(), others) == {"epoch": "2"}
    assert torch.equal(copy["w"], model["w"]) and torch.equal(copy["b"], model["b"])
    assert str(others[0].state_dict()) == str(both[1].state_dict())
    assert str(others[1].state_dict()) == str(both[0].state_dict())


def test_the_command_lines(folder):
    (folder / "train.py").write_text(
        "import torch\ndef build():\n    model = torch.nn.Linear(3, 2)\n"
        "    return model, torch.optim.Adam(model.parameters(), lr=0.5)\n")
    program("fresh", folder / "fresh", "--group", "adam bias=2 weight=2x3")
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.25)
    model(torch.ones(3)).sum().backward()
    optimizer.step()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, folder / "run.pt")
    command("from_torch.py", "fresh", "train:build", "run.pt", "file", folder=folder)
    command("to_torch.py", "file", "train:build", "back.pt", folder=folder)
    back = torch.load(folder / "back.pt", weights_only=True)
    assert str(back["optimizer"]) == str(optimizer.state_dict())
    assert torch.equal(back["model"]["weight"], model.weight)
    done = command("from_torch.py", "file", "train:build", "run.pt", "x", folder=folder, status=1)
    assert "it has taken steps" in done.stderr and "Traceback" not in done.stderr


def command(name, *arguments, folder, status=0):
    script = ROOT / "examples/torch" / name
    done = subprocess.run([sys.executable, script, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    return done
