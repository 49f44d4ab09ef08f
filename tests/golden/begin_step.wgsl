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

// Nothing inspects the gradients. Every step is performed.

fn verdict(lane: u32) -> Verdict {
    return Verdict(false, 1.0, 1.0);
}

// No step is skipped, so none brings coefficients again.
fn keep_due(group: u32, t: u32) {
}

fn carry_out(performed: bool, lane: u32) {
    if lane == 0u {
        stats.performed += 1u;
    }
}
