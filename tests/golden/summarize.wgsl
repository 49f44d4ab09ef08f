// Adds up each run's partial sums, with one workgroup per run.

struct Partial {
    squares: f32,
    largest: u32,
}

@group(0) @binding(5) var<storage, read> partials: array<Partial>;
@group(0) @binding(6) var<storage, read_write> runs: array<Run>;

var<workgroup> squares: array<f32, 256>;
var<workgroup> largest: array<u32, 256>;

fn sum_up(run: u32, lane: u32) {
    var partial = Partial();
    let end = runs[run].first + runs[run].count;
    for (var i = runs[run].first + lane; i < end; i += 256u) {
        partial.squares += partials[i].squares;
        partial.largest = max(partial.largest, partials[i].largest);
    }
    squares[lane] = partial.squares;
    largest[lane] = partial.largest;
    workgroupBarrier();
    for (var half = 128u; half > 0u; half /= 2u) {
        if lane < half {
            squares[lane] += squares[lane + half];
            largest[lane] = max(largest[lane], largest[lane + half]);
        }
        workgroupBarrier();
    }
}

@compute @workgroup_size(256)
fn summarize(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let run = workgroup.y * grid.x + workgroup.x;
    if run >= arrayLength(&runs) {
        return;
    }
    sum_up(run, lane);
    if lane == 0u {
        let exponent = i32(largest[0] >> 23u) - 127;
        let is_finite = largest[0] < 0x7f800000u;
        let is_extreme = largest[0] > 0u && is_finite && (exponent < -40 || exponent > 48);
        runs[run].squares = squares[0];
        runs[run].largest = largest[0];
        runs[run].exponent = select(0, clamp(exponent, -126, 126), is_extreme);
    }
}

@compute @workgroup_size(256)
fn summarize_extreme(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let run = workgroup.y * grid.x + workgroup.x;
    if run >= arrayLength(&runs) {
        return;
    }
    sum_up(run, lane);
    if lane == 0u {
        runs[run].squares = squares[0];
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
