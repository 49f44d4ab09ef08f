"""Records the golden traces beside this file.

    pip install -r tests/traces/requirements.txt   # for those of closed_forms.py numpy alone
    python tests/traces/record.py [NAME...]   # of a rule or of a case

Each case of cases.py is run by its framework in f64 and in f32, and in f64 by formulas.py, which
has to agree. Those of closed_forms.py are run by formulas.py in both. The inputs depend on the case's
name alone, so that a recording can be repeated.
"""

import json
import struct
import sys
import zlib
from pathlib import Path

import numpy as np

import formulas
from closed_forms import CLOSED_FORMS

# Besides the last.
EXPECTED = [1, 2, 3, 10, 30]
EXPECTED_F32 = [1, 10]
# Traces with a tensor that starts at zero, where there is no ratio of norms.
STARTS_AT_ZERO = {"lars-options": "b", "lamb-options": "b"}
# Prodigy's first steps are of d0 and it measures how far they went: little of that may be lost by
# rounding the parameters to f32.
START_SIZES = dict.fromkeys(
    ["prodigy", "prodigy-optax", "prodigy-safeguard_warmup_schedule"], 1e-4)
# The first seed that is tried, where it is not 0. prodigyopt's estimate is an f64 in f32 too, and with
# some inputs it is closer than an f32 would be.
SEEDS = {"radam-cautious": 1, "prodigy": 5, "prodigy-safeguard_warmup_schedule": 6}
MOST_SEEDS = 10
LARGEST_DISAGREEMENT = 1e-12
# What decides a sign has to be so far from zero, as a part of what is usual for it.
CLEAR_SIGN = 1e-5


class Refused(Exception):
    """Inputs that show too little, or by which f32 goes another way than f64."""


class Trace:
    """The inputs of a case: f32 numbers, converted exactly for a run in f64."""

    def __init__(self, case, seed):
        self.steps = case.steps
        self.random = np.random.default_rng([zlib.crc32(case.name.encode()), seed])
        rule = formulas.RULES[case.rule]
        self.shapes = shapes = rule.shapes_of.get(case.variant, rule.shapes)
        # Each element has a size of its own and mostly keeps one sign or the other.
        self.scales = {n: 10 ** self.random.uniform(*rule.sizes, s) for n, s in shapes.items()}
        self.bias = {n: self.random.uniform(0.05, 0.95, s) for n, s in shapes.items()}
        start_size = START_SIZES.get(case.name, 1)
        self.params = {n: np.asarray(start_size * self.random.normal(size=s), "f4")
                       for n, s in shapes.items()}
        first, second = list(shapes)[:2]
        self.params[first].flat[min(5, self.params[first].size - 1)] = 0
        if case.name in STARTS_AT_ZERO:
            self.params[STARTS_AT_ZERO[case.name]][:] = 0
        self.grads = [self.numbers(-1, 0.5, zeros=1 / 16) for _ in range(self.steps)]
        for gradient in self.grads[:20]:
            gradient[second].flat[3] = 0
        self.curvatures = {}
        if rule.curvature:
            h = formulas.hyperparameters(case.rule, case.hyper)
            refreshed = range(1, self.steps + 1, rule.curvature.every)
            self.curvatures = {t: rule.curvature.make(self, h, t) for t in refreshed}
        if rule.leads_to_a_target:
            self.lead_to_a_target(case)

    def numbers(self, low, high, zeros, bias=None):
        """Each element's scale times 10^(low…high), of either sign."""
        result = {}
        for n, shape in self.shapes.items():
            size = self.scales[n] * 10 ** self.random.uniform(low, high, shape)
            positive = self.random.random(shape) < (self.bias[n] if bias is None else bias)
            zero = self.random.random(shape) < zeros
            result[n] = np.where(zero, 0, np.where(positive, size, -size)).astype("f4")
        return result

    def lead_to_a_target(self, case):
        """Adds to the gradients those of a bowl at where the rule is. Prodigy estimates how far it
        has to go; where nothing ever draws it back, that grows without an end."""
        target = {n: self.random.normal(size=p.shape) for n, p in self.params.items()}
        sign = -1 if case.hyper.get("maximize") else 1
        place = self.start("float64")
        for t, gradient in enumerate(self.grads, start=1):
            for n, g in gradient.items():
                bowl = sign * self.scales[n] * (place[n] - target[n])
                gradient[n] = np.where(g == 0, 0, g + bowl).astype("f4")
            self.steps = t
            place = formulas.run(case, self, "float64")[0][-1]

    def start(self, dtype):
        return {n: p.astype(dtype) for n, p in self.params.items()}

    def gradient(self, t, dtype):
        return {n: g.astype(dtype) for n, g in self.grads[t - 1].items()}

    def curvature(self, t, dtype):
        """None where it stays what it was."""
        if t in self.curvatures:
            return {n: h.astype(dtype) for n, h in self.curvatures[t].items()}


