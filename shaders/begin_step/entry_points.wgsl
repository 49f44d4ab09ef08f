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
