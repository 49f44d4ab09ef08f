// The entry point of an update whose state is stored in blocks: step.wgsl with a block of 16 elements to
// a thread. So no thread waits for another.

@group(0) @binding(0) var<uniform> hyper: Hyper;
@group(0) @binding(1) var<uniform> now: Step;

fn updated(quad: Quad, before: State) -> Updated {
    // What does not exist adds nothing to its block.
    if quad.place.count == 0u {
        return Updated();
    }
    let finite = is_finite(quad.found);
    let g = limited(quad.found, finite);
    var state = before;
    let p = update_at(quad.p, g, &state, load_tensor(quad.place));
    return Updated(outcome(p, finite), state);
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
    let next_a = updated(a, state_a);
    let next_b = updated(b, state_b);
    let next_c = updated(c, state_c);
    let next_d = updated(d, state_d);
    store_block(place, next_a.state, next_b.state, next_c.state, next_d.state);
    store_quad(a, next_a);
    store_quad(b, next_b);
    store_quad(c, next_c);
    store_quad(d, next_d);
}
