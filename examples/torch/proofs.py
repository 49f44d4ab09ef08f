"""Half of the steps in PyTorch and half here, either way, against all of them in PyTorch."""

import torch
import torch.optim._muon as muon

from checkpoint import read
from runs import Run, difference, tensor_difference, without_bf16
from to_torch import to_torch

HALF = 50
# Rule, PyTorch's options, ours as `name:key=value`. Each is written out on both sides.
CASES = [
    ("SGD", dict(lr=0.1), "sgd:lr=0.1"),
    ("SGD", dict(lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.01, maximize=True),
     "sgd:lr=0.1:momentum=0.9:dampening=0.3:weight_decay=0.01:maximize=true"),
    ("SGD", dict(lr=0.1, momentum=0.9, nesterov=True), "sgd:lr=0.1:momentum=0.9:nesterov=true"),
    ("Adam", dict(lr=0.01), "adam:lr=0.01"),
    ("Adam", dict(lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1, amsgrad=True, maximize=True),
     "adam:lr=0.01:beta1=0.8:beta2=0.95:eps=1e-6:weight_decay=0.1:amsgrad=max_raw:maximize=true"),
    ("AdamW", dict(lr=0.01), "adamw:lr=0.01"),
    ("AdamW", dict(lr=0.01, betas=(0.8, 0.95), weight_decay=0.1, amsgrad=True),
     "adamw:lr=0.01:beta1=0.8:beta2=0.95:weight_decay=0.1:amsgrad=max_raw"),
    ("Adagrad", dict(lr=0.1), "adagrad:lr=0.1"),
    ("Adagrad", dict(lr=0.1, lr_decay=0.01, weight_decay=0.1, initial_accumulator_value=0.5, eps=1e-6),
     "adagrad:lr=0.1:lr_decay=0.01:weight_decay=0.1:initial_accumulator_value=0.5:eps=1e-6"),
    ("Adadelta", dict(lr=1.0), "adadelta:lr=1"),
    ("Adadelta", dict(lr=0.5, rho=0.8, eps=1e-4, weight_decay=0.1),
     "adadelta:lr=0.5:rho=0.8:eps=1e-4:weight_decay=0.1"),
    ("RMSprop", dict(lr=0.01), "rmsprop:lr=0.01"),
    ("RMSprop", dict(lr=0.01, momentum=0.9), "rmsprop:lr=0.01:momentum=0.9"),
    ("RMSprop", dict(lr=0.01, alpha=0.9, eps=1e-3, momentum=0.5, centered=True, weight_decay=0.1),
     "rmsprop:lr=0.01:alpha=0.9:eps=1e-3:momentum=0.5:centered=true:weight_decay=0.1"),
    ("Rprop", dict(lr=0.01), "rprop:lr=0.01"),
    ("Rprop", dict(lr=0.01, etas=(0.4, 1.3), step_sizes=(1e-4, 0.5), maximize=True),
     "rprop:lr=0.01:etaminus=0.4:etaplus=1.3:step_size_min=1e-4:step_size_max=0.5:maximize=true"),
    ("ASGD", dict(lr=0.1), "asgd:lr=0.1"),
    ("ASGD", dict(lr=0.1, lambd=0.05, alpha=0.6, t0=20, weight_decay=0.1),
     "asgd:lr=0.1:lambd=0.05:alpha=0.6:t0=20:weight_decay=0.1"),
    ("Adamax", dict(lr=0.01), "adamax:lr=0.01"),
    ("Adamax", dict(lr=0.01, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1),
     "adamax:lr=0.01:beta1=0.8:beta2=0.95:eps=1e-3:weight_decay=0.1"),
    ("NAdam", dict(lr=0.01), "nadam:lr=0.01"),
    ("NAdam", dict(lr=0.01, momentum_decay=0.02, weight_decay=0.1, decoupled_weight_decay=True),
     "nadam:lr=0.01:momentum_decay=0.02:weight_decay=0.1:decoupled_weight_decay=true"),
    ("RAdam", dict(lr=0.01), "radam:lr=0.01"),
    ("RAdam", dict(lr=0.01, betas=(0.8, 0.9), weight_decay=0.1, decoupled_weight_decay=True),
     "radam:lr=0.01:beta1=0.8:beta2=0.9:weight_decay=0.1:decoupled_weight_decay=true"),
    ("Adafactor", dict(lr=0.1), "adafactor:lr=0.1:eps1={eps}"),
    ("Adafactor", dict(lr=0.1, beta2_decay=-0.5, eps=(1e-4, 0.01), d=1.5, weight_decay=0.1),
     "adafactor:lr=0.1:beta2_decay=-0.5:eps1=1e-4:eps2=0.01:d=1.5:weight_decay=0.1"),
    ("Muon", dict(lr=0.01), "muon:lr=0.01"),
    ("Muon", dict(lr=0.01, momentum=0.9, nesterov=False, weight_decay=0.01, ns_steps=3,
                  ns_coefficients=(3.0, -3.2, 1.2), adjust_lr_fn="match_rms_adamw"),
     "muon:lr=0.01:momentum=0.9:nesterov=false:weight_decay=0.01:ns_steps=3:ns_a=3:ns_b=-3.2:ns_c=1.2"
     ":adjust_lr_fn=match_rms_adamw"),
]
EPS = {"f64": 2.0**-52, "f32": 2.0**-23, "gpu": 2.0**-23}
# README.md says why. The last is of PyTorch's Muon as it is.
BOUNDS = {"f64": 1e-12, "f32": 2 * HALF * EPS["f32"], "gpu": 2 * HALF * EPS["gpu"], "bf16": HALF * 0.01 * 2**-8}


