// A caller's ranges, of copies of the parameters too. A table says where the up to 1024 elements of each
// workgroup lie.

// First element in params, in grads and in the state; number of elements (0 only fills the grid); first
// element in the copies.
struct Span {
    param: u32,
    grad: u32,
    state: u32,
    count: u32,
    copy: u32,
}

@group(0) @binding(4) var<storage, read> spans: array<Span>;

fn locate(workgroup: vec3<u32>, grid: vec3<u32>, lane: u32) -> Place {
    let span = spans[workgroup.y * grid.x + workgroup.x];
    let first = lane * 4u;
    if first >= span.count {
        return Place(0u, 0u, 0u, 0u, 0u);
    }
    let count = min(span.count - first, 4u);
    return Place(span.param + first, span.grad + first, span.state + first, count, span.copy + first);
}
