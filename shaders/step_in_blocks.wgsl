// The entry point of an update whose state is stored in blocks: step.wgsl with a block of 16 elements to
// a thread. So no thread waits for another.

@group(0) @binding(0) var<uniform> hyper: Hyper;
@group(0) @binding(1) var<uniform> now: Step;

fn updated_in_block(quad: Quad, before: State) -> Updated {
    // What does not exist adds nothing to its block.
    if quad.place.count == 0u {
        return Updated();
    }
    return updated(quad, before, load_tensor(quad.place));
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = locate(workgroup, grid, 4u * lane);
    if place.count == 0u {
        return;
    }
    let a = load_quad(place);
    let b = load_quad(locate(workgroup, grid, 4u * lane + 1u));
    let c = load_quad(locate(workgroup, grid, 4u * lane + 2u));
    let d = load_quad(locate(workgroup, grid, 4u * lane + 3u));
    let state_a = load_state(a.place);
    let state_b = load_state(b.place);
    let state_c = load_state(c.place);
    let state_d = load_state(d.place);
    let next_a = updated_in_block(a, state_a);
    let next_b = updated_in_block(b, state_b);
    let next_c = updated_in_block(c, state_c);
    let next_d = updated_in_block(d, state_d);
    store_block(place, next_a.state, next_b.state, next_c.state, next_d.state);
    store_updated(a, next_a);
    store_updated(b, next_b);
    store_updated(c, next_c);
    store_updated(d, next_d);
}
