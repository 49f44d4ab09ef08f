// A caller's ranges. A table says where the up to 1024 elements of each workgroup lie.

// First element in params, in grads and in the state; number of elements (0 only fills the grid).
@group(0) @binding(4) var<storage, read> spans: array<vec4<u32>>;

fn locate(workgroup: vec3<u32>, grid: vec3<u32>, lane: u32) -> Place {
    let span = spans[workgroup.y * grid.x + workgroup.x];
    let first = lane * 4u;
    if first >= span.w {
        return Place(0u, 0u, 0u, 0u);
    }
    return Place(span.x + first, span.y + first, span.z + first, min(span.w - first, 4u));
}
