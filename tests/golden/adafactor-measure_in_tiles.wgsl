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

// Eight neighbouring threads add up what the rule measures in a tile. No thread waits for another.

@group(0) @binding(0) var<uniform> hyper: Hyper;
@group(0) @binding(1) var<uniform> now: Step;
// Two entries per tile: its span, and in x its first partial sum.
@group(0) @binding(4) var<storage, read> spans: array<vec4<u32>>;
@group(0) @binding(12) var<storage, read_write> partials: array<vec4<f32>>;

fn grad_at(place: Place) -> vec4<f32> {
    let found = scaled(load_grad(place), place);
    return limited(found, is_finite(found));
}

// What four elements add to the sums of a tile.
fn measured_at(place: Place, gathered: Gathered, tensor: OfTensor) -> Sums {
    let p = load_param(place);
    return measure(p, grad_at(place), load_state(place, gathered), hyper, now, tensor);
}

@compute @workgroup_size(64)
fn measure_matrices(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = 2u * tile_of(workgroup, grid, lane);
    if index >= arrayLength(&spans) {
        return;
    }
    let tile = find_tile(spans[index]);
    let tensor = load_tensor(tile.first);
    var sums = Sums();
    let in_pairs = tile.rows - tile.rows % 2u;
    for (var row = 0u; row < in_pairs; row += 2u) {
        let upper = factor_of(tile, row);
        let lower = factor_of(tile, row + 1u);
        for (var column = first_column(lane); column < tile.columns; column += NEXT_QUAD) {
            let columns = columns_of(tile, column);
            let a = measured_at(place_in(tile, row, column), Gathered(upper, columns), tensor);
            let b = measured_at(place_in(tile, row + 1u, column), Gathered(lower, columns), tensor);
            add(&sums, a);
            add(&sums, b);
        }
    }
    for (var row = in_pairs; row < tile.rows; row++) {
        let factor = factor_of(tile, row);
        for (var column = first_column(lane); column < tile.columns; column += NEXT_QUAD) {
            let gathered = Gathered(factor, columns_of(tile, column));
            add(&sums, measured_at(place_in(tile, row, column), gathered, tensor));
        }
    }
    partials[spans[index + 1u].x + lane % TILE_THREADS] = total(sums);
}

