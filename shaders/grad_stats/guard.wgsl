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
