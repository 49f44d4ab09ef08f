// The factor for each tensor's gradient, stored once for each of its units of elements. It is
// stored as its root, which is a normal number even where the factor itself would be too small for
// one. A small tensor takes one thread, a large one a workgroup.

@group(0) @binding(2) var<storage, read> stats: Stats;
@group(0) @binding(6) var<storage, read> runs: array<Run>;
@group(0) @binding(7) var<storage, read_write> root_factors: array<f32>;
// The runs of this dispatch.
@group(0) @binding(9) var<storage, read> indices: array<u32>;

// Stores the factor for every `stride`th unit from `first` on.
fn clip_units(run: Run, first: u32, stride: u32) {
    let norm = sqrt(run.squares) * (guard.per_batch / stats.loss_scale);
    let clipped = clip(norm, run.exponent);
    let root = sqrt(clipped.factor) * sqrt(clipped.unit);
    for (var i = first; i < run.units; i += stride) {
        root_factors[run.first_unit + i] = root;
    }
}

@compute @workgroup_size(64)
fn clip_small(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = 64u * (workgroup.y * grid.x + workgroup.x) + lane;
    if at < arrayLength(&indices) {
        clip_units(runs[indices[at]], 0u, 1u);
    }
}

@compute @workgroup_size(256)
fn clip_large(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = workgroup.y * grid.x + workgroup.x;
    if at < arrayLength(&indices) {
        clip_units(runs[indices[at]], lane, 256u);
    }
}

// The guard of a step, from the options. Host side: src/gpu/records.rs.
struct Guard {
    clip_norm: f32,         // the largest norm, of all gradients or of a tensor's
    clips: u32,             // whether there is one, for all gradients together
    per_batch: f32,         // 1 / micro-batches
    scales: u32,            // whether there is a loss scale
    growth_factor: f32,
    backoff_factor: f32,
    growth_interval: u32,
    init_scale: f32,
}

@group(0) @binding(8) var<uniform> guard: Guard;

struct Clipped {
    factor: f32,
    unit: f32,              // a power of two; the gradient is multiplied by both
}

// The factor for a norm of `norm` times 2^exponent.
fn clip(norm: f32, exponent: i32) -> Clipped {
    // In units of 2^exponent, nothing that matters overflows.
    let unit = power_of_two(-exponent);
    let padded = norm + 1e-6 * unit;
    if guard.clip_norm * unit < padded {
        return Clipped(guard.clip_norm / padded, unit);
    }
    return Clipped(1.0, 1.0);
}

// Gradients that have one norm: those of a parameter group, or of a tensor. Host side:
// src/gpu/records.rs.
struct Run {
    first: u32,         // its partial sums
    count: u32,
    group: u32,
    first_unit: u32,    // its units of elements in the group, if it is a tensor
    units: u32,
    largest: u32,       // bits of the largest magnitude
    squares: f32,       // sum of squares, each divided by 2^exponent before
    exponent: i32,      // 0 unless squares would overflow or vanish
}

// 2^exponent for -126 … 127, exactly.
fn power_of_two(exponent: i32) -> f32 {
    return bitcast<f32>(u32(exponent + 127) << 23u);
}

// The training statistics, kept on the device. Host side: src/gpu/records.rs.
struct Stats {
    loss_scale: f32,        // first, so that callers can bind it
    good_steps: u32,        // since the loss scale changed
    norm: f32,              // of the last performed step's gradients, in units of 2^exponent
    exponent: i32,
    clip_factor: f32,
    performed: u32,
    skipped: u32,
    is_there: u32,          // never 0, unlike what was never copied
    groups: array<GroupStats>,
}

struct GroupStats {
    lr: f32,
    step_count: u32,        // steps performed
    skipped: u32,
    epoch: u32,             // of the step count
    damping: f32,           // the largest of the last step's systems of equations
    failures: u32,          // of factorisations, so far
    unsolved: u32,          // systems with NaN or infinity, so far
}
