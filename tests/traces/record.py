"""Records the golden traces beside this file.

    pip install -r tests/traces/requirements.txt
    python tests/traces/record.py [NAME...]

Each case of cases.py is run by its framework in f64 and in f32, and in f64 by formulas.py, which
has to agree. The inputs depend on the case's name alone, so that a recording can be repeated.
"""

import json
import struct
import sys
import zlib
from pathlib import Path

import numpy as np

import formulas
from cases import CASES

STEPS = 100
EXPECTED = [1, 2, 3, 10, 30, 100]
EXPECTED_F32 = [1, 10, 100]
SHAPES = {"w": (5, 3), "b": (17,), "k": (2, 3, 2)}
# Steps at which the caller of a second-order rule has a new curvature, and what it is called.
REFRESHED = {"sophia": ("hessian_estimate", range(1, STEPS + 1, 10)),
             "newton": ("hessian", range(1, STEPS + 1, 7))}
# A seed other than 0 where f32 would take another sign than f64 does.
SEEDS = {}
# Rules that move by the sign of what they computed. (Rprop's signs are those of its inputs.)
TAKES_SIGNS = ["lion", "signsgd"]
LARGEST_DISAGREEMENT = 1e-12


class Trace:
    """The inputs of a case: f32 numbers, converted exactly for a run in f64."""

    steps = STEPS

    def __init__(self, case):
        seed = [zlib.crc32(case.name.encode()), SEEDS.get(case.name, 0)]
        self.random = np.random.default_rng(seed)
        # Each element has a size of its own and mostly keeps one sign or the other.
        self.scales = {n: 10 ** self.random.uniform(-4, 2, s) for n, s in SHAPES.items()}
        self.bias = {n: self.random.uniform(0.05, 0.95, s) for n, s in SHAPES.items()}
        self.params = {n: self.random.normal(size=s).astype("f4") for n, s in SHAPES.items()}
        self.params["w"][1, 2] = 0
        self.grads = [self.numbers(-1, 0.5, zeros=1 / 16) for _ in range(STEPS)]
        for gradient in self.grads[:20]:
            gradient["b"][3] = 0
        self.second_order, refreshed = REFRESHED.get(case.rule, (None, []))
        self.curvatures = {t: self.make_curvature(case, t) for t in refreshed}

    def numbers(self, low, high, zeros, bias=None):
        """Each element's scale times 10^(low…high), of either sign."""
        result = {}
        for n, shape in SHAPES.items():
            size = self.scales[n] * 10 ** self.random.uniform(low, high, shape)
            positive = self.random.random(shape) < (self.bias[n] if bias is None else bias)
            zero = self.random.random(shape) < zeros
            result[n] = np.where(zero, 0, np.where(positive, size, -size)).astype("f4")
        return result

    def make_curvature(self, case, t):
        h = formulas.hyperparameters(case.rule, case.hyper)
        if case.rule == "newton":
            # A zero needs a damping that counts, else the step leaves the range of the test.
            return self.numbers(-1, 1, zeros=1 / 16 if h.damping > 1e-3 else 0, bias=0.5)
        # Such that some steps are clipped and some not.
        first_weight = (1 - h.beta2) * h.rho
        middle = -np.log10(30 * first_weight)
        return self.numbers(middle - 1.5, middle + 1.5, zeros=1 / 16, bias=0.95)

    def start(self, dtype):
        return {n: p.astype(dtype) for n, p in self.params.items()}

    def gradient(self, t, dtype):
        return {n: g.astype(dtype) for n, g in self.grads[t - 1].items()}

    def curvature(self, t, dtype):
        """None where it stays what it was."""
        if t in self.curvatures:
            return {n: h.astype(dtype) for n, h in self.curvatures[t].items()}


def record(case):
    trace = Trace(case)
    exact, extras = case.run(trace, "float64")
    single, _ = case.run(trace, "float32")
    check_types(exact, "float64")
    check_types(single, "float32")

    formula, formula_extras = formulas.run(case, trace, "float64")
    movement = largest(exact[t - 1][n] - trace.params[n] for t in EXPECTED for n in SHAPES)
    disagreement = difference(exact, formula, range(1, STEPS + 1)) / movement
    for name, value in extras.items():
        disagreement = max(disagreement, largest([value - formula_extras[name]]) / movement)
    if not disagreement <= LARGEST_DISAGREEMENT:
        raise SystemExit(f"{case.name} is {disagreement:.1e} away from the rule it is called")
    if case.rule in TAKES_SIGNS:
        lr = min(formulas.rates(case.rule, case.hyper, STEPS))
        if difference(exact, single, range(1, STEPS + 1)) > lr / 2:
            raise SystemExit(f"{case.name}: f32 takes another sign than f64; give it another seed")

    tensors = {f"param.{n}": p for n, p in trace.params.items()}
    for t in range(1, STEPS + 1):
        tensors |= {f"grad.{t}.{n}": g for n, g in trace.grads[t - 1].items()}
    for t, curvature in trace.curvatures.items():
        tensors |= {f"{trace.second_order}.{t}.{n}": h for n, h in curvature.items()}
    for t in EXPECTED:
        tensors |= {f"expected.{t}.{n}": p for n, p in exact[t - 1].items()}
    for t in EXPECTED_F32:
        tensors |= {f"expected_f32.{t}.{n}": p for n, p in single[t - 1].items()}
    tensors |= extras
    metadata = {"rule": case.rule, "hyper": compact_json(case.hyper), "source": case.source}
    contents = safetensors(tensors, metadata)
    Path(__file__).with_name(f"{case.name}.safetensors").write_bytes(contents)

    error = difference(exact, single, EXPECTED) / movement
    print(f"{case.name:34} {STEPS:4} {error:13.1e} {disagreement:13.1e} {len(contents):7}",
          flush=True)
    return len(contents)


def check_types(steps, dtype):
    # A framework that falls back to f32 without a word would make a poor reference.
    assert all(p.dtype == dtype and np.isfinite(p).all() for step in steps for p in step.values())


def difference(one, other, steps):
    return largest(one[t - 1][n] - other[t - 1][n].astype("f8") for t in steps for n in SHAPES)


def largest(arrays):
    return max(np.abs(array).max() for array in arrays)


def compact_json(value):
    return json.dumps(value, separators=(",", ":"))


def safetensors(tensors, metadata):
    """The bytes of a file. The package's own writer orders the metadata by chance."""
    header, data = {"__metadata__": metadata}, b""
    # Wider types first, so that all are aligned.
    for name, array in sorted(tensors.items(), key=lambda item: -item[1].itemsize):
        end = len(data) + array.nbytes
        dtype = {"float64": "F64", "float32": "F32"}[str(array.dtype)]
        header[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": [len(data), end]}
        data += array.tobytes()
    header = compact_json(header).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data


if __name__ == "__main__":
    wanted = sys.argv[1:] or [case.name for case in CASES]
    unknown = set(wanted) - {case.name for case in CASES}
    if unknown:
        raise SystemExit(f"no case is called {', '.join(sorted(unknown))}")
    print(f"{'name':34} {'T':>4} {'framework f32':>13} {'formula f64':>13} {'bytes':>7}")
    sizes = [record(case) for case in CASES if case.name in wanted]
    print(f"{len(sizes)} traces, {sum(sizes)} bytes")
