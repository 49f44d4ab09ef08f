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
