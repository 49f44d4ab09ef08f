// Turns what the host recorded into this step's numbers, one Step per parameter group.
//
// Learning rates belong to the recorded step n, coefficients to the performed step t, which only the
// device knows: a step may be skipped, and its encoder may be dropped. So the coefficients of the steps
// after t are kept here until they are performed, in a ring for each group. Those that the ring has no
// room for yet come again with later steps. It knows no rule. Host side: src/gpu/begin_step.rs,
// src/gpu/waiting.rs.

// What goes with the performed step.
struct Coefficients {
    at: vec4<f32>,
    average_weight: f32,
    n: u32,             // of the recorded step that brought them; 0: of none
    epoch: u32,         // changes when n is set anew
}

struct Recorded {
    own: Coefficients,  // those of the nth performed step; n is 0 if the group rests
    before: Coefficients, // those of the step recorded before, in case that its encoder was dropped
    due: array<Coefficients, 4>, // some of those that the ring may lack
    lr: f32,
    decay: f32,
    grad_scale: f32,
    refreshed: f32,
    base: u32,          // what n was set to in this epoch
    beyond: u32,        // what the true count, in its lower 32 bits, has beyond n
}

// One uniform binding each, at the 256-byte offsets that every device allows.
struct StepSlot {
    step: Step,
    padding: array<vec4<f32>, 13>,
}

// What becomes of a step. Gradients are multiplied by both numbers.
struct Verdict {
    is_skipped: bool,
    grad_scale: f32,
    grad_unit: f32,
}

@group(0) @binding(17) var<storage, read> recorded: array<Recorded>;
@group(0) @binding(18) var<storage, read_write> ring: array<Coefficients>;
@group(0) @binding(19) var<storage, read_write> stats: Stats;
@group(0) @binding(20) var<storage, read_write> steps: array<StepSlot>;

fn ring_length() -> u32 {
    return arrayLength(&ring) / arrayLength(&recorded);
}

fn place_of(group: u32, n: u32) -> u32 {
    return group * ring_length() + n % ring_length();
}

// Keeps coefficients of one of the steps after t that there is room for.
fn keep(group: u32, t: u32, coefficients: Coefficients) {
    if coefficients.n > t && coefficients.n - t <= ring_length() {
        ring[place_of(group, coefficients.n)] = coefficients;
    }
}

// The coefficients of the performed step t. Those that were lost in dropped encoders, or that the host
// could not know to be due, are replaced by the step's own.
fn due(group: u32, t: u32, own: Coefficients) -> Coefficients {
    let kept = ring[place_of(group, t)];
    if kept.n == t && kept.epoch == own.epoch {
        return kept;
    }
    return own;
}

// A group's statistics. If its step count was set, counting starts over.
fn counted(group: u32, epoch: u32, base: u32) -> GroupStats {
    var found = stats.groups[group];
    if epoch != found.epoch {
        found.epoch = epoch;
        found.step_count = base;
        found.skipped = 0u;
    }
    return found;
}

// A step's own count: the lower 32 bits of the true one, from which rounding draws. Only a first step is 1,
// and only none is 0. Twin: src/format/random.rs
fn told(t: u32, beyond: u32) -> u32 {
    return select(t, max(t + beyond, 2u), t > 1u);
}

// Begins the step of a group that takes part.
fn begin(group: u32, what: Verdict) {
    let row = recorded[group];
    if row.own.n == 0u {
        return;
    }
    var after = counted(group, row.own.epoch, row.base);
    keep_due(group, after.step_count);
    keep(group, after.step_count, row.before);
    keep(group, after.step_count, row.own);
    after.lr = row.lr;
    if what.is_skipped {
        after.skipped += 1u;
        steps[group].step.t = told(after.step_count, row.beyond);
    } else {
        after.step_count += 1u;
        let coefficients = due(group, after.step_count, row.own);
        steps[group].step = Step(
            row.lr,
            row.decay,
            row.grad_scale * what.grad_scale,
            told(after.step_count, row.beyond),
            coefficients.at,
            row.refreshed,
            coefficients.average_weight,
            what.grad_unit,
        );
    }
    stats.groups[group] = after;
}

