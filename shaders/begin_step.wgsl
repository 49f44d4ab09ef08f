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
