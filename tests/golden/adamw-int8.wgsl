// Adam and AdamW. Kingma & Ba 2015, arXiv:1412.6980; Loshchilov & Hutter 2019, arXiv:1711.05101;
// AMSGrad: Reddi et al. 2018, arXiv:1904.09237; Nesterov: Dozat 2016. Twin: src/rules/adam.rs

fn direction(g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    (*s).exp_avg = ema((*s).exp_avg, g, h.pull_beta1);
    (*s).exp_avg_sq = ema((*s).exp_avg_sq, g * g, h.pull_beta2);
    // at: the weights of m and of g in m̂, the correction of v before and after the maximum.
    var m_hat = now.at.x * (*s).exp_avg;
    if NESTEROV {
        m_hat += now.at.y * g;
    }
    var v = (*s).exp_avg_sq;
    if AMSGRAD {
        v = max((*s).max_exp_avg_sq, now.at.z * v);
        (*s).max_exp_avg_sq = v;
    }
    let v_hat = now.at.w * v;
    return m_hat / root(v_hat, h.eps);
}

// √v, with eps added beside the root or inside it. A constant decides, so only one sum is compiled.
// Twin: `root` in src/rules/mod.rs
fn root(v: vec4<f32>, eps: f32) -> vec4<f32> {
    var radicand = v;
    if EPS_INSIDE_ROOT {
        radicand += eps;
    }
    var root = sqrt(radicand);
    if !EPS_INSIDE_ROOT {
        root += eps;
    }
    return root;
}

// The parameter after a step along u, and after the decay beside it.
fn stepped(p: vec4<f32>, u: vec4<f32>, now: Step) -> vec4<f32> {
    return p - (now.decay * p + now.lr * u);
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
    pull_beta1: f32,
    pull_beta2: f32,
    eps: f32,
}

struct State {
    exp_avg: vec4<f32>,
    exp_avg_sq: vec4<f32>,
    max_exp_avg_sq: vec4<f32>,
}

struct OfTensor {
    mask_scale: f32,
}

// The variant.

const NESTEROV: bool = false;
const AMSGRAD: bool = false;
const EPS_INSIDE_ROOT: bool = false;
const ZERO_GRAD: bool = false;
const MOST_GRAD: f32 = 4.611686018427388e18;
const SQUARES_GRADS: bool = true;
const UPDATES_BY_GRADS: bool = true;

// The entry point of an update whose state is stored in blocks: step.wgsl with a block of 16 elements to
// a thread. So no thread waits for another. Parameters are stored before the block is encoded, so that
// compilers need fewer registers for it.

@group(0) @binding(0) var<uniform> hyper: Hyper;
@group(0) @binding(1) var<uniform> now: Step;

fn updated_in_block(quad: Quad, before: State) -> Updated {
    // What does not exist adds nothing to its block.
    if quad.place.count == 0u {
        return Updated();
    }
    return updated(quad, before, load_tensor(quad.place));
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = locate(workgroup, grid, 4u * lane);
    if place.count == 0u {
        return;
    }
    let block = load_block(place);
    let a = load_quad(place);
    let b = load_quad(locate(workgroup, grid, 4u * lane + 1u));
    let c = load_quad(locate(workgroup, grid, 4u * lane + 2u));
    let d = load_quad(locate(workgroup, grid, 4u * lane + 3u));
    let next_a = updated_in_block(a, state_of(a.place, block, 0u));
    store_updated(a, next_a);
    let next_b = updated_in_block(b, state_of(b.place, block, 1u));
    store_updated(b, next_b);
    let next_c = updated_in_block(c, state_of(c.place, block, 2u));
    store_updated(c, next_c);
    let next_d = updated_in_block(d, state_of(d.place, block, 3u));
    store_updated(d, next_d);
    store_block(place, next_a.state, next_b.state, next_c.state, next_d.state);
}

// The update of a quad, for entry points with several quads.