def record(case):
    """With the first inputs that nothing speaks against."""
    first = SEEDS.get(case.name, 0)
    for seed in range(first, first + MOST_SEEDS):
        try:
            return record_with(case, Trace(case, seed))
        except Refused as refused:
            why = refused
    raise SystemExit(f"{case.name}: {why}, whatever the seed")


def record_with(case, trace):
    check_inputs(case, trace)
    exact, extras = case.run(trace, "float64")
    single, _ = case.run(trace, "float32")
    check_types(exact, "float64")
    check_types(single, "float32")

    formula, formula_extras = formulas.run(case, trace, "float64")
    steps, expected = range(1, trace.steps + 1), [*EXPECTED, trace.steps]
    movement = largest(exact[t - 1][n] - trace.params[n] for t in expected for n in trace.shapes)
    disagreement = difference(exact, formula, steps) / movement
    for name, value in extras.items():
        size = largest([value]) or 1.0
        disagreement = max(disagreement, largest([value - formula_extras[name]]) / size)
    if not disagreement <= LARGEST_DISAGREEMENT:
        raise SystemExit(f"{case.name} is {disagreement:.1e} away from the rule it is called")
    rule = formulas.RULES[case.rule]
    if rule.takes_signs:
        lr = min(formulas.rates(case.rule, case.hyper, trace.steps))
        if difference(exact, single, steps) > lr / 2:
            raise Refused("f32 takes another sign than f64")

    tensors = {f"param.{n}": p for n, p in trace.params.items()}
    for t in steps:
        tensors |= {f"grad.{t}.{n}": g for n, g in trace.grads[t - 1].items()}
    for t, curvature in trace.curvatures.items():
        tensors |= {f"{rule.curvature.name}.{t}.{n}": h for n, h in curvature.items()}
    for t in expected:
        tensors |= {f"expected.{t}.{n}": p for n, p in exact[t - 1].items()}
    for t in [*EXPECTED_F32, trace.steps]:
        tensors |= {f"expected_f32.{t}.{n}": p for n, p in single[t - 1].items()}
    # Some of the state is the formula's alone.
    tensors |= formula_extras | extras
    metadata = {"rule": case.rule, "hyper": compact_json(case.hyper), "source": case.source}
    contents = safetensors(tensors, metadata)
    Path(__file__).with_name(f"{case.name}.safetensors").write_bytes(contents)

    error = difference(exact, single, expected) / movement
    print(f"{case.name:34} {trace.steps:4} {error:13.1e} {disagreement:13.1e} {len(contents):7}",
          flush=True)
    return len(contents)


def check_inputs(case, trace):
    for n in trace.shapes:
        if len({g[n].flat[0] > 0 for g in trace.grads}) == 1:
            raise Refused(f"the sign of {n} never turns")
    if why := formulas.RULES[case.rule].refuses(trace):
        raise Refused(why)
    if not case.hyper.get("cautious"):
        return
    decisions = {n: ([], []) for n in trace.shapes}

    def watch(n, *decision):
        for of_all, of_one in zip(decisions[n], decision):
            of_all.append(np.abs(of_one))

    formulas.run(case, trace, "float64", watch)
    for change, g in decisions.values():
        # The sign of a gradient with weight decay may be as near.
        for found in (change, g):
            # What is exactly zero, as Adopt's first change, is so in f32 too.
            found = np.where(np.equal(g, 0) | np.equal(found, 0), np.nan, found)
            if np.nanmin(found / np.nanmedian(found, axis=0)) < CLEAR_SIGN:
                raise Refused("a sign that a mask hangs on is nearly none")


def check_types(steps, dtype):
    # A framework that falls back to f32 without a word would make a poor reference.
    assert all(p.dtype == dtype and np.isfinite(p).all() for step in steps for p in step.values())


def difference(one, other, steps):
    return largest(one[t - 1][n] - other[t - 1][n].astype("f8") for t in steps for n in one[0])


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
    wanted = sys.argv[1:]
    cases = CLOSED_FORMS
    # A rule's name stands for all its cases.
    of = lambda name: [case for case in cases if name in (case.name, case.rule)]
    if not wanted or set(wanted) - {case.name for case in cases}:
        # The frameworks, which closed forms do without.
        from cases import CASES
        cases = CASES + CLOSED_FORMS
    unknown = [name for name in wanted if not of(name)]
    if unknown:
        raise SystemExit(f"no case and no rule is called {', '.join(unknown)}")
    if wanted:
        cases = [case for case in cases if {case.name, case.rule} & set(wanted)]
    print(f"{'name':34} {'T':>4} {'framework f32':>13} {'formula f64':>13} {'bytes':>7}")
    sizes = [record(case) for case in cases]
    print(f"{len(sizes)} traces, {sum(sizes)} bytes")
