// The entry point of a step that is one workgroup: the work of begin_step.wgsl by its first thread, and then
// that of step.wgsl. A dispatch of its own would cost more than the first. The workgroup has as many
// threads as begin_step.wgsl's and four quads for each of them, since on lavapipe the others wait in vain
// through all that the first does.

@group(0) @binding(0) var<uniform> hyper: Hyper;

var<workgroup> now: Step;

fn update_quad(place: Place) {
    if place.count == 0u {
        return;
    }
    let p = load_param(place);
    let found = scaled(load_grad(place), place);
    let finite = is_finite(found);
    let g = limited(found, finite);
    var state = load_state(place);
    let average = load_average(place);
    let updated = outcome(update_at(p, g, &state, load_tensor(place)), finite);
    store_state(place, state);
    store_param(place, updated);
    store_copy(place, updated);
    store_average(place, p, updated, average);
    if ZERO_GRAD {
        zero_grad(place);
    }
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    if lane == 0u {
        let what = verdict(lane);
        begin(0u, what);
        carry_out(!what.is_skipped, lane);
        if recorded[0].own.n > 0u {
            now = steps[0].step;
        }
    }
    workgroupBarrier();
    // A group that rests has no numbers.
    if now.t == 0u {
        return;
    }
    for (var quad = lane; quad < 256u; quad += 64u) {
        update_quad(locate(workgroup, grid, quad));
    }
}
