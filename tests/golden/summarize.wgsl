// Adds up each run's partial sums: in one thread if the run is small, else in a workgroup.

struct Partial {
    squares: f32,
    largest: u32,
}

@group(0) @binding(5) var<storage, read> partials: array<Partial>;
@group(0) @binding(6) var<storage, read_write> runs: array<Run>;
// The runs of this dispatch.
@group(0) @binding(9) var<storage, read> indices: array<u32>;

const LANES = 256u;
var<workgroup> squares: array<f32, LANES>;
var<workgroup> largest: array<u32, LANES>;
var<workgroup> found_exponent: i32;

fn partial_at(run: Run, i: u32) -> Partial {
    if i < run.count {
        return partials[run.first + i];
    }
    return Partial();
}

// Every `stride`th partial sum from `first` on.
fn added_up(run: Run, first: u32, stride: u32) -> Partial {
    var squares = vec4<f32>();
    var largest = 0u;
    // Four at a time, because llvmpipe ends a thread's loops after 65 535 rounds in total.
    for (var i = first; i < run.count; i += 4u * stride) {
        let a = partial_at(run, i);
        let b = partial_at(run, i + stride);
        let c = partial_at(run, i + 2u * stride);
        let d = partial_at(run, i + 3u * stride);
        squares += vec4<f32>(a.squares, b.squares, c.squares, d.squares);
        largest = max(largest, max(max(a.largest, b.largest), max(c.largest, d.largest)));
    }
    return Partial(squares.x + squares.y + (squares.z + squares.w), largest);
}

// The result is that of lane 0.
fn added_up_together(run: Run, lane: u32) -> Partial {
    let partial = added_up(run, lane, LANES);
    squares[lane] = partial.squares;
    largest[lane] = partial.largest;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if lane < half {
            squares[lane] += squares[lane + half];
            largest[lane] = max(largest[lane], largest[lane + half]);
        }
        workgroupBarrier();
    }
    return Partial(squares[0], largest[0]);
}

fn keep(index: u32, sum: Partial) {
    let exponent = i32(sum.largest >> 23u) - 127;
    let is_finite = sum.largest < 0x7f800000u;
    let is_extreme = sum.largest > 0u && is_finite && (exponent < -40 || exponent > 48);
    runs[index].squares = sum.squares;
    runs[index].largest = sum.largest;
    runs[index].exponent = select(0, clamp(exponent, -126, 126), is_extreme);
}

@compute @workgroup_size(64)
fn summarize_small(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = 64u * (workgroup.y * grid.x + workgroup.x) + lane;
    if at < arrayLength(&indices) {
        let index = indices[at];
        keep(index, added_up(runs[index], 0u, 1u));
    }
}

@compute @workgroup_size(LANES)
fn summarize_large(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = workgroup.y * grid.x + workgroup.x;
    if at >= arrayLength(&indices) {
        return;
    }
    let index = indices[at];
    let sum = added_up_together(runs[index], lane);
    if lane == 0u {
        keep(index, sum);
    }
}

// The second pass changes only the runs of extreme magnitude.
@compute @workgroup_size(64)
fn summarize_small_extreme(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = 64u * (workgroup.y * grid.x + workgroup.x) + lane;
    if at < arrayLength(&indices) {
        let index = indices[at];
        let run = runs[index];
        if run.exponent != 0 {
            runs[index].squares = added_up(run, 0u, 1u).squares;
        }
    }
}

@compute @workgroup_size(LANES)
fn summarize_large_extreme(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = workgroup.y * grid.x + workgroup.x;
    if at >= arrayLength(&indices) {
        return;
    }
    let index = indices[at];
    if lane == 0u {
        found_exponent = runs[index].exponent;
    }
    // Seldom is a run extreme, and reading all its partial sums is what takes time here.
    if workgroupUniformLoad(&found_exponent) == 0 {
        return;
    }
    let sum = added_up_together(runs[index], lane);
    if lane == 0u {
        runs[index].squares = sum.squares;
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
