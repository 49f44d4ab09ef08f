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

struct Found {
    squares: vec4<f32>,
    largest: vec4<u32>,
}

// Adds the four elements from `i` on.
fn add(found: ptr<function, Found>, span: vec4<u32>, i: u32, unit: f32) {
    let g = load_grad(Place(0u, span.x + i, 0u, min(span.y - i, 4u)));
    // This looks at bits, because compilers may assume that there is no NaN and no infinity.
    (*found).largest = max((*found).largest, bitcast<vec4<u32>>(g) & vec4<u32>(0x7fffffffu));
    let scaled = unit * g;
    (*found).squares += scaled * scaled;
}

// Every `stride`th four elements from `first` on.
fn add_up(found: ptr<function, Found>, span: vec4<u32>, first: u32, stride: u32, unit: f32) {
    for (var i = first; i < span.y; i += 4u * stride) {
        add(found, span, i, unit);
    }
}

fn partial(found: Found) -> Partial {
    let pairs = max(found.largest.xy, found.largest.zw);
    return Partial(dot(found.squares, vec4<f32>(1.0)), max(pairs.x, pairs.y));
}

// By one thread.
fn measured_alone(span: vec4<u32>, unit: f32) -> Partial {
    var found = Found();
    add_up(&found, span, 0u, 1u, unit);
    return partial(found);
}

// By one of a workgroup's threads.
fn measured(span: vec4<u32>, lane: u32, unit: f32) -> Partial {
    var found = Found();
    let in_tiles = span.y - span.y % TILE;
    for (var i = first_in_tile(lane); i < in_tiles; i += TILE) {
        add(&found, span, i, unit);
        add(&found, span, i + NEXT_QUAD, unit);
        add(&found, span, i + 2u * NEXT_QUAD, unit);
        add(&found, span, i + 3u * NEXT_QUAD, unit);
    }
    add_up(&found, span, in_tiles + 4u * lane, MEASURING_THREADS, unit);
    return partial(found);
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
        partials[span.z] = measured_alone(span, 1.0);
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
        partials[span.z + lane] = measured(span, lane, 1.0);
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
            partials[span.z] = measured_alone(span, power_of_two(-exponent));
        }
    }
}

// Seldom has it anything to do, so a thread does what several do above: fewer threads find that out.
@compute @workgroup_size(64)
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
    if exponent == 0 {
        return;
    }
    let unit = power_of_two(-exponent);
    for (var i = lane; i < MEASURING_THREADS && 4u * i < span.y; i += 64u) {
        partials[span.z + i] = measured(span, i, unit);
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

// Which elements a thread of a workgroup measures. A tile has four quads for each thread: of every
// 128 neighbouring elements, eight threads have each eighth quad. So a workgroup reads a tile without
// a gap, and each eight threads read it cache line by cache line. What that gains over one quad per
// thread is in benches/README.md.

const TILE: u32 = 16u * MEASURING_THREADS;

// From a thread's quad to its next one.
const NEXT_QUAD: u32 = 32u;

fn first_in_tile(lane: u32) -> u32 {
    return 4u * NEXT_QUAD * (lane / 8u) + 4u * (lane % 8u);
}

const MEASURING_THREADS: u32 = 256u;
