// Each thread adds up what the rule measures in a small span, or in its share of a large one. No
// thread waits for another.

@group(0) @binding(0) var<uniform> hyper: Hyper;
@group(0) @binding(1) var<uniform> now: Step;
// Two entries per span. The first has the first element in params, in grads and in the state,
// and the number of elements. The second has the first partial sum.
@group(0) @binding(4) var<storage, read> spans: array<vec4<u32>>;
@group(0) @binding(12) var<storage, read_write> partials: array<vec4<f32>>;

// Every `stride`th four elements from `first` on.
fn added_up(span: vec4<u32>, first: u32, stride: u32) -> vec4<f32> {
    let tensor = load_tensor(Place(span.x, span.y, span.z, 4u));
    var sums = Sums();
    for (var i = 4u * first; i < span.w; i += 4u * stride) {
        let place = Place(span.x + i, span.y + i, span.z + i, min(span.w - i, 4u));
        let p = load_param(place);
        let found = scaled(load_grad(place), place);
        let g = limited(found, is_finite(found));
        add(&sums, measure(p, g, load_state(place), hyper, now, tensor));
    }
    return total(sums);
}

@compute @workgroup_size(64)
fn measure_small(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = 2u * (64u * (workgroup.y * grid.x + workgroup.x) + lane);
    if index < arrayLength(&spans) {
        partials[spans[index + 1u].x] = added_up(spans[index], 0u, 1u);
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
    if 4u * lane < span.w {
        let sum = added_up(span, lane, MEASURING_THREADS);
        partials[spans[index + 1u].x + lane] = sum;
    }
}