// Begins the steps of all groups.

// Brings step counts that were set to the device without a step.
@compute @workgroup_size(64)
fn recount(@builtin(local_invocation_index) lane: u32) {
    for (var group = lane; group < arrayLength(&recorded); group += 64u) {
        let found = counted(group, recorded[group].own.epoch, recorded[group].base);
        stats.groups[group] = found;
        steps[group].step.t = told(found.step_count, recorded[group].beyond);
    }
}

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    let what = verdict(lane);
    // All have looked at stats before any of it changes.
    storageBarrier();
    for (var group = lane; group < arrayLength(&recorded); group += 64u) {
        begin(group, what);
    }
    carry_out(!what.is_skipped, lane);
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

// The training statistics, kept on the device. Host side: src/gpu/records.rs.
struct Stats {
    loss_scale: f32,        // first, so that callers can bind it
    good_steps: u32,        // since the loss scale changed
    norm: f32,              // of the last performed step's gradients, in units of 2^exponent
    exponent: i32,
    clip_factor: f32,
    performed: u32,
    skipped: u32,
    is_there: u32,          // never 0, unlike what was never copied
    groups: array<GroupStats>,
}

struct GroupStats {
    lr: f32,
    step_count: u32,        // steps performed
    skipped: u32,
    epoch: u32,             // of the step count
    damping: f32,           // the largest of the last step's systems of equations
    failures: u32,          // of factorisations, so far
    unsolved: u32,          // systems with NaN or infinity, so far
}

// A step is performed only if all gradients of all groups that take part are finite. Its gradients
// are divided by the loss scale and the number of micro-batches, and clipped.

// The workgroups of a dispatch that is sometimes left out: those it has, and those it gets.
struct Switch {
    x: u32,
    y: u32,
    z: u32,
    if_skipped: u32,        // whether it is for skipped steps, or for performed ones
    got_x: u32,
    got_y: u32,
    got_z: u32,
    padding: u32,
}

@group(0) @binding(6) var<storage, read> runs: array<Run>;
@group(0) @binding(7) var<storage, read_write> switches: array<Switch>;

var<workgroup> squares: array<f32, 64>;
var<workgroup> exponents: array<i32, 64>;
var<workgroup> largest: array<u32, 64>;

// The largest scale: the inverse of what gradients are divided by must be a normal number.
fn largest_scale() -> f32 {
    return power_of_two(126) * guard.per_batch;
}

// Whether the loss scale is a normal number above zero and not too large: a caller may have written
// anything there.
fn is_usable(scale: f32) -> bool {
    let bits = bitcast<u32>(scale);
    return bits >= 0x00800000u && bits < 0x7f800000u && scale <= largest_scale();
}

fn takes_part(run: u32) -> bool {
    return recorded[runs[run].group].own.n != 0u;
}

// Finds the bits of the largest magnitude, and an exponent that all sums can be brought to.
fn find_largest(lane: u32) {
    // With a scale that cannot be used, the step is skipped like one with infinite gradients.
    largest[lane] = select(0x7f800000u, 0u, is_usable(stats.loss_scale));
    exponents[lane] = -126;
    for (var run = lane; run < arrayLength(&runs); run += 64u) {
        if takes_part(run) {
            largest[lane] = max(largest[lane], runs[run].largest);
            if runs[run].largest > 0u {
                exponents[lane] = max(exponents[lane], runs[run].exponent);
            }
        }
    }
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if lane < half {
            largest[lane] = max(largest[lane], largest[lane + half]);
            exponents[lane] = max(exponents[lane], exponents[lane + half]);
        }
        workgroupBarrier();
    }
}

