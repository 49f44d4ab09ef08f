// Adafactor. Shazeer & Stern 2018, arXiv:1804.04235, as in torch.optim.Adafactor.
// Twin: src/rules/adafactor.rs

fn line(g: f32, h: Hyper) -> f32 {
    return g * g;
}

fn move_line(kept: f32, mean: f32, h: Hyper, now: Step) -> f32 {
    // at: how far V moves, and the most that lr may be.
    return scalar_ema(kept, mean, now.at.x);
}

fn row_factor(row: f32, mean: f32, h: Hyper) -> f32 {
    return row / max(mean, h.eps1);
}

fn direction(g: vec4<f32>, s: State, h: Hyper) -> vec4<f32> {
    let variance = s.row_factor * s.col_var;
    return g / sqrt(max(variance, vec4<f32>(h.eps1_squared)));
}

fn measure(p: vec4<f32>, g: vec4<f32>, s: State, h: Hyper, now: Step, tensor: OfTensor) -> Sums {
    let u = direction(g, s, h);
    return Sums(p * p, u * u);
}

fn conclude(sums: Totals, tensor: ptr<function, OfTensor>, shape: Shape, h: Hyper, now: Step) {
    let p_rms = sqrt(sums.p_squared / shape.count);
    let u_rms = sqrt(sums.u_squared / shape.count);
    let alpha = max(h.eps2, p_rms) * min(now.lr, now.at.y);
    (*tensor).alpha = alpha / max(u_rms / h.d, 1.0);
}

fn update(
    p: vec4<f32>,
    g: vec4<f32>,
    s: ptr<function, State>,
    h: Hyper,
    now: Step,
    tensor: OfTensor,
) -> vec4<f32> {
    let u = direction(g, *s, h);
    return p - (now.decay * p + tensor.alpha * u);
}

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

// The numbers of one parameter group's step. begin_step.wgsl writes them, and update() reads them.
// Twins: Step in src/rule/twin.rs; the layout in src/gpu/records.rs.
struct Step {
    lr: f32,
    decay: f32,         // lr times the decoupled weight decay, the product taken in f64
    grad_scale: f32,    // what gradients are multiplied by; negative to maximize
    t: u32,             // steps performed, this one included
    at: vec4<f32>,      // the rule's coefficients at this step count, from f64
    refreshed: f32,     // 1 if the caller filled the rule's inputs anew for this step, else 0
    average_weight: f32, // what the running mean of the parameters is pulled by
    grad_unit: f32,     // a power of two that very large or small gradients are multiplied by first
}

// The moving average decay·kept + (1 - decay)·x. `pull` is 1 - decay for a decay of at least 1/2, and
// -decay for a smaller one. So the smaller weight multiplies the difference, and nothing cancels at
// any decay. The sign bit says which it is: a decay of 0 is -0. Twin: src/rule/ema.rs
fn ema(kept: vec4<f32>, x: vec4<f32>, pull: f32) -> vec4<f32> {
    let nearer = select(kept, x, bitcast<i32>(pull) < 0);
    return nearer + pull * (x - kept);
}

fn scalar_ema(kept: f32, x: f32, pull: f32) -> f32 {
    let nearer = select(kept, x, bitcast<i32>(pull) < 0);
    return nearer + pull * (x - kept);
}

// What gradients and parameters are held to. Twin: src/rule/bound.rs

// These look at bits, because compilers may assume that there is no NaN and no infinity.
fn is_finite(x: vec4<f32>) -> vec4<bool> {
    return (bitcast<vec4<u32>>(x) & vec4<u32>(0x7f800000u)) != vec4<u32>(0x7f800000u);
}

fn is_nan(x: vec4<f32>) -> vec4<bool> {
    return (bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
}

// A variable, since WGSL refuses a constant that is NaN.
var<private> nan_bits: u32 = 0x7fc00000u;

fn held(x: vec4<f32>) -> vec4<f32> {
    return clamp(x, vec4<f32>(-MOST_GRAD), vec4<f32>(MOST_GRAD));
}

// The gradient as a rule gets it: none of its squares and sums overflows. One that is not finite is
// NaN.
fn limited(g: vec4<f32>, finite: vec4<bool>) -> vec4<f32> {
    return select(vec4<f32>(bitcast<f32>(nan_bits)), held(g), finite);
}

// The parameter after an update. It is NaN if the gradient was not finite, whatever the rule made of
// that.
fn outcome(updated: vec4<f32>, finite: vec4<bool>) -> vec4<f32> {
    var bounded = updated;
    if !SQUARES_GRADS {
        // NaN stays NaN.
        bounded = select(updated, held(updated), abs(updated) > vec4<f32>(MOST_GRAD));
    }
    if !UPDATES_BY_GRADS {
        return bounded;
    }
    return select(vec4<f32>(bitcast<f32>(nan_bits)), bounded, finite);
}

// A sum that overflowed becomes the largest f32. Otherwise an infinity would stay in the state for
// good. NaN stays NaN. Twin: bounded in src/rule/twin.rs
fn bounded(sum: f32) -> f32 {
    return select(clamp(sum, -3.4e38, 3.4e38), sum, is_nan(vec4<f32>(sum)).x);
}

// The size of a tensor. Twin: Shape in src/rule/twin.rs
struct Shape {
    count: f32,         // its elements
    rows: f32,          // its last dimension but one; 1 if it has fewer than two
    columns: f32,       // its last dimension; 1 if it has none
}

// The rule's numbers.

struct Hyper {
    eps1: f32,
    eps1_squared: f32,
    eps2: f32,
    d: f32,
}

struct State {
    row_factor: vec4<f32>,
    col_var: vec4<f32>,
}

struct OfTensor {
    alpha: f32,
}

// The variant.

const ZERO_GRAD: bool = false;
const MOST_GRAD: f32 = 1.125899906842624e15;
const SQUARES_GRADS: bool = true;
const UPDATES_BY_GRADS: bool = true;

// What the rule sums up, by four elements and in all.

struct Sums {
    p_squared: vec4<f32>,
    u_squared: vec4<f32>,
}

struct Totals {
    p_squared: f32,
    u_squared: f32,
}

fn add(sums: ptr<function, Sums>, more: Sums) {
    (*sums).p_squared += more.p_squared;
    (*sums).u_squared += more.u_squared;
}

fn total(sums: Sums) -> vec4<f32> {
    return vec4<f32>(
        dot(sums.p_squared, vec4<f32>(1.0)),
        dot(sums.u_squared, vec4<f32>(1.0)),
        0.0,
        0.0,
    );
}

fn sums_of(total: vec4<f32>) -> Totals {
    return Totals(total.x, total.y);
}
