// The entry point of every update: load four elements of everything, update them, store them. All
// loads come before the first store, so that they are in flight together.

@group(0) @binding(0) var<uniform> hyper: Hyper;
@group(0) @binding(1) var<uniform> now: Step;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = locate(workgroup, grid, lane);
    if place.count == 0u {
        return;
    }
    let quad = load_quad(place);
    let finite = is_finite(quad.found);
    let g = limited(quad.found, finite);
    var state = load_state(place);
    let tensor = load_tensor(place);
    // The update is called twice, and compilers merge the two calls. So the state is stored while
    // the parameter's root and division are still under way. See benches/README.md for what that
    // gains.
    var next = state;
    update_at(quad.p, g, &next, tensor);
    store_state(place, next);
    let updated = outcome(update_at(quad.p, g, &state, tensor), finite);
    store_quad(quad, updated);
}
