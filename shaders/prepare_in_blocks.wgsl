// Lets the rule fill its matrices, with state in blocks. This is step_in_blocks.wgsl without the
// parameters.

@group(0) @binding(0) var<uniform> hyper: Hyper;
@group(0) @binding(1) var<uniform> now: Step;

fn prepared(place: Place) -> State {
    if place.count == 0u {
        return State();
    }
    let p = load_param(place);
    let found = scaled(load_grad(place), place);
    let g = limited(found, is_finite(found));
    var state = load_state(place);
    prepare_at(p, g, &state, load_tensor(place));
    return state;
}

fn store_existing(place: Place, state: State) {
    if place.count > 0u {
        store_state(place, state);
    }
}

@compute @workgroup_size(64)
fn prepare_matrices(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let a = locate(workgroup, grid, 4u * lane);
    if a.count == 0u {
        return;
    }
    let b = locate(workgroup, grid, 4u * lane + 1u);
    let c = locate(workgroup, grid, 4u * lane + 2u);
    let d = locate(workgroup, grid, 4u * lane + 3u);
    let state_a = prepared(a);
    let state_b = prepared(b);
    let state_c = prepared(c);
    let state_d = prepared(d);
    store_block(a, state_a, state_b, state_c, state_d);
    store_existing(a, state_a);
    store_existing(b, state_b);
    store_existing(c, state_c);
    store_existing(d, state_d);
}
