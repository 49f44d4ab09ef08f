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

// Each thread adds up what the rule measures in a small span, or in its share of a large one. No
// thread waits for another.

@group(0) @binding(0) var<uniform> hyper: Hyper;
@group(0) @binding(1) var<uniform> now: Step;
// Two entries per span. The first has the first element in params, in grads and in the state,
// and the number of elements. The second has the first partial sum.
@group(0) @binding(4) var<storage, read> spans: array<vec4<u32>>;
@group(0) @binding(12) var<storage, read_write> partials: array<vec4<f32>>;

// What a thread looks up once for all of a span, which is part of one tensor.
struct SpanLookup {
    tensor: OfTensor,
    lines: TensorLines,
}

fn look_up_span(span: vec4<u32>) -> SpanLookup {
    let place = Place(span.x, span.y, span.z, 4u);
    return SpanLookup(load_tensor(place), find_lines(place));
}

// What the four elements from `i` on add to the sums of a span.
fn measured_at(span: vec4<u32>, i: u32, lookup: SpanLookup) -> Sums {
    let place = Place(span.x + i, span.y + i, span.z + i, min(span.w - i, 4u));
    let p = load_param(place);
    let found = scaled(load_grad(place), place);
    let g = limited(found, is_finite(found));
    return measure(p, g, load_state(place, lookup.lines), hyper, now, lookup.tensor);
}

// Every `stride`th four elements from `first` on.
fn add_up(sums: ptr<function, Sums>, span: vec4<u32>, first: u32, stride: u32, lookup: SpanLookup) {
    for (var i = first; i < span.w; i += 4u * stride) {
        add(sums, measured_at(span, i, lookup));
    }
}

@compute @workgroup_size(64)
fn measure_small(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = 2u * (64u * (workgroup.y * grid.x + workgroup.x) + lane);
    if index < arrayLength(&spans) {
        let span = spans[index];
        let lookup = look_up_span(span);
        var sums = Sums();
        add_up(&sums, span, 0u, 1u, lookup);
        partials[spans[index + 1u].x] = total(sums);
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
    if 4u * lane >= span.w {
        return;
    }
    let lookup = look_up_span(span);
    var sums = Sums();
    let in_tiles = span.w - span.w % TILE;
    for (var i = first_in_tile(lane); i < in_tiles; i += TILE) {
        add(&sums, measured_at(span, i, lookup));
        add(&sums, measured_at(span, i + NEXT_QUAD, lookup));
        add(&sums, measured_at(span, i + 2u * NEXT_QUAD, lookup));
        add(&sums, measured_at(span, i + 3u * NEXT_QUAD, lookup));
    }
    add_up(&sums, span, in_tiles + 4u * lane, MEASURING_THREADS, lookup);
    partials[spans[index + 1u].x + lane] = total(sums);
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

// Four neighbouring elements: where they begin in each binding, and how many of them exist.
struct Place {
    param: u32,
    grad: u32,
    state: u32,
    count: u32,
}

// Parameters in their format, four at a time.

@group(0) @binding(2) var<storage, read_write> params: array<ParamQuad>;

fn load_param(place: Place) -> vec4<f32> {
    return decode_param(params[place.param / 4u], place);
}

fn store_param(place: Place, p: vec4<f32>) {
    params[place.param / 4u] = encode_param(p, place);
}

// Gradients in their format, four at a time. Zero bits are zero in every format.

alias StoredGrad = GradQuad;

fn load_grad(place: Place) -> vec4<f32> {
    return decode_grad(stored_grad(place.grad / 4u));
}

fn zero_grad(place: Place) {
    store_grad(place.grad / 4u, StoredGrad());
}

// Gradients in a buffer of their own.

@group(0) @binding(3) var<storage, read> grads: array<StoredGrad>;

fn stored_grad(index: u32) -> StoredGrad {
    return grads[index];
}

// For gradients that are zeroed, see in_own_buffer_zeroed.wgsl.
fn store_grad(index: u32, value: StoredGrad) {
}

// Gradients are not scaled: now.grad_scale is 1.

fn scaled(g: vec4<f32>, place: Place) -> vec4<f32> {
    return g;
}

// Elements as f32.

alias Quad_f32 = vec4<f32>;

fn decode_f32(quad: Quad_f32) -> vec4<f32> {
    return quad;
}

fn encode_f32(value: vec4<f32>) -> Quad_f32 {
    return value;
}

alias ParamQuad = Quad_f32;

fn decode_param(quad: ParamQuad, place: Place) -> vec4<f32> {
    return decode_f32(quad);
}

fn encode_param(value: vec4<f32>, place: Place) -> ParamQuad {
    return encode_f32(value);
}

alias GradQuad = Quad_f32;

fn decode_grad(quad: GradQuad) -> vec4<f32> {
    return decode_f32(quad);
}

// Which elements a thread of a workgroup measures. A tile has four quads for each thread: of every
// 128 neighbouring elements, eight threads have each eighth quad. So a workgroup reads a tile without
// a gap, and each eight threads read it cache line by cache line. What that gains over one quad per
// thread is in benches/README.md.

const TILE: u32 = 16u * MEASURING_THREADS;

// From a thread's quad to its next one.
const NEXT_QUAD: u32 = 32u;

fn first_in_tile(lane: u32) -> u32 {
    return 4u * NEXT_QUAD * (lane / 8u) + 4u * (lane % 8u);
}

const MEASURING_THREADS: u32 = 256u;

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

// The rule's slots; those that the variant leaves unused read as zero.

@group(0) @binding(5) var<storage, read> slot_exp_avg: array<Quad_f32>;
@group(0) @binding(6) var<storage, read> slot_exp_avg_sq: array<Quad_f32>;

// There is no state of rows and columns.

alias TensorLines = u32;

fn find_lines(place: Place) -> TensorLines {
    return 0u;
}

fn load_state(place: Place, tensor_lines: TensorLines) -> State {
    var state = State();
    state.exp_avg = decode_f32(slot_exp_avg[place.state / 4u]);
    state.exp_avg_sq = decode_f32(slot_exp_avg_sq[place.state / 4u]);
    return state;
}

fn store_state(place: Place, state: State) {
}

fn load_tensor(place: Place) -> OfTensor {
    var tensor = OfTensor();
    return tensor;
}