struct Updated {
    p: vec4<f32>,
    state: State,
}

fn updated(quad: Quad, before: State, tensor: OfTensor) -> Updated {
    let finite = is_finite(quad.found);
    let g = limited(quad.found, finite);
    var state = before;
    let p = update_at(quad.p, g, &state, tensor);
    return Updated(outcome(p, finite), state);
}

fn store_updated(quad: Quad, updated: Updated) {
    if quad.place.count > 0u {
        store_state(quad.place, updated.state);
        store_quad(quad, updated.p);
    }
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

// Elements as the upper halves of f32, two to a word, rounded stochastically. Twin: src/format/bf16.rs

alias Quad_bf16 = vec2<u32>;

fn decode_bf16(quad: Quad_bf16) -> vec4<f32> {
    let low = quad << vec2<u32>(16u);
    let high = quad & vec2<u32>(0xffff0000u);
    return bitcast<vec4<f32>>(vec4<u32>(low.x, high.x, low.y, high.y));
}

fn encode_bf16(value: vec4<f32>, random: vec4<u32>) -> Quad_bf16 {
    let bits = bitcast<vec4<u32>>(value);
    let magnitude = bits & vec4<u32>(0x7fffffffu);
    // An infinity stays one, and a NaN keeps a bit of its mantissa.
    let is_nan = magnitude > vec4<u32>(0x7f800000u);
    let special = bits | select(vec4<u32>(), vec4<u32>(0x400000u), is_nan);
    let halves = select(special, bits + random, magnitude < vec4<u32>(0x7f800000u));
    return (halves.xz >> vec2<u32>(16u)) | (halves.yw & vec2<u32>(0xffff0000u));
}

// Elements in IEEE half precision, two to a word. They are only read. It is done on integers, since
// devices may flush what is subnormal and make anything of infinities. Twin: src/format/f16.rs

alias Quad_f16 = vec2<u32>;

fn decode_f16(quad: Quad_f16) -> vec4<f32> {
    let low = quad & vec2<u32>(0xffffu);
    let high = quad >> vec2<u32>(16u);
    let halves = vec4<u32>(low.x, high.x, low.y, high.y);
    let signs = (halves & vec4<u32>(0x8000u)) << vec4<u32>(16u);
    let magnitudes = halves & vec4<u32>(0x7fffu);
    // The exponents' biases are 15 and 127.
    let normal = (magnitudes << vec4<u32>(13u)) + vec4<u32>(112u << 23u);
    let subnormal = bitcast<vec4<u32>>(vec4<f32>(magnitudes) * 5.9604645e-8);
    let special = (magnitudes << vec4<u32>(13u)) | vec4<u32>(0x7f800000u);
    let finite = select(normal, subnormal, magnitudes < vec4<u32>(0x400u));
    let bits = select(finite, special, magnitudes >= vec4<u32>(0x7c00u));
    return bitcast<vec4<f32>>(bits | signs);
}

// Eight bits that say how far an element lies below the largest of its block of 16, in octaves. All of
// it is done on integers. l is 4 for signed values, which have 7 bits for that, and 8 for others. Four
// elements are a word. Twin: src/format/int8.rs

// The magnitudes' bits. Subnormals count as zero.
fn magnitudes(value: vec4<f32>) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(value) & vec4<u32>(0x7fffffffu);
    return select(vec4<u32>(), bits, bits >= vec4<u32>(0x800000u));
}

// The largest of a block.
fn top(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>) -> u32 {
    let most = max(max(magnitudes(a), magnitudes(b)), max(magnitudes(c), magnitudes(d)));
    return max(max(most.x, most.y), max(most.z, most.w));
}

