// LAMB. You et al. 2020, arXiv:1904.00962, as in optax.lamb. Twin: src/rules/lamb.rs

fn direction(p: vec4<f32>, g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    (*s).exp_avg = ema((*s).exp_avg, g, h.pull_beta1);
    (*s).exp_avg_sq = ema((*s).exp_avg_sq, g * g, h.pull_beta2);
    // at: the corrections of m and of v.
    let m_hat = now.at.x * (*s).exp_avg;
    let v_hat = now.at.y * (*s).exp_avg_sq;
    return m_hat / (sqrt(v_hat) + h.eps) + h.weight_decay * p;
}

fn measure(p: vec4<f32>, g: vec4<f32>, s: State, h: Hyper, now: Step, tensor: OfTensor) -> Sums {
    var moved = s;
    let u = direction(p, g, &moved, h, now);
    return Sums(p * p, u * u);
}

fn conclude(sums: Totals, tensor: ptr<function, OfTensor>, shape: Shape, h: Hyper, now: Step) {
    let is_zero = sums.p_squared == 0.0 || sums.u_squared == 0.0;
    let ratio = sqrt(sums.p_squared) / sqrt(sums.u_squared);
    (*tensor).trust_ratio = select(ratio, 1.0, is_zero);
}

fn update(
    p: vec4<f32>,
    g: vec4<f32>,
    s: ptr<function, State>,
    h: Hyper,
    now: Step,
    tensor: OfTensor,
) -> vec4<f32> {
    let u = direction(p, g, s, h, now);
    return p - now.lr * tensor.trust_ratio * u;
}

// The rule's numbers.

struct Hyper {
    pull_beta1: f32,
    pull_beta2: f32,
    eps: f32,
    weight_decay: f32,
}

struct State {
    exp_avg: vec4<f32>,
    exp_avg_sq: vec4<f32>,
}

struct OfTensor {
    trust_ratio: f32,
}

// The variant.

const ZERO_GRAD: bool = false;
const MOST_GRAD: f32 = 1.125899906842624e15;
const SQUARES_GRADS: bool = true;
const UPDATES_BY_GRADS: bool = true;

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

fn tensor_at(row: u32) -> OfTensor {
    return OfTensor(
        bitcast<f32>(tensors[row + 8u]),
    );
}

fn keep_tensor(row: u32, tensor: OfTensor, is_nan: bool) {
    tensors[row + 8u] = select(bitcast<u32>(tensor.trust_ratio), 0x7fc00000u, is_nan);
}
