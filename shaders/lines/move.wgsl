// Updates the state of rows and columns from their means, with 64 neighbouring lines per workgroup.

@group(0) @binding(0) var<uniform> hyper: Hyper;
@group(0) @binding(1) var<uniform> now: Step;

struct Strip {
    first: u32,         // where the first of its lines is kept
    count: u32,
    partial: u32,       // the first line's first sum
    stride: u32,        // from one sum of a line to its next
    sums: u32,          // of each line
    length: u32,        // elements of each line
}

@group(0) @binding(4) var<storage, read> strips: array<Strip>;
@group(0) @binding(11) var<storage, read_write> lines: array<f32>;
@group(0) @binding(12) var<storage, read> partials: array<f32>;

fn sum_at(strip: Strip, i: u32, lane: u32) -> f32 {
    if i < strip.sums {
        return partials[strip.partial + i * strip.stride + lane];
    }
    return 0.0;
}

@compute @workgroup_size(64)
fn move_lines(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = workgroup.y * grid.x + workgroup.x;
    if index >= arrayLength(&strips) {
        return;
    }
    let strip = strips[index];
    if lane >= strip.count {
        return;
    }
    // Eight at a time, because llvmpipe ends a thread's loops after 65 535 rounds in total.
    var sums = array<vec4<f32>, 2>();
    for (var i = 0u; i < strip.sums; i += 8u) {
        sums[0] += vec4<f32>(
            sum_at(strip, i, lane),
            sum_at(strip, i + 1u, lane),
            sum_at(strip, i + 2u, lane),
            sum_at(strip, i + 3u, lane),
        );
        sums[1] += vec4<f32>(
            sum_at(strip, i + 4u, lane),
            sum_at(strip, i + 5u, lane),
            sum_at(strip, i + 6u, lane),
            sum_at(strip, i + 7u, lane),
        );
    }
    let mean = bounded(dot(sums[0] + sums[1], vec4<f32>(1.0)) / f32(strip.length));
    lines[strip.first + lane] = move_line(lines[strip.first + lane], mean, hyper, now);
}
