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
