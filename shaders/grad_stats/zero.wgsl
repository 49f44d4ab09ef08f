// Zeroes spans of gradients after a skipped step. Otherwise the update zeroes them.

@group(0) @binding(4) var<storage, read> spans: array<vec4<u32>>;

@compute @workgroup_size(256)
fn zero(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let span = spans[workgroup.y * grid.x + workgroup.x];
    for (var i = lane * 4u; i < span.y; i += 1024u) {
        zero_grad(Place(0u, span.x + i, 0u, min(span.y - i, 4u)));
    }
}
