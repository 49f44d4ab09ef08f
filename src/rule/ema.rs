//! Moving averages that are as accurate at every decay. In WGSL: `shaders/ema.wgsl`.

use super::Real;

/// What [`ema`] takes for `decay`, which is in `[0, 1]`: `1 − decay` for a decay of at least ½, and
/// `−decay` for a smaller one. Compute it in f64, as one of a rule's
/// [`constants`](crate::Declaration::constants) or [coefficients](crate::Declaration::at).
///
/// ```
/// use wgpu_optim::cpu::{ema, pull};
///
/// assert_eq!(pull(0.75), 0.25);
/// assert_eq!(ema(4.0f32, 8.0, pull(0.75) as f32), 5.0);
/// // A decay of 0 keeps nothing, however large it was.
/// assert_eq!(ema(1e30f32, 1e-4, pull(0.0) as f32), 1e-4);
/// ```
pub fn pull(decay: f64) -> f64 {
    if decay >= 0.5 { 1.0 - decay } else { -decay }
}

/// The moving average `decay·kept + (1 − decay)·x`, for `pull` of [`pull`]. The smaller of the two
/// weights multiplies the difference, so nothing cancels. The WGSL text of a rule can call it as
/// `ema`, and for an f32 as `scalar_ema`.
#[inline(always)]
pub fn ema<T: Real>(kept: T, x: T, pull: T) -> T {
    let nearer = if pull.is_sign_negative() { x } else { kept };
    nearer + pull * (x - kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECAYS: [f64; 7] = [0.0, 1e-6, 0.1, 0.499_999_97, 0.5, 0.9, 0.999_999];

    #[test]
    fn averages_hold_a_few_ulps_at_every_decay_and_for_values_of_any_ratio() {
        for decay in DECAYS {
            for (kept, x) in [
                (1.0f64, 1e-12),
                (1e-12, 1.0),
                (1e12, 1.0),
                (1.0, 1e12),
                (-3.0, 3.0),
                (0.3, 0.3),
                (0.0, 7.0),
                (7.0, 0.0),
            ] {
                let exact = decay * kept + (1.0 - decay) * x;
                let found = ema(kept as f32, x as f32, pull(decay) as f32);
                let error = (f64::from(found) - exact).abs();
                // Of the larger of both parts, where they have different signs.
                let scale = (decay * kept).abs().max(((1.0 - decay) * x).abs());
                assert!(
                    error <= 4e-7 * scale,
                    "{decay}: {kept}, {x}: {found}, not {exact}"
                );
            }
        }
    }

    #[test]
    fn a_long_average_comes_to_what_it_is_of() {
        for decay in DECAYS {
            let mut mean = 0.0f32;
            for _ in 0..20_000_000u32.min((40.0 / (1.0 - decay)) as u32 + 50) {
                mean = ema(mean, 0.7, pull(decay) as f32);
            }
            assert!((mean / 0.7 - 1.0).abs() < 0.05, "{decay}: {mean}");
        }
    }
}