// A vector has no mean to wait for. So the state of its columns is updated here, where it is read.
@compute @workgroup_size(64)
fn measure_vectors(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = 2u * tile_of(workgroup, grid, lane);
    if index >= arrayLength(&spans) {
        return;
    }
    let tile = find_tile(spans[index]);
    let tensor = load_tensor(tile.first);
    let factor = factor_of(tile, 0u);
    var sums = Sums();
    for (var column = first_column(lane); column < tile.columns; column += NEXT_QUAD) {
        let place = place_in(tile, 0u, column);
        let p = load_param(place);
        let g = grad_at(place);
        let columns = moved_lines(columns_of(tile, column), lines_of(g));
        lines[(tile.kept + column) / 4u] = columns;
        let state = load_state(place, Gathered(factor, columns));
        add(&sums, measure(p, g, state, hyper, now, tensor));
    }
    partials[spans[index + 1u].x + lane % TILE_THREADS] = total(sums);
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

// A tile of a matrix, or a part of a vector. Eight neighbouring threads have a tile, and each of them has one
// quad of every 32 columns. They walk along two rows at a time, so that memory is read in order, and what is
// kept of columns is loaded once for both.

// Each span reaches from the first element of its tile to the last. Host side: src/plan/tiles.rs.
const TILE_THREADS: u32 = 8u;

// From a thread's quad to its next one.
const NEXT_QUAD: u32 = 32u;

struct Tile {
    first: Place,       // its first four elements
    rows: u32,
    columns: u32,
    stride: u32,        // elements from one row to the next
    factors: u32,       // where its first row's factor is kept
    kept: u32,          // where its first column is kept
}

fn find_tile(span: vec4<u32>) -> Tile {
    let first = Place(span.x, span.y, span.z, 4u);
    let entry = row_of(first) / 4u;
    let size = tensors[entry];
    let starts = tensors[entry + 1u];
    let stride = size.z;
    let element = UNIT * window.y + first.state - size.w;
    let row = element / stride;
    let column = element - row * stride;
    let matrix = row / size.y;
    // No tile is wider than its matrix.
    let below = (span.w - 1u) / stride;
    return Tile(
        first,
        below + 1u,
        span.w - below * stride,
        stride,
        starts.x + row,
        starts.y + matrix * stride + column,
    );
}

// The number of a thread's tile.
fn tile_of(workgroup: vec3<u32>, grid: vec3<u32>, lane: u32) -> u32 {
    return 64u / TILE_THREADS * (workgroup.y * grid.x + workgroup.x) + lane / TILE_THREADS;
}

fn first_column(lane: u32) -> u32 {
    return 4u * (lane % TILE_THREADS);
}

// The four elements from `column` on.
fn place_in(tile: Tile, row: u32, column: u32) -> Place {
    let offset = row * tile.stride + column;
    let first = tile.first;
    return Place(first.param + offset, first.grad + offset, first.state + offset, 4u);
}

// The state of the row and of the columns of four elements.
struct Gathered {
    factor: vec4<f32>,
    column: vec4<f32>,
}

fn factor_of(tile: Tile, row: u32) -> vec4<f32> {
    let i = tile.factors + row;
    return vec4<f32>(lines[i / 4u][i % 4u]);
}

fn columns_of(tile: Tile, column: u32) -> vec4<f32> {
    return lines[(tile.kept + column) / 4u];
}

// What the rule computes of four lines.

// What is averaged along a line, of four elements.
fn lines_of(g: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(line(g.x, hyper), line(g.y, hyper), line(g.z, hyper), line(g.w, hyper));
}

fn moved_line(kept: f32, mean: f32) -> f32 {
    return move_line(kept, bounded(mean), hyper, now);
}

fn moved_lines(kept: vec4<f32>, mean: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(
        moved_line(kept.x, mean.x),
        moved_line(kept.y, mean.y),
        moved_line(kept.z, mean.z),
        moved_line(kept.w, mean.w),
    );
}

// A sum that overflowed becomes the largest f32. Otherwise an infinity would stay in the state for
// good. NaN stays NaN. Twin: bounded in src/rule/twin.rs
fn bounded(sum: f32) -> f32 {
    return select(clamp(sum, -3.4e38, 3.4e38), sum, is_nan(vec4<f32>(sum)).x);
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

// The rule's slots; those that the variant leaves unused read as zero.


@group(0) @binding(11) var<storage, read_write> lines: array<vec4<f32>>;

fn load_state(place: Place, gathered: Gathered) -> State {
    var state = State();
    state.row_factor = gathered.factor;
    state.col_var = gathered.column;
    return state;
}

fn store_state(place: Place, state: State) {
}

// Where a dispatch's part of the state begins, in units of UNIT elements: x in that of all groups,
// y in that of its own. Every tensor starts at a unit. z is what the random bits of rounding begin from.
@group(0) @binding(14) var<uniform> window: vec4<u32>;

const UNIT: u32 = 64u;

// The table as quads, for shaders that read most of a row.

@group(0) @binding(13) var<storage, read> tensors: array<vec4<u32>>;

fn tensor_word(i: u32) -> u32 {
    return tensors[i / 4u][i % 4u];
}

// The state of each tensor, as a table of words. Host side: src/gpu/tensors.rs. The first four
// words say where the rows begin, how long a row is, how many rows there are, and how many of them
// conclude together. Then comes, for each UNIT of elements of the group, the place of its tensor's
// row. Then come the rows. A row has the number of elements, rows, columns, first element in the
// group, where its lines begin (two words), two words of padding, and then the values of the slots.

fn row_of(place: Place) -> u32 {
    return tensor_word(4u + window.y + place.state / UNIT);
}

fn load_tensor(place: Place) -> OfTensor {
    var tensor = OfTensor();
    return tensor;
}