// The codes of magnitudes, without their signs, in a block whose largest is `top`. A distance lies in one
// of three ranges, each with half the steps of the one before.
fn codes(magnitude: vec4<u32>, top: u32, random: vec4<u32>, l: u32, last: u32) -> vec4<u32> {
    let distance = vec4<u32>(top) - magnitude;
    let range = min(distance / (l << 23u), vec4<u32>(2u));
    let added = (2u * random + 1u) << (range + 2u);
    let code = 8u * l * range + ((distance + added) >> (range + 19u));
    return select(min(code, vec4<u32>(last)), vec4<u32>(32u * l - 1u), magnitude == vec4<u32>());
}

// The magnitudes of codes, in a block whose largest is `top`.
fn magnitudes_of(code: vec4<u32>, top: u32, l: u32) -> vec4<u32> {
    let range = max(code / (8u * l), vec4<u32>(1u)) - 1u;
    let distance = (code - 8u * l * range) << (range + 19u);
    let bits = max(vec4<i32>(vec4<u32>(top) - distance), vec4<i32>(0x800000));
    let is_zero = (code == vec4<u32>(32u * l - 1u)) | vec4<bool>(top < 0x800000u);
    return select(vec4<u32>(bits), vec4<u32>(), is_zero);
}

fn bytes_of(word: u32) -> vec4<u32> {
    return (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(0xffu);
}

fn word_of(bytes: vec4<u32>) -> u32 {
    return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
}

// The eight bits of signed values: the sign is the highest. See log8.wgsl.

alias Quad_int8 = u32;

fn decode_int8(word: Quad_int8, top: u32) -> vec4<f32> {
    let bytes = bytes_of(word);
    let signs = (bytes >> vec4<u32>(7u)) << vec4<u32>(31u);
    return bitcast<vec4<f32>>(magnitudes_of(bytes & vec4<u32>(127u), top, 4u) | signs);
}

fn encode_int8(value: vec4<f32>, top: u32, random: vec4<u32>) -> Quad_int8 {
    let signs = (bitcast<vec4<u32>>(value) >> vec4<u32>(31u)) << vec4<u32>(7u);
    return word_of(codes(magnitudes(value), top, random, 4u, 127u) | signs);
}

// The eight bits of values that are not negative. Only zero has the code of zero. See log8.wgsl.

alias Quad_uint8 = u32;

fn decode_uint8(word: Quad_uint8, top: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(magnitudes_of(bytes_of(word), top, 8u));
}

fn encode_uint8(value: vec4<f32>, top: u32, random: vec4<u32>) -> Quad_uint8 {
    return word_of(codes(magnitudes(value), top, random, 8u, 254u));
}

alias ParamQuad = Quad_bf16;

fn decode_param(quad: ParamQuad, place: Place) -> vec4<f32> {
    return decode_bf16(quad);
}

fn encode_param(value: vec4<f32>, place: Place) -> ParamQuad {
    return encode_bf16(value, random(place, 0u));
}

alias GradQuad = Quad_f16;

fn decode_grad(quad: GradQuad) -> vec4<f32> {
    return decode_f16(quad);
}
// The random bits of stochastic rounding. They follow from a seed, a step, a slot and an element, so
// that every device and the twin draw the same. Twin: src/format/random.rs

// O'Neill's permuted congruential generator, as a hash.
fn pcg(x: u32) -> u32 {
    let s = x * 747796405u + 2891336453u;
    let w = ((s >> ((s >> 28u) + 4u)) ^ s) * 277803737u;
    return (w >> 22u) ^ w;
}

// 16 bits for each of four elements, of the performed step now.t. window.z is the hash of the group's
// seed.
fn random(place: Place, slot: u32) -> vec4<u32> {
    return random_from(place, 0u, slot);
}

// The same for the four that are `further` fours behind.
fn random_from(place: Place, further: u32, slot: u32) -> vec4<u32> {
    let quad = window.y * (UNIT / 4u) + place.state / 4u + further;
    let step = pcg(window.z ^ now.t);
    let a = pcg(quad ^ pcg(step + 2u * slot));
    let b = pcg(quad ^ pcg(step + 2u * slot + 1u));
    return vec4<u32>(a & 0xffffu, a >> 16u, b & 0xffffu, b >> 16u);
}
// 64 elements that are stored in eight bits: the scales of four blocks of 16, and then their codes.
struct Unit {
    scales: array<u32, 4>,
    codes: array<vec4<u32>, 4>,
}

// The unit that an element lies in, and its block there.
fn unit_of(place: Place) -> u32 {
    return place.state / 64u;
}

fn block_of(place: Place) -> u32 {
    return place.state / 16u % 4u;
}

// The codes of a block, a quad to a word, and its scale.
struct Codes {
    quads: vec4<u32>,
    top: u32,
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

@group(0) @binding(5) var<storage, read_write> slot_exp_avg: array<Unit>;
@group(0) @binding(6) var<storage, read_write> slot_exp_avg_sq: array<Unit>;

struct Block {
    exp_avg: Codes,
    exp_avg_sq: Codes,
}

fn load_block(place: Place) -> Block {
    var block = Block();
    block.exp_avg = Codes(slot_exp_avg[unit_of(place)].codes[block_of(place)], slot_exp_avg[unit_of(place)].scales[block_of(place)]);
    block.exp_avg_sq = Codes(slot_exp_avg_sq[unit_of(place)].codes[block_of(place)], slot_exp_avg_sq[unit_of(place)].scales[block_of(place)]);
    return block;
}

fn state_of(place: Place, block: Block, quad: u32) -> State {
    var state = State();
    state.exp_avg = decode_int8(block.exp_avg.quads[quad], block.exp_avg.top);
    state.exp_avg_sq = decode_uint8(block.exp_avg_sq.quads[quad], block.exp_avg_sq.top);
    return state;
}

fn load_state(place: Place) -> State {
    return state_of(place, load_block(place), place.state / 4u % 4u);
}

fn store_state(place: Place, state: State) {
}

fn store_block(place: Place, a: State, b: State, c: State, d: State) {
    let top_exp_avg_sq = top(a.exp_avg_sq, b.exp_avg_sq, c.exp_avg_sq, d.exp_avg_sq);
    slot_exp_avg_sq[unit_of(place)].scales[block_of(place)] = top_exp_avg_sq;
    slot_exp_avg_sq[unit_of(place)].codes[block_of(place)] = vec4<u32>(
        encode_uint8(a.exp_avg_sq, top_exp_avg_sq, random_from(place, 0u, 2u)),
        encode_uint8(b.exp_avg_sq, top_exp_avg_sq, random_from(place, 1u, 2u)),
        encode_uint8(c.exp_avg_sq, top_exp_avg_sq, random_from(place, 2u, 2u)),
        encode_uint8(d.exp_avg_sq, top_exp_avg_sq, random_from(place, 3u, 2u)),
    );
    let top_exp_avg = top(a.exp_avg, b.exp_avg, c.exp_avg, d.exp_avg);
    slot_exp_avg[unit_of(place)].scales[block_of(place)] = top_exp_avg;
    slot_exp_avg[unit_of(place)].codes[block_of(place)] = vec4<u32>(
        encode_int8(a.exp_avg, top_exp_avg, random_from(place, 0u, 1u)),
        encode_int8(b.exp_avg, top_exp_avg, random_from(place, 1u, 1u)),
        encode_int8(c.exp_avg, top_exp_avg, random_from(place, 2u, 1u)),
        encode_int8(d.exp_avg, top_exp_avg, random_from(place, 3u, 1u)),
    );
}

// Where a dispatch's part of the state begins, in units of UNIT elements: x in that of all groups,
// y in that of its own. Every tensor starts at a unit. z is what the random bits of rounding begin from.
@group(0) @binding(14) var<uniform> window: vec4<u32>;

const UNIT: u32 = 64u;

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
    return update(p, g, s, hyper, now, tensor);
}
