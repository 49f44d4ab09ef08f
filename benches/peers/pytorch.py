"""A step of the CPU twin in f32 against PyTorch's on the CPU, with as many threads: in turns, so that
a busy machine is busy for both.

    python3 benches/peers/pytorch.py [--threads N] [--turns N] [--rules adam,adamw]
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

try:
    import torch
except ImportError:
    sys.exit("This compares with PyTorch, which python3 cannot import: pip install torch")

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]

# How many tensors, and the elements of each.
SHAPES = [(1, 2**24), (1000, 16384), (5000, 64)]

# Steps of a sample, as a number of elements: as in examples/bench/twin.rs.
ELEMENTS_PER_SAMPLE = 2**22

# Samples of a turn, of which the median counts.
ROUNDS = 7

# Rules that PyTorch has a fused CPU step for, with defaults like ours.
RULES = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "adagrad": torch.optim.Adagrad,
}


def main():
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    os.environ["RAYON_NUM_THREADS"] = str(arguments.threads)
    program = build()
    print(f"torch {torch.__version__} ({torch.backends.cpu.get_cpu_capability()}), "
          f"{arguments.threads} threads, milliseconds of a step and by how much ours is "
          "faster: medians (quartiles)")
    print(f"{'tensors':>16}  {'rule':<8} {'ours, ms':>24} {'fused':>8} {'times ours':>24} {'foreach':>8} {'times ours':>24}")
    for shape in SHAPES:
        for rule in arguments.rules:
            compare(program, rule, shape, arguments.turns)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--turns", type=int, default=5, help="of all three")
    parser.add_argument("--rules", type=lambda text: text.split(","), default=list(RULES))
    arguments = parser.parse_args()
    if unknown := set(arguments.rules) - set(RULES):
        parser.error(f"no {', '.join(unknown)}; there are {', '.join(RULES)}")
    return arguments


def build():
    """Our side's program."""
    command = ["cargo", "build", "--release", "--example", "bench", "--message-format", "json"]
    built = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE)
    messages = map(json.loads, built.stdout.splitlines())
    return next(m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == "bench")


def compare(program, rule, shape, turns):
    kinds = {"fused": {"fused": True}, "foreach": {"foreach": True}}
    times = {"ours": [], **{kind: [] for kind in kinds}}
    for _ in range(turns):
        times["ours"].append(ours(program, rule, shape))
        for kind, options in kinds.items():
            times[kind].append(theirs(rule, shape, **options))
    columns = [f"{shape[0]:>5} × {shape[1]:<8}  {rule:<8}", quartiles(times["ours"], 3)]
    for kind in kinds:
        ratios = [theirs / ours for theirs, ours in zip(times[kind], times["ours"])]
        columns += [f"{statistics.median(times[kind]):8.3f}", quartiles(ratios, 2)]
    print(" ".join(columns), flush=True)


def quartiles(samples, digits):
    low, median, high = (f"{x:.{digits}f}" for x in statistics.quantiles(samples, n=4, method="inclusive"))
    return f"{median} ({low} … {high})".rjust(24)


def ours(program, rule, shape):
    options = ["--device", "cpu", "--json", "--rules", rule, "--sizes", "x".join(map(str, shape))]
    output = subprocess.run([program, *options, "--rounds", str(ROUNDS)], check=True, stdout=subprocess.PIPE).stdout
    return json.loads(output)["ms"]


def theirs(rule, shape, **kind):
    count, elements = shape
    params = [torch.ones(elements) for _ in range(count)]
    for param in params:
        param.grad = torch.arange(elements) % 1000 * 1e-3
    optimizer = RULES[rule](params, **kind)
    # The first step also touches its memory for the first time.
    optimizer.step()
    repeats = -(-ELEMENTS_PER_SAMPLE // (count * elements))
    return statistics.median(milliseconds(optimizer, repeats) for _ in range(ROUNDS))


def milliseconds(optimizer, repeats):
    start = time.perf_counter()
    for _ in range(repeats):
        optimizer.step()
    return 1e3 * (time.perf_counter() - start) / repeats


if __name__ == "__main__":
    main()
