// Turns what the host recorded into this step's numbers, one Step per parameter group.
//
// Learning rates belong to the recorded step n, coefficients to the performed step t = n - skipped,
// which the host does not know. So the coefficients of the last RING recorded steps are kept here.
// It knows no rule. Host side: src/gpu/begin_step.rs.

struct Recorded {
    at: vec4<f32>,      // the rule's coefficients if no step was skipped
    average_weight: f32,
    lr: f32,
    decay: f32,
    grad_scale: f32,
    n: u32,             // steps recorded so far, this one included; 0: the group rests
    refreshed: f32,
    epoch: u32,         // changes when n is set anew: nothing is skipped since
}

// What goes with the performed step.
struct Coefficients {
    at: vec4<f32>,
    average_weight: f32,
    n: u32,             // of the recorded step that brought them
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

const RING: u32 = 256u;

@group(0) @binding(0) var<storage, read> recorded: array<Recorded>;
@group(0) @binding(1) var<storage, read_write> ring: array<Coefficients>;
@group(0) @binding(2) var<storage, read_write> stats: Stats;
@group(0) @binding(3) var<storage, read_write> steps: array<StepSlot>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    let what = verdict(lane);
    // All have looked at stats before any of it changes.
    storageBarrier();
    for (var group = lane; group < arrayLength(&recorded); group += 64u) {
        let row = recorded[group];
        if row.n == 0u {
            continue;
        }
        ring[group * RING + row.n % RING] = Coefficients(row.at, row.average_weight, row.n);
        let before = stats.groups[group];
        var skipped = select(0u, before.skipped, row.epoch == before.epoch);
        if what.is_skipped {
            skipped += 1u;
            steps[group].step.t = row.n - skipped;
        } else {
            // If more are skipped than the ring holds, its oldest coefficients have to do; and this
            // step's own, if those due never came, in an encoder that was dropped.
            let due = row.n - min(skipped, RING - 1u);
            var kept = ring[group * RING + due % RING];
            if kept.n != due {
                kept = ring[group * RING + row.n % RING];
            }
            steps[group].step = Step(
                row.lr,
                row.decay,
                row.grad_scale * what.grad_scale,
                row.n - skipped,
                kept.at,
                row.refreshed,
                kept.average_weight,
                what.grad_unit,
            );
        }
        var after = before;
        after.lr = row.lr;
        after.step_count = row.n - skipped;
        after.skipped = skipped;
        after.epoch = row.epoch;
        stats.groups[group] = after;
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
    padding: u32,
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

fn carry_out(performed: bool, lane: u32) {
    if lane == 0u {
        stats.performed += 1u;
    }
}
