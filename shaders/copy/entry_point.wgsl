// Copies parameters that did not come from a step.
@compute @workgroup_size(256)
fn copy_params(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = locate(workgroup, grid, lane);
    if place.count > 0u {
        store_copy(place, load_param(place));
    }
}
