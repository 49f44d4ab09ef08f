// Lets the rule fill its matrices, with state in blocks. This is step_in_blocks.wgsl without the
// parameters.

@group(0) @binding(0) var<uniform> hyper: Hyper;
@group(0) @binding(1) var<uniform> now: Step;

fn prepared(place: Place, block: Block, quad: u32) -> State {
    if place.count == 0u {
        return State();
    }
    let p = load_param(place);
    let found = scaled(load_grad(place), place);
    let g = limited(found, is_finite(found));
    var state = state_of(place, block, quad);
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
    let block = load_block(a);
    let state_a = prepared(a, block, 0u);
    let state_b = prepared(b, block, 1u);
    let state_c = prepared(c, block, 2u);
    let state_d = prepared(d, block, 3u);
    store_block(a, state_a, state_b, state_c, state_d);
    store_existing(a, state_a);
    store_existing(b, state_b);
    store_existing(c, state_c);
    store_existing(d, state_d);
}
