// The running mean and the parameters change places: to evaluate, and back to train.

fn exchange(place: Place) {
    let p = load_param(place);
    store_param(place, load_average(place));
    slot_average[place.state / 4u] = encode_state(p);
}

@compute @workgroup_size(256)
fn evaluate(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = locate(workgroup, grid, lane);
    // Before its first step a group has no mean yet.
    if place.count > 0u && now.t > 0u {
        exchange(place);
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
        exchange(place);
    }
}
