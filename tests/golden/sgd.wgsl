// SGD with momentum. Sutskever et al. 2013 as in torch.optim.SGD; the textbook's exponential
// average too. Twin: src/rules/sgd.rs

fn direction(g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    // classic: b ← μb + (1 - d)g, first b ← g; average: b ← b + (1 - μ)(g - b)
    let b = held(ema((*s).momentum_buffer, vec4<f32>(0.0), now.at.x) + now.at.y * g);
    (*s).momentum_buffer = b;
    if NESTEROV {
        return g + h.momentum * b;
    }
    return b;
}

// The parameter after a step along u.
fn stepped(p: vec4<f32>, u: vec4<f32>, now: Step) -> vec4<f32> {
    return p - now.lr * u;
}

// The update of every rule that is no more than a direction. Twin: src/rules/direction.rs
fn update(
    p: vec4<f32>,
    grad: vec4<f32>,
    s: ptr<function, State>,
    h: Hyper,
    now: Step,
    tensor: OfTensor,
) -> vec4<f32> {
    let g = decayed(p, grad, h);
    let u = cautious(direction(g, s, h, now), g, tensor);
    return stepped(p, u, now);
}

// The gradient as the rule sees it: as it is.
fn decayed(p: vec4<f32>, g: vec4<f32>, h: Hyper) -> vec4<f32> {
    return g;
}

// Without caution: the rule's own update.

fn cautious(u: vec4<f32>, g: vec4<f32>, tensor: OfTensor) -> vec4<f32> {
    return u;
}

// The rule's numbers.

struct Hyper {
    weight_decay: f32,
    momentum: f32,
}

struct State {
    momentum_buffer: vec4<f32>,
}

struct OfTensor {
    mask_scale: f32,
}

// The variant.

const NESTEROV: bool = false;
const ZERO_GRAD: bool = false;
const MOST_GRAD: f32 = 8.507059173023462e37;
const SQUARES_GRADS: bool = false;
const UPDATES_BY_GRADS: bool = true;

// The entry point of every update: load four elements of everything, update them, store them. All
// loads come before the first store, so that they are in flight together.

@group(0) @binding(0) var<uniform> hyper: Hyper;
@group(0) @binding(1) var<uniform> now: Step;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = locate(workgroup, grid, lane);
    if place.count == 0u {
        return;
    }
    let quad = load_quad(place);
    let finite = is_finite(quad.found);
    let g = limited(quad.found, finite);
    var state = load_state(place);
    let tensor = load_tensor(place);
    // The update is called twice, and compilers merge the two calls. So the state is stored while
    // the parameter's root and division are still under way. See benches/README.md for what that
    // gains.
    var next = state;
    update_at(quad.p, g, &next, tensor);
    store_state(place, next);
    let updated = outcome(update_at(quad.p, g, &state, tensor), finite);
    store_quad(quad, updated);
}

// Four elements: what is loaded of them but their state, and what is stored once all is loaded.

struct Quad {
    place: Place,
    p: vec4<f32>,
    found: vec4<f32>,
    average: vec4<f32>,
}

fn load_quad(place: Place) -> Quad {
    return Quad(place, load_param(place), scaled(load_grad(place), place), load_average(place));
}

fn store_quad(quad: Quad, p: vec4<f32>) {
    store_param(quad.place, p);
    store_copy(quad.place, p);
    store_average(quad.place, quad.p, p, quad.average);
    if ZERO_GRAD {
        zero_grad(quad.place);
    }
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

// An arena: parameters, gradients and state share one indexing, padded to whole workgroups.

fn locate(workgroup: vec3<u32>, grid: vec3<u32>, lane: u32) -> Place {
    let first = (workgroup.x * 256u + lane) * 4u;
    return Place(first, first, first, 4u);
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

// There is no running mean of the parameters.

fn load_average(place: Place) -> vec4<f32> {
    return vec4<f32>();
}

fn store_average(place: Place, p: vec4<f32>, updated: vec4<f32>, average: vec4<f32>) {
}

// There is no copy of the parameters.

fn store_copy(place: Place, p: vec4<f32>) {
}

// The rule's slots; those that the variant leaves unused read as zero.


fn load_state(place: Place) -> State {
    var state = State();
    return state;
}

fn store_state(place: Place, state: State) {
}

fn load_tensor(place: Place) -> OfTensor {
    var tensor = OfTensor();
    return tensor;
}

fn update_at(
    p: vec4<f32>,
    g: vec4<f32>,
    s: ptr<function, State>,
    tensor: OfTensor,
) -> vec4<f32> {
    var undecayed = now;
    undecayed.decay = 0.0;
    return update(p, g, s, hyper, undecayed, tensor);
}
