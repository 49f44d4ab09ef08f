"""Prints the tables of tests/schedules.rs and tests/plateaus.rs: what torch.optim.lr_scheduler makes of a base rate of 0.3.

    pip install torch==2.15.0
    python tests/traces/record_schedules.py
"""

import warnings

import torch

warnings.filterwarnings("ignore")
torch.set_default_dtype(torch.float64)
S = torch.optim.lr_scheduler

LR = 0.3
LAST = 3000
# Every step at first, then a stride that meets no period of the schedules.
SHOWN = [k for k in range(LAST + 1) if k <= 12 or k % 89 == 0 or k % 1000 in (0, 1, 999)]


def rates(make, shown=SHOWN):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
    scheduler = make(optimizer)
    found = []
    for k in range(shown[-1] + 1):
        if k in shown:
            found.append((k, optimizer.param_groups[0]["lr"]))
        if k < shown[-1]:
            optimizer.step()
            scheduler.step()
    return found


# One-cycle ends with its steps, cosine before it would rise again.
UP_TO_1000 = [k for k in SHOWN if k < 1000]
CASES = [
    ("step", lambda o: S.StepLR(o, 30, 0.97), SHOWN),
    ("multi_step", lambda o: S.MultiStepLR(o, [3, 10, 500, 2000], 0.3), SHOWN),
    ("exponential", lambda o: S.ExponentialLR(o, 0.999), SHOWN),
    ("polynomial", lambda o: S.PolynomialLR(o, 2500, 1.7), SHOWN),
    ("linear", lambda o: S.LinearLR(o, 0.25, 0.75, 700), SHOWN),
    ("cosine", lambda o: S.CosineAnnealingLR(o, 1000, 0.01), UP_TO_1000),
    ("restarts", lambda o: S.CosineAnnealingWarmRestarts(o, 10, 2, 0.01), SHOWN),
    ("even_restarts", lambda o: S.CosineAnnealingWarmRestarts(o, 70, 1, 0.0), SHOWN),
    ("one_cycle", lambda o: S.OneCycleLR(o, LR, 1000, cycle_momentum=False), UP_TO_1000),
    ("one_cycle_linear",
     lambda o: S.OneCycleLR(o, LR, 1000, pct_start=0.2, anneal_strategy="linear", div_factor=10.0,
                            final_div_factor=100.0, cycle_momentum=False), UP_TO_1000),
    ("one_cycle_three",
     lambda o: S.OneCycleLR(o, LR, 1000, three_phase=True, cycle_momentum=False), UP_TO_1000),
    ("triangular", lambda o: S.CyclicLR(o, 0.01, LR, 20, 33, cycle_momentum=False), SHOWN),
    ("triangular2",
     lambda o: S.CyclicLR(o, 0.01, LR, 300, 300, mode="triangular2", cycle_momentum=False), SHOWN),
    ("exp_range",
     lambda o: S.CyclicLR(o, 0.01, LR, 20, 20, mode="exp_range", gamma=0.999,
                          cycle_momentum=False), SHOWN),
]

for name, make, shown in CASES:
    values = ", ".join(f"({k}, {lr!r})" for k, lr in rates(make, shown))
    print(f'    ("{name}", &[{values}]),')


def plateau(**options):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
    scheduler = S.ReduceLROnPlateau(optimizer, **options)
    found = []
    for k in range(200):
        metric = 1.0 / (1 + k % 50) + (k // 50) * 0.01 + 0.1 * ((k * 7) % 5)
        scheduler.step(metric)
        found.append((k, optimizer.param_groups[0]["lr"]))
    return [(k, lr) for k, lr in found if k % 9 == 0 or k < 5]


for name, options in [
    ("plateau", {}),
    ("plateau_cooldown", dict(factor=0.5, patience=2, cooldown=3, min_lr=0.01)),
    ("plateau_max_absolute", dict(mode="max", threshold_mode="abs", threshold=0.05, patience=4)),
    ("plateau_min_absolute", dict(threshold_mode="abs", threshold=0.3, patience=1, factor=0.9)),
    ("plateau_max_relative", dict(mode="max", threshold=0.1, patience=3, factor=0.7)),
]:
    values = ", ".join(f"({k}, {lr!r})" for k, lr in plateau(**options))
    print(f'    ("{name}", &[{values}]),')
