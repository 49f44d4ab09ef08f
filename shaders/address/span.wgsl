// Neighbouring elements of a caller's ranges, such as those of one tensor. A number from a uniform costs
// llvmpipe a load for all threads together, and a row of a table one for each.

// First element in params, in grads and in the state; number of elements.
@group(0) @binding(4) var<uniform> span: vec4<u32>;

fn locate(workgroup: vec3<u32>, grid: vec3<u32>, lane: u32) -> Place {
    let block = workgroup.y * grid.x + workgroup.x;
    let first = (block * 256u + lane) * 4u;
    if first >= span.w {
        return Place(0u, 0u, 0u, 0u);
    }
    return Place(span.x + first, span.y + first, span.z + first, min(span.w - first, 4u));
}
