// Each thread adds up what the rule measures in its share of a span. No thread waits for another.

@group(0) @binding(0) var<uniform> hyper: Hyper;
@group(0) @binding(1) var<uniform> now: Step;
// Two entries per workgroup. The first has the first element in params, in grads and in the state,
// and the number of elements. The second has the first partial sum.
@group(0) @binding(4) var<storage, read> spans: array<vec4<u32>>;
@group(0) @binding(12) var<storage, read_write> partials: array<vec4<f32>>;

@compute @workgroup_size(MEASURING_THREADS)
fn measure_tensors(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = 2u * (workgroup.y * grid.x + workgroup.x);
    let span = spans[index];
    if lane * 4u >= span.w {
        return;
    }
    let tensor = load_tensor(Place(span.x, span.y, span.z, 4u));
    var sums = Sums();
    for (var i = lane * 4u; i < span.w; i += 4u * MEASURING_THREADS) {
        let place = Place(span.x + i, span.y + i, span.z + i, min(span.w - i, 4u));
        let p = load_param(place);
        let found = scaled(load_grad(place), place);
        let g = limited(found, is_finite(found));
        add(&sums, measure(p, g, load_state(place), hyper, now, tensor));
    }
    partials[spans[index + 1u].x + lane] = total(sums);
}
