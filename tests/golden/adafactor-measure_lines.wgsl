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

// Adds up what the rule computes from the gradient, along the rows and the columns of a tile of a
// matrix. Eight neighbouring threads have a tile, of up to 256 columns and any number of rows. Each of
// them has four of every 32 columns, and no thread waits for another. A vector needs no sums: the
// state of its columns is updated at once.

@group(0) @binding(0) var<uniform> hyper: Hyper;
@group(0) @binding(1) var<uniform> now: Step;

// Host side: src/gpu/lines/tiling.rs.
struct LineTile {
    grad: u32,          // its first element in the gradients
    state: u32,         // and in the state
    stride: u32,        // elements from one row to the next
    rows: u32,          // 0 if it is part of a vector
    columns: u32,
    row_sums: u32,      // where the first thread's sums of rows go
    apart: u32,         // from there to the next thread's
    column_sums: u32,   // where the sums of columns go or, of a vector, where its columns are kept
}

@group(0) @binding(4) var<storage, read> tiles: array<LineTile>;
@group(0) @binding(11) var<storage, read_write> lines: array<vec4<f32>>;
@group(0) @binding(12) var<storage, read_write> partials: array<f32>;

// From four columns of a thread to its next four.
const NEXT_QUAD = 32u;

// Which of the four columns from `column` on the tile has.
fn has_columns(tile: LineTile, column: u32) -> vec4<bool> {
    return vec4<u32>(column) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(tile.columns);
}

// Of the four columns from `column` on, in the row that begins at `start`. Columns that the tile does
// not have are zero; the first is read in their place, since a branch costs llvmpipe more.
fn values_at(tile: LineTile, start: u32, column: u32) -> vec4<f32> {
    let is_within = column < tile.columns;
    let offset = start + select(0u, column, is_within);
    let count = select(1u, min(tile.columns - column, 4u), is_within);
    let place = Place(0u, tile.grad + offset, tile.state + offset, count);
    let found = scaled(load_grad(place), place);
    let g = limited(found, is_finite(found));
    return select(vec4<f32>(), lines_of(g), has_columns(tile, column));
}

fn keep_columns(tile: LineTile, column: u32, sums: vec4<f32>) {
    for (var i = 0u; i < 4u && column + i < tile.columns; i++) {
        partials[tile.column_sums + column + i] = sums[i];
    }
}

fn measure_matrix(tile: LineTile, thread: u32) {
    let first = 4u * thread;
    var sums = array<vec4<f32>, 8>();
    for (var row = 0u; row < tile.rows; row++) {
        let start = row * tile.stride;
        let a = values_at(tile, start, first);
        sums[0] += a;
        var in_row = a;
        if tile.columns > NEXT_QUAD {
            let b = values_at(tile, start, first + NEXT_QUAD);
            let c = values_at(tile, start, first + 2u * NEXT_QUAD);
            let d = values_at(tile, start, first + 3u * NEXT_QUAD);
            sums[1] += b;
            sums[2] += c;
            sums[3] += d;
            in_row += b + (c + d);
        }
        if tile.columns > 4u * NEXT_QUAD {
            let e = values_at(tile, start, first + 4u * NEXT_QUAD);
            let f = values_at(tile, start, first + 5u * NEXT_QUAD);
            sums[4] += e;
            sums[5] += f;
            in_row += e + f;
        }
        if tile.columns > 6u * NEXT_QUAD {
            let g = values_at(tile, start, first + 6u * NEXT_QUAD);
            let h = values_at(tile, start, first + 7u * NEXT_QUAD);
            sums[6] += g;
            sums[7] += h;
            in_row += g + h;
        }
        if first < tile.columns {
            partials[tile.row_sums + thread * tile.apart + row] = dot(in_row, vec4<f32>(1.0));
        }
    }
    keep_columns(tile, first, sums[0]);
    keep_columns(tile, first + NEXT_QUAD, sums[1]);
    keep_columns(tile, first + 2u * NEXT_QUAD, sums[2]);
    keep_columns(tile, first + 3u * NEXT_QUAD, sums[3]);
    keep_columns(tile, first + 4u * NEXT_QUAD, sums[4]);
    keep_columns(tile, first + 5u * NEXT_QUAD, sums[5]);
    keep_columns(tile, first + 6u * NEXT_QUAD, sums[6]);
    keep_columns(tile, first + 7u * NEXT_QUAD, sums[7]);
}

// measure_matrix where no thread has more than four columns, since llvmpipe loads what is not there too.
fn measure_panel(tile: LineTile, thread: u32) {
    let first = 4u * thread;
    var sums = vec4<f32>();
    for (var row = 0u; row < tile.rows; row++) {
        let values = values_at(tile, row * tile.stride, first);
        sums += values;
        if first < tile.columns {
            partials[tile.row_sums + thread * tile.apart + row] = dot(values, vec4<f32>(1.0));
        }
    }
    keep_columns(tile, first, sums);
}

fn move_vector(tile: LineTile, thread: u32) {
    for (var column = 4u * thread; column < tile.columns; column += NEXT_QUAD) {
        let at = (tile.column_sums + column) / 4u;
        let kept = lines[at];
        let next = moved_lines(kept, values_at(tile, 0u, column));
        lines[at] = select(kept, next, has_columns(tile, column));
    }
}

@compute @workgroup_size(64)
fn measure_lines(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = 8u * (workgroup.y * grid.x + workgroup.x) + lane / 8u;
    if index >= arrayLength(&tiles) {
        return;
    }
    let tile = tiles[index];
    if tile.rows > 0u {
        measure_matrix(tile, lane % 8u);
    } else {
        move_vector(tile, lane % 8u);
    }
}

// The same of matrices with up to 32 columns.
@compute @workgroup_size(64)
fn measure_narrow(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = 8u * (workgroup.y * grid.x + workgroup.x) + lane / 8u;
    if index < arrayLength(&tiles) {
        measure_panel(tiles[index], lane % 8u);
    }
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

// Four neighbouring elements: where they begin in each binding, and how many of them exist.
struct Place {
    param: u32,
    grad: u32,
    state: u32,
    count: u32,
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

// Gradients are scaled: by the loss scale, by the number of micro-batches, by the sign.

fn scaled(g: vec4<f32>, place: Place) -> vec4<f32> {
    return now.grad_scale * g;
}

// Elements as f32.

alias Quad_f32 = vec4<f32>;

fn decode_f32(quad: Quad_f32) -> vec4<f32> {
    return quad;
}

fn encode_f32(value: vec4<f32>) -> Quad_f32 {
    return value;
}

alias GradQuad = Quad_f32;

fn decode_grad(quad: GradQuad) -> vec4<f32> {
    return decode_f32(quad);
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
