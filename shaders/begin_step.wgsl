// Turns what the host recorded into this step's numbers, one Step per parameter group.
//
// Learning rates belong to the recorded step n, coefficients to the performed step t = n - skipped,
// which the host does not know. So the coefficients of the last RING recorded steps are kept here.
// It knows no rule. Host side: src/optimizer/begin_step.rs.

struct Recorded {
    at: vec4<f32>,      // the rule's coefficients if no step was skipped
    lr: f32,
    decay: f32,
    grad_scale: f32,
    n: u32,             // steps recorded so far, this one included; 0: the group rests
    refreshed: f32,
}

// One uniform binding each, at the 256-byte offsets that every device allows.
struct StepSlot {
    step: Step,
    padding: array<vec4<f32>, 13>,
}

const RING: u32 = 256u;

@group(0) @binding(0) var<storage, read> recorded: array<Recorded>;
@group(0) @binding(1) var<storage, read_write> ring: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> skipped: array<u32>;
@group(0) @binding(3) var<storage, read_write> steps: array<StepSlot>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    for (var group = lane; group < arrayLength(&recorded); group += 64u) {
        let row = recorded[group];
        if row.n == 0u {
            continue;
        }
        let t = row.n - skipped[group];
        ring[group * RING + row.n % RING] = row.at;
        let at = ring[group * RING + t % RING];
        steps[group].step = Step(row.lr, row.decay, row.grad_scale, t, at, row.refreshed);
    }
}
