// The factor for each tensor's gradient, stored once for each of its units of elements. It is
// stored as its root, which is a normal number even where the factor itself would be too small for
// one. There is one workgroup per tensor.

@group(0) @binding(2) var<storage, read> stats: Stats;
@group(0) @binding(6) var<storage, read> runs: array<Run>;
@group(0) @binding(7) var<storage, read_write> root_factors: array<f32>;

@compute @workgroup_size(256)
fn clip_tensors(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = workgroup.y * grid.x + workgroup.x;
    if index >= arrayLength(&runs) {
        return;
    }
    let run = runs[index];
    let norm = sqrt(run.squares) * (guard.per_batch / stats.loss_scale);
    let clipped = clip(norm, run.exponent);
    let root = sqrt(clipped.factor) * sqrt(clipped.unit);
    for (var i = lane; i < run.units; i += 256u) {
        root_factors[run.first_unit + i] = root;
    }
}
