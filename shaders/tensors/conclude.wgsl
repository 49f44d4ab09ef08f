// Adds up partial sums and lets the rule conclude, with one workgroup per tensor or one for all.

@group(0) @binding(0) var<uniform> hyper: Hyper;
@group(0) @binding(1) var<uniform> now: Step;
// The first partial sum of each workgroup, and how many it has.
@group(0) @binding(11) var<storage, read> ranges: array<vec2<u32>>;
@group(0) @binding(12) var<storage, read> partials: array<vec4<f32>>;
// The table of lookup.wgsl.
@group(0) @binding(13) var<storage, read_write> tensors: array<u32>;

var<workgroup> totals: array<vec4<f32>, LANES>;
var<workgroup> concluded: OfTensor;

fn add_up(index: u32, lane: u32) {
    let first = ranges[index].x;
    let end = first + ranges[index].y;
    var sum = vec4<f32>();
    for (var i = first + lane; i < end; i += LANES) {
        sum += partials[i];
    }
    totals[lane] = sum;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if lane < half {
            totals[lane] += totals[lane + half];
        }
        workgroupBarrier();
    }
}

@compute @workgroup_size(LANES)
fn conclude_tensors(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = workgroup.y * grid.x + workgroup.x;
    if index >= arrayLength(&ranges) {
        return;
    }
    add_up(index, lane);
    let length = tensors[1];
    let together = tensors[3];
    let row = tensors[0] + index * together * length;
    if lane == 0u {
        let shape = Shape(
            f32(tensors[row]),
            f32(tensors[row + 1u]),
            f32(tensors[row + 2u]),
        );
        var tensor = tensor_at(row);
        let sums = vec4<f32>(
            bounded(totals[0].x),
            bounded(totals[0].y),
            bounded(totals[0].z),
            bounded(totals[0].w),
        );
        conclude(sums_of(sums), &tensor, shape, hyper, now);
        concluded = tensor;
    }
    workgroupBarrier();
    // A sum of a gradient that is not finite. Rules could make a number of it.
    let nan = is_nan(totals[0]);
    for (var i = lane; i < together; i += LANES) {
        keep_tensor(row + i * length, concluded, any(nan));
    }
}
