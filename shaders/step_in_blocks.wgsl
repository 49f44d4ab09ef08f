// The entry point of an update whose state is stored in blocks: step.wgsl with a block of 16 elements to
// a thread. So no thread waits for another.

@group(0) @binding(0) var<uniform> hyper: Hyper;
@group(0) @binding(1) var<uniform> now: Step;

// Four of the elements.
struct Quad {
    place: Place,
    p: vec4<f32>,
    found: vec4<f32>,
    average: vec4<f32>,
}

struct Updated {
    p: vec4<f32>,
    state: State,
}

fn load_quad(place: Place) -> Quad {
    return Quad(place, load_param(place), scaled(load_grad(place), place), load_average(place));
}

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

fn store_quad(quad: Quad, updated: Updated) {
    if quad.place.count == 0u {
        return;
    }
    store_param(quad.place, updated.p);
    store_copy(quad.place, updated.p);
    store_state(quad.place, updated.state);
    store_average(quad.place, quad.p, updated.p, quad.average);
    if ZERO_GRAD {
        zero_grad(quad.place);
    }
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