def proofs(folder):
    """Prints a line for each, and returns whether all are within their bounds."""
    print(f"{'rule':10} {'on':4} {'→ here':>8} {'→ there':>8} {'bound':>8} {'cold':>8}        options")
    are_right = [proof(folder, case, on, BOUNDS["bf16"]) for on in ("f64", "f32") for case in CASES
                 if case[0] == "Muon"]
    with_bf16 = muon._zeropower_via_newtonschulz
    without_bf16()
    are_right += [proof(folder, case, on, BOUNDS[on]) for on in ("f64", "f32", "gpu") for case in CASES]
    muon._zeropower_via_newtonschulz = with_bf16
    return all(are_right)


def proof(folder, case, on, bound):
    name, options, rule = case
    run = Run(folder, name, options, rule.format(eps=EPS[on]), on, 2 * HALF)
    counts = name in ("SGD", "Muon")

    def steps(count):
        return count if counts else None

    made = run.make()
    start = run.save(made, "start", steps(0))
    run.there(*made, 0, HALF)
    half = run.save(made, "half", steps(HALF))
    run.there(*made, HALF, 2 * HALF)
    expected = run.save(made, "expected", steps(2 * HALF))

    run.here(half, run.file("to_here"), HALF, 2 * HALF)
    to_here = difference(run.file("to_here"), expected, half)

    run.here(start, run.file("half_here"), 0, HALF)
    model, optimizer = made = run.make(seed=2)
    to_torch(run.file("half_here"), model.named_parameters(), optimizer)
    run.there(*made, HALF, 2 * HALF)
    to_there = difference(run.save(made, "to_there", steps(2 * HALF)), expected, half)

    is_right = to_here <= bound and to_there <= bound
    # The weights alone have to give something else, where there is state.
    cold = cold_start(run, half, expected, steps(0)) if bound == BOUNDS["f64"] and optimizer.state else None
    is_right &= cold is None or cold > 1000 * bound
    texts = ", ".join(f"{key}={value}" for key, value in options.items() if key != "lr")
    cold = "–" if cold is None else f"{cold:.1e}"
    print(f"{name:10} {on:4} {to_here:8.1e} {to_there:8.1e} {bound:8.1e} {cold:>8} {'ok' if is_right else 'WRONG':6} "
          f"{texts}", flush=True)
    return is_right


def cold_start(run, half, expected, steps):
    """How far the parameters come from `expected` if they alone are taken from the file `half`."""
    model, optimizer = run.make()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(read(half).tensors[f"model.{name}"])
    run.here(run.save((model, optimizer), "cold", steps), run.file("from_cold"), HALF, 2 * HALF)
    return tensor_difference(read(run.file("from_cold")), read(expected), read(half), "model.")
