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
