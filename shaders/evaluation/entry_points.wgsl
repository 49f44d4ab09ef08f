// The entry points that switch between the parameters to train with and those to evaluate with.

@compute @workgroup_size(256)
fn evaluate(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = locate(workgroup, grid, lane);
    // Before its first step, a group has no other parameters.
    if place.count > 0u && now.t > 0u {
        to_evaluate(place);
    }
}

@compute @workgroup_size(256)
fn train(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = locate(workgroup, grid, lane);
    if place.count > 0u && now.t > 0u {
        to_train(place);
    }
}
