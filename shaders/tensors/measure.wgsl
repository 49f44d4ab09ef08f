// Each thread adds up what the rule measures in a small span, or in its share of a large one. No
// thread waits for another.

@group(0) @binding(0) var<uniform> hyper: Hyper;
@group(0) @binding(1) var<uniform> now: Step;
// Two entries per span. The first has the first element in params, in grads and in the state,
// and the number of elements. The second has the first partial sum.
@group(0) @binding(4) var<storage, read> spans: array<vec4<u32>>;
@group(0) @binding(12) var<storage, read_write> partials: array<vec4<f32>>;

// What a thread looks up once for all of a span, which is part of one tensor.
struct SpanLookup {
    tensor: OfTensor,
    lines: TensorLines,
}

fn look_up_span(span: vec4<u32>) -> SpanLookup {
    let place = Place(span.x, span.y, span.z, 4u);
    return SpanLookup(load_tensor(place), find_lines(place));
}

// What the four elements from `i` on add to the sums of a span.
fn measured_at(span: vec4<u32>, i: u32, lookup: SpanLookup) -> Sums {
    let place = Place(span.x + i, span.y + i, span.z + i, min(span.w - i, 4u));
    let p = load_param(place);
    let found = scaled(load_grad(place), place);
    let g = limited(found, is_finite(found));
    return measure(p, g, load_state(place, lookup.lines), hyper, now, lookup.tensor);
}

// Every `stride`th four elements from `first` on.
fn add_up(sums: ptr<function, Sums>, span: vec4<u32>, first: u32, stride: u32, lookup: SpanLookup) {
    for (var i = first; i < span.w; i += 4u * stride) {
        add(sums, measured_at(span, i, lookup));
    }
}

@compute @workgroup_size(64)
fn measure_small(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = 2u * (64u * (workgroup.y * grid.x + workgroup.x) + lane);
    if index < arrayLength(&spans) {
        let span = spans[index];
        let lookup = look_up_span(span);
        var sums = Sums();
        add_up(&sums, span, 0u, 1u, lookup);
        partials[spans[index + 1u].x] = total(sums);
    }
}

@compute @workgroup_size(MEASURING_THREADS)
fn measure_large(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = 2u * (workgroup.y * grid.x + workgroup.x);
    if index >= arrayLength(&spans) {
        return;
    }
    let span = spans[index];
    if 4u * lane >= span.w {
        return;
    }
    let lookup = look_up_span(span);
    var sums = Sums();
    let in_tiles = span.w - span.w % TILE;
    for (var i = first_in_tile(lane); i < in_tiles; i += TILE) {
        add(&sums, measured_at(span, i, lookup));
        add(&sums, measured_at(span, i + NEXT_QUAD, lookup));
        add(&sums, measured_at(span, i + 2u * NEXT_QUAD, lookup));
        add(&sums, measured_at(span, i + 3u * NEXT_QUAD, lookup));
    }
    add_up(&sums, span, in_tiles + 4u * lane, MEASURING_THREADS, lookup);
    partials[spans[index + 1u].x + lane] = total(sums);
}
