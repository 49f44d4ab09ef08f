// Lets the rule fill its matrices. This is step.wgsl without the parameters.

@group(0) @binding(0) var<uniform> hyper: Hyper;
@group(0) @binding(1) var<uniform> now: Step;

@compute @workgroup_size(256)
fn prepare_matrices(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = locate(workgroup, grid, lane);
    if place.count == 0u {
        return;
    }
    let p = load_param(place);
    let found = scaled(load_grad(place), place);
    let g = limited(found, is_finite(found));
    var state = load_state(place);
    prepare_at(p, g, &state, load_tensor(place));
    store_state(place, state);
}
