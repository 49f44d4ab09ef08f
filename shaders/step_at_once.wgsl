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
    let quad = load_quad(place);
    store_updated(quad, updated(quad, load_state(place), load_tensor(place)));
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
