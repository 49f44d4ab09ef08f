// Adds up partial sums and lets the rule conclude: about a small tensor in one thread, about a large
// one or all together in a workgroup.

@group(0) @binding(0) var<uniform> hyper: Hyper;
@group(0) @binding(1) var<uniform> now: Step;

// What is added up. Host side: src/gpu/sums.rs.
struct Summed {
    first: u32,         // its partial sums
    count: u32,
    tensor: u32,        // the number of its tensor in the group; 0 if it is all of them
}

@group(0) @binding(11) var<storage, read> summed: array<Summed>;
@group(0) @binding(12) var<storage, read> partials: array<vec4<f32>>;
// The table of lookup.wgsl.
@group(0) @binding(13) var<storage, read_write> tensors: array<u32>;

const LANES = 256u;
var<workgroup> totals: array<vec4<f32>, LANES>;
var<workgroup> concluded: OfTensor;

fn partial_at(what: Summed, i: u32) -> vec4<f32> {
    if i < what.count {
        return partials[what.first + i];
    }
    return vec4<f32>();
}

// Every `stride`th partial sum from `first` on.
fn added_up(what: Summed, first: u32, stride: u32) -> vec4<f32> {
    var sum = vec4<f32>();
    // Four at a time, because llvmpipe ends a thread's loops after 65 535 rounds in total.
    for (var i = first; i < what.count; i += 4u * stride) {
        sum += partial_at(what, i) + partial_at(what, i + stride)
            + (partial_at(what, i + 2u * stride) + partial_at(what, i + 3u * stride));
    }
    return sum;
}

// What the rule concludes from `total` about the tensor of a row.
fn conclusion(row: u32, total: vec4<f32>) -> OfTensor {
    let shape = Shape(
        f32(tensors[row]),
        f32(tensors[row + 1u]),
        f32(tensors[row + 2u]),
    );
    var tensor = tensor_at(row);
    let sums = vec4<f32>(bounded(total.x), bounded(total.y), bounded(total.z), bounded(total.w));
    conclude(sums_of(sums), &tensor, shape, hyper, now);
    return tensor;
}

@compute @workgroup_size(64)
fn conclude_small(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = 64u * (workgroup.y * grid.x + workgroup.x) + lane;
    if index >= arrayLength(&summed) {
        return;
    }
    let what = summed[index];
    let row = tensors[0] + what.tensor * tensors[1];
    let total = added_up(what, 0u, 1u);
    // A sum of a gradient that is not finite. Rules could make a number of it.
    keep_tensor(row, conclusion(row, total), any(is_nan(total)));
}

@compute @workgroup_size(LANES)
fn conclude_large(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = workgroup.y * grid.x + workgroup.x;
    if index >= arrayLength(&summed) {
        return;
    }
    let what = summed[index];
    totals[lane] = added_up(what, lane, LANES);
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if lane < half {
            totals[lane] += totals[lane + half];
        }
        workgroupBarrier();
    }
    let length = tensors[1];
    let row = tensors[0] + what.tensor * length;
    if lane == 0u {
        concluded = conclusion(row, totals[0]);
    }
    workgroupBarrier();
    // How many conclude together.
    let together = tensors[3];
    let is_nan = any(is_nan(totals[0]));
    for (var i = lane; i < together; i += LANES) {
        keep_tensor(row + i * length, concluded, is_nan);
    }
}
