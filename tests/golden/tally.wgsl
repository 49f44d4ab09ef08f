// Adds up how a group's systems of equations went, for the statistics.

struct Outcome {
    damping: f32,
    failures: u32,
    not_finite: u32,
    reserved: u32,
}

@group(0) @binding(2) var<storage, read_write> stats: Stats;
@group(0) @binding(6) var<storage, read> outcomes: array<Outcome>;
@group(0) @binding(7) var<storage, read> group: array<u32>;

var<workgroup> of_lanes: array<Outcome, 64>;

@compute @workgroup_size(64)
fn tally(@builtin(local_invocation_index) lane: u32) {
    var sum = Outcome();
    for (var i = lane; i < arrayLength(&outcomes); i += 64u) {
        sum.damping = max(sum.damping, outcomes[i].damping);
        sum.failures += outcomes[i].failures;
        sum.not_finite += outcomes[i].not_finite;
    }
    of_lanes[lane] = sum;
    workgroupBarrier();
    if lane == 0u {
        for (var i = 1u; i < 64u; i++) {
            sum.damping = max(sum.damping, of_lanes[i].damping);
            sum.failures += of_lanes[i].failures;
            sum.not_finite += of_lanes[i].not_finite;
        }
        stats.groups[group[0]].damping = sum.damping;
        stats.groups[group[0]].failures += sum.failures;
        stats.groups[group[0]].unsolved += sum.not_finite;
    }
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
