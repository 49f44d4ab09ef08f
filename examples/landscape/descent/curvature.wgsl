// Hands a rule the Hessians of its points: the diagonal, or all of it.

struct Members {
    // Among all points.
    first: u32,
    count: u32,
    // First element in the rule's state, and from one point to the next.
    offset: u32,
    stride: u32,
    dimensions: u32,
    // Whether it takes all of it.
    whole: u32,
}

@group(0) @binding(0) var<uniform> members: Members;
@group(0) @binding(1) var<storage, read> hessians: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> state: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= members.count {
        return;
    }
    let hessian = hessians[members.first + id.x];
    let at = members.offset + id.x * members.stride;
    state[at] = hessian.x;
    if members.dimensions == 1u {
        return;
    }
    if members.whole == 1u {
        state[at + 1u] = hessian.y;
        state[at + 2u] = hessian.y;
        state[at + 3u] = hessian.z;
    } else {
        state[at + 1u] = hessian.z;
    }
}
