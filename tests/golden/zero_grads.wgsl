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

// Four neighbouring elements: where they begin in each binding, and how many of them exist.
struct Place {
    param: u32,
    grad: u32,
    state: u32,
    count: u32,
}

// Gradients in their format, four at a time. Zero bits are zero in every format.

alias StoredGrad = GradQuad;

fn load_grad(place: Place) -> vec4<f32> {
    return decode_grad(stored_grad(place.grad / 4u));
}

fn zero_grad(place: Place) {
    store_grad(place.grad / 4u, StoredGrad());
}

// Gradients in a buffer of their own. They are left as zeros.

@group(0) @binding(3) var<storage, read_write> grads: array<StoredGrad>;

fn stored_grad(index: u32) -> StoredGrad {
    return grads[index];
}

fn store_grad(index: u32, value: StoredGrad) {
    grads[index] = value;
}

// Elements as f32.

alias Quad_f32 = vec4<f32>;

fn decode_f32(quad: Quad_f32) -> vec4<f32> {
    return quad;
}

fn encode_f32(value: vec4<f32>) -> Quad_f32 {
    return value;
}

alias GradQuad = Quad_f32;

fn decode_grad(quad: GradQuad) -> vec4<f32> {
    return decode_f32(quad);
}