// The sum of all squares, each divided by 2^exponent first.
fn sum_squares(lane: u32, exponent: i32) {
    squares[lane] = 0.0;
    for (var run = lane; run < arrayLength(&runs); run += 64u) {
        if takes_part(run) && runs[run].largest > 0u {
            let unit = power_of_two(max(runs[run].exponent - exponent, -126));
            squares[lane] += unit * (unit * runs[run].squares);
        }
    }
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if lane < half {
            squares[lane] += squares[lane + half];
        }
        workgroupBarrier();
    }
}

fn verdict(lane: u32) -> Verdict {
    find_largest(lane);
    let most = workgroupUniformLoad(&largest[0]);
    if most >= 0x7f800000u {
        return Verdict(true, 0.0, 0.0);
    }
    // If all gradients are zero, the norm is zero in any unit.
    let exponent = select(exponents[0], 0, most == 0u);
    sum_squares(lane, exponent);
    let unscale = guard.per_batch / stats.loss_scale;
    let norm = sqrt(squares[0]) * unscale;
    var clipped = Clipped(1.0, 1.0);
    if guard.clips != 0u {
        clipped = clip(norm, exponent);
    }
    if lane == 0u {
        stats.norm = norm;
        stats.exponent = exponent;
        stats.clip_factor = clipped.factor * clipped.unit;
    }
    return Verdict(false, unscale * clipped.factor, clipped.unit);
}

fn keep_due(group: u32, t: u32) {
    for (var i = 0; i < 4; i += 1) {
        keep(group, t, recorded[group].due[i]);
    }
}

fn carry_out(performed: bool, lane: u32) {
    for (var i = lane; i < arrayLength(&switches); i += 64u) {
        let runs = performed == (switches[i].if_skipped == 0u);
        switches[i].got_x = select(0u, switches[i].x, runs);
        switches[i].got_y = select(0u, switches[i].y, runs);
        switches[i].got_z = select(0u, switches[i].z, runs);
    }
    if lane == 0u {
        if performed {
            stats.performed += 1u;
        } else {
            stats.skipped += 1u;
        }
        if guard.scales != 0u {
            rescale(performed);
        } else if !is_usable(stats.loss_scale) {
            stats.loss_scale = 1.0;
        }
    }
}

// Works like torch.amp.GradScaler.
fn rescale(performed: bool) {
    if !is_usable(stats.loss_scale) {
        stats.loss_scale = guard.init_scale;
        stats.good_steps = 0u;
        return;
    }
    if !performed {
        // The lower bound is the smallest normal number. Its inverse is normal too.
        stats.loss_scale = max(stats.loss_scale * guard.backoff_factor, power_of_two(-126));
        stats.good_steps = 0u;
        return;
    }
    stats.good_steps += 1u;
    if stats.good_steps == guard.growth_interval {
        let grown = stats.loss_scale * guard.growth_factor;
        if grown <= largest_scale() {
            stats.loss_scale = grown;
        }
        stats.good_steps = 0u;
    }
}

// The guard of a step, from the options. Host side: src/gpu/records.rs.
struct Guard {
    clip_norm: f32,         // the largest norm, of all gradients or of a tensor's
    clips: u32,             // whether there is one, for all gradients together
    per_batch: f32,         // 1 / micro-batches
    scales: u32,            // whether there is a loss scale
    growth_factor: f32,
    backoff_factor: f32,
    growth_interval: u32,
    init_scale: f32,
}

@group(0) @binding(8) var<uniform> guard: Guard;

struct Clipped {
    factor: f32,
    unit: f32,              // a power of two; the gradient is multiplied by both
}

// The factor for a norm of `norm` times 2^exponent.
fn clip(norm: f32, exponent: i32) -> Clipped {
    // In units of 2^exponent, nothing that matters overflows.
    let unit = power_of_two(-exponent);
    let padded = norm + 1e-6 * unit;
    if guard.clip_norm * unit < padded {
        return Clipped(guard.clip_norm / padded, unit);
    }
    return Clipped(1.0, 1.0);
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
