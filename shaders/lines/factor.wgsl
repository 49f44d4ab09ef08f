// Computes each row's factor, from its state and from the mean of the state of its matrix's rows.
// A matrix of few rows takes one thread, another a workgroup.

@group(0) @binding(0) var<uniform> hyper: Hyper;

struct Rows {
    first: u32,         // where the rows of the matrix are kept
    factors: u32,       // where their factors go
    count: u32,
}

@group(0) @binding(4) var<storage, read> matrices: array<Rows>;
@group(0) @binding(11) var<storage, read_write> lines: array<f32>;

const LANES = 256u;
var<workgroup> sums: array<f32, LANES>;

fn row_at(rows: Rows, i: u32) -> f32 {
    if i < rows.count {
        return lines[rows.first + i];
    }
    return 0.0;
}

fn factor_at(rows: Rows, i: u32, mean: f32) {
    if i < rows.count {
        lines[rows.factors + i] = row_factor(lines[rows.first + i], mean, hyper);
    }
}

// The sum of every `stride`th row's state from `first` on.
fn added_up(rows: Rows, first: u32, stride: u32) -> f32 {
    var sum = 0.0;
    // Four at a time, because llvmpipe ends a thread's loops after 65 535 rounds in total.
    for (var i = first; i < rows.count; i += 4u * stride) {
        sum += row_at(rows, i)
            + row_at(rows, i + stride)
            + row_at(rows, i + 2u * stride)
            + row_at(rows, i + 3u * stride);
    }
    return sum;
}

fn factor(rows: Rows, sum: f32, first: u32, stride: u32) {
    let mean = bounded(sum / f32(rows.count));
    for (var i = first; i < rows.count; i += 4u * stride) {
        factor_at(rows, i, mean);
        factor_at(rows, i + stride, mean);
        factor_at(rows, i + 2u * stride, mean);
        factor_at(rows, i + 3u * stride, mean);
    }
}

@compute @workgroup_size(64)
fn factor_small(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = 64u * (workgroup.y * grid.x + workgroup.x) + lane;
    if index < arrayLength(&matrices) {
        let rows = matrices[index];
        factor(rows, added_up(rows, 0u, 1u), 0u, 1u);
    }
}

@compute @workgroup_size(LANES)
fn factor_large(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = workgroup.y * grid.x + workgroup.x;
    if index >= arrayLength(&matrices) {
        return;
    }
    let rows = matrices[index];
    sums[lane] = added_up(rows, lane, LANES);
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if lane < half {
            sums[lane] += sums[lane + half];
        }
        workgroupBarrier();
    }
    factor(rows, sums[0], lane, LANES);
}
