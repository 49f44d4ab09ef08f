// The entry point of an update whose state is stored in blocks: step.wgsl with a block of 16 elements to
// a thread. So no thread waits for another. Parameters are stored before the block is encoded, so that
// compilers need fewer registers for it.

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
    let block = load_block(place);
    let a = load_quad(place);
    let b = load_quad(locate(workgroup, grid, 4u * lane + 1u));
    let c = load_quad(locate(workgroup, grid, 4u * lane + 2u));
    let d = load_quad(locate(workgroup, grid, 4u * lane + 3u));
    let next_a = updated_in_block(a, state_of(a.place, block, 0u));
    store_updated(a, next_a);
    let next_b = updated_in_block(b, state_of(b.place, block, 1u));
    store_updated(b, next_b);
    let next_c = updated_in_block(c, state_of(c.place, block, 2u));
    store_updated(c, next_c);
    let next_d = updated_in_block(d, state_of(d.place, block, 3u));
    store_updated(d, next_d);
    store_block(place, next_a.state, next_b.state, next_c.state, next_d.state);
}
