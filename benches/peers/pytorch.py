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

# How many square matrices, and their edge: as in benches/cpu.rs.
SHAPES = [(1, 4096), (1000, 128), (5000, 8)]

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
          f"{arguments.threads} threads, milliseconds of a step: median (quartiles)")
    print(f"{'tensors':>16}  {'rule':<8} {'ours':>24} {'fused':>24} {'ratio':>6} {'foreach':>24} {'ratio':>6}")
    for shape in SHAPES:
        for rule in arguments.rules:
            compare(program, rule, shape, arguments.turns)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--turns", type=int, default=3, help="each times every side seven times")
    parser.add_argument("--rules", type=lambda text: text.split(","), default=list(RULES))
    arguments = parser.parse_args()
    if unknown := set(arguments.rules) - set(RULES):
        parser.error(f"no {', '.join(unknown)}; there are {', '.join(RULES)}")
    return arguments


def build():
    """Our side's program."""
    command = ["cargo", "bench", "--bench", "cpu", "--no-run", "--message-format", "json"]
    built = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE)
    messages = map(json.loads, built.stdout.splitlines())
    return next(m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == "cpu")


def compare(program, rule, shape, turns):
    times = {"ours": [], "fused": [], "foreach": []}
    for _ in range(turns):
        times["ours"] += ours(program, rule, shape)
        times["fused"] += theirs(rule, shape, fused=True)
        times["foreach"] += theirs(rule, shape, foreach=True)
    count, edge = shape
    columns = [f"{count:>5} × {edge * edge:<8}  {rule:<8}"]
    for name, milliseconds in times.items():
        low, median, high = statistics.quantiles(milliseconds, n=4)
        columns.append(f"{median:8.3f} ({low:.3f} … {high:.3f})".rjust(24))
        if name != "ours":
            columns.append(f"{median / statistics.median(times['ours']):6.2f}")
    print(" ".join(columns), flush=True)


ROUNDS = 7


def ours(program, rule, shape):
    count, _ = shape
    options = ["--json", "--rules", rule, "--tensors", str(count), "--rounds", str(ROUNDS)]
    output = subprocess.run([program, *options], check=True, stdout=subprocess.PIPE).stdout
    return json.loads(output)["steps"]


def theirs(rule, shape, **kind):
    count, edge = shape
    params = [torch.ones(edge, edge) for _ in range(count)]
    for param in params:
        param.grad = torch.sin(0.1 * torch.arange(edge * edge, dtype=torch.float32)).reshape(edge, edge)
    optimizer = RULES[rule](params, **kind)
    # The first step also touches its memory for the first time.
    optimizer.step()
    return [milliseconds(optimizer) for _ in range(ROUNDS)]


def milliseconds(optimizer):
    start = time.perf_counter()
    optimizer.step()
    return 1e3 * (time.perf_counter() - start)


if __name__ == "__main__":
    main()
