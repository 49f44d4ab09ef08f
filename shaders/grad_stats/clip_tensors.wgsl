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
