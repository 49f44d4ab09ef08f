// Each thread adds up the squares of a small span of gradients, or of its share of a large one. No
// thread waits for another.

struct Partial {
    squares: f32,
    largest: u32,
}

// First element, number of elements, first partial sum, run.
@group(0) @binding(4) var<storage, read> spans: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> partials: array<Partial>;
@group(0) @binding(6) var<storage, read> runs: array<Run>;

// Every `stride`th four elements from `first` on.
fn measured(span: vec4<u32>, first: u32, stride: u32, unit: f32) -> Partial {
    var squares = vec4<f32>();
    var largest = vec4<u32>();
    for (var i = 4u * first; i < span.y; i += 4u * stride) {
        let g = load_grad(Place(0u, span.x + i, 0u, min(span.y - i, 4u)));
        // This looks at bits, because compilers may assume that there is no NaN and no infinity.
        largest = max(largest, bitcast<vec4<u32>>(g) & vec4<u32>(0x7fffffffu));
        let scaled = unit * g;
        squares += scaled * scaled;
    }
    let pairs = max(largest.xy, largest.zw);
    return Partial(squares.x + squares.y + squares.z + squares.w, max(pairs.x, pairs.y));
}

@compute @workgroup_size(64)
fn measure_small(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = 64u * (workgroup.y * grid.x + workgroup.x) + lane;
    if index < arrayLength(&spans) {
        let span = spans[index];
        partials[span.z] = measured(span, 0u, 1u, 1.0);
    }
}

@compute @workgroup_size(MEASURING_THREADS)
fn measure_large(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = workgroup.y * grid.x + workgroup.x;
    if index >= arrayLength(&spans) {
        return;
    }
    let span = spans[index];
    if 4u * lane < span.y {
        partials[span.z + lane] = measured(span, lane, MEASURING_THREADS, 1.0);
    }
}

// The second pass, for runs of extreme magnitude.
@compute @workgroup_size(64)
fn measure_small_extreme(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = 64u * (workgroup.y * grid.x + workgroup.x) + lane;
    if index < arrayLength(&spans) {
        let span = spans[index];
        let exponent = runs[span.w].exponent;
        if exponent != 0 {
            partials[span.z] = measured(span, 0u, 1u, power_of_two(-exponent));
        }
    }
}

@compute @workgroup_size(MEASURING_THREADS)
fn measure_large_extreme(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = workgroup.y * grid.x + workgroup.x;
    if index >= arrayLength(&spans) {
        return;
    }
    let span = spans[index];
    let exponent = runs[span.w].exponent;
    if exponent != 0 && 4u * lane < span.y {
        let unit = power_of_two(-exponent);
        partials[span.z + lane] = measured(span, lane, MEASURING_THREADS, unit);
    }
}

// Gradients that have one norm: those of a parameter group, or of a tensor. Host side:
// src/gpu/records.rs.
struct Run {
    first: u32,         // its partial sums
    count: u32,
    group: u32,
    first_unit: u32,    // its units of elements in the group, if it is a tensor
    units: u32,
    largest: u32,       // bits of the largest magnitude
    squares: f32,       // sum of squares, each divided by 2^exponent before
    exponent: i32,      // 0 unless squares would overflow or vanish
}

// 2^exponent for -126 … 127, exactly.
fn power_of_two(exponent: i32) -> f32 {
    return bitcast<f32>(u32(exponent + 127) << 23u);
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

// Gradients in a buffer of their own.

@group(0) @binding(3) var<storage, read> grads: array<StoredGrad>;

fn stored_grad(index: u32) -> StoredGrad {
    return grads[index];
}

// For gradients that are zeroed, see in_own_buffer_zeroed.wgsl.
fn store_grad(index: u32, value: StoredGrad) {
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

const MEASURING_THREADS: u32 = 256u;
