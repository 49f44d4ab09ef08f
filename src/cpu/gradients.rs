//! Inspects the gradients before a step: are all finite, and how large are they?

use rayon::prelude::*;

use super::arena::CHUNK;
use crate::{
    LossScale, Options,
    rule::{LaneSum, Real, wide},
    vectors::vectorized,
};

/// The norm of `grads`, or `None` if one of them is NaN or infinite.
pub(super) fn norm<T: Real>(grads: &[T]) -> Option<f64> {
    let squares = sum_of_squares(grads, 1.0);
    // The square of an f32 never overflows or underflows in f64. For f64 gradients, a sum in this
    // range has lost nothing that matters.
    if (1e-200..1e200).contains(&squares) {
        return Some(squares.sqrt());
    }
    let largest = largest(grads)?;
    if largest == 0.0 {
        return Some(0.0);
    }
    Some(largest * sum_of_squares(grads, largest).sqrt())
}

/// The sum of the squares of `grads`, each divided by `unit`. The partial sums are added in order,
/// so the result does not depend on the number of threads.
fn sum_of_squares<T: Real>(grads: &[T], unit: f64) -> f64 {
    let of_chunk = |chunk: &[T]| {
        let mut sum = LaneSum::default();
        if unit == 1.0 {
            vectorized::<T, _>(
                #[inline(always)]
                || sum.add(chunk, |g| g * g),
            );
        } else {
            sum.add(chunk, |g| (g / unit).powi(2));
        }
        sum.total()
    };
    let sums: Vec<_> = grads.par_chunks(CHUNK).map(of_chunk).collect();
    sums.into_iter().sum()
}

/// The largest magnitude.
fn largest<T: Real>(grads: &[T]) -> Option<f64> {
    let of_chunk = |chunk: &[T]| {
        let magnitudes = chunk.iter().map(|&g| wide(g).abs());
        // NaN and infinity are kept.
        magnitudes.fold(0.0, |a: f64, b| if b > a || b.is_nan() { b } else { a })
    };
    let largest: Vec<_> = grads.par_chunks(CHUNK).map(of_chunk).collect();
    let mut largest = largest.into_iter();
    largest.try_fold(0.0, |a: f64, b| b.is_finite().then_some(a.max(b)))
}

/// The factor that brings gradients of norm `norm` down to at most `most`.
pub(super) fn clip_factor(norm: f64, most: f64) -> f64 {
    (most / (norm + 1e-6)).min(1.0)
}

/// The loss scale, and for how many steps it has been good.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scaler {
    pub scale: f64,
    pub good_steps: u32,
    largest: f64,
}

impl Scaler {
    pub fn new(options: &Options) -> Self {
        Self {
            scale: options.loss_scale.map_or(1.0, |scale| scale.init_scale),
            good_steps: 0,
            largest: options.largest_scale(),
        }
    }

    /// Updates the scale after a step that was performed or `skipped`.
    pub fn update(&mut self, options: &LossScale, skipped: bool) {
        if skipped {
            let smallest = f64::from(f32::MIN_POSITIVE);
            self.scale = (self.scale * options.backoff_factor).max(smallest);
            self.good_steps = 0;
            return;
        }
        self.good_steps += 1;
        if self.good_steps == options.growth_interval {
            let grown = self.scale * options.growth_factor;
            if grown <= self.largest {
                self.scale = grown;
            }
            self.good_steps = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_are_right_from_the_smallest_to_the_largest() {
        assert_eq!(norm::<f32>(&[]), Some(0.0));
        assert_eq!(norm(&[0.0f64; 3]), Some(0.0));
        for size in [1e-300, 1e-30, 1.0, 1e30, 1e300] {
            let found = norm(&[3.0 * size, -4.0 * size]).unwrap();
            assert!(
                (found / (5.0 * size) - 1.0).abs() < 1e-15,
                "{size}: {found}"
            );
        }
        let many = vec![f32::MAX; 100_000];
        let expected = f64::from(f32::MAX) * 100_000f64.sqrt();
        assert!((norm(&many).unwrap() / expected - 1.0).abs() < 1e-12);
    }

    #[test]
    fn one_nan_or_infinity_anywhere_is_seen() {
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for position in [0, 1, CHUNK - 1, CHUNK, 3 * CHUNK] {
                let mut grads = vec![1.0; 3 * CHUNK + 1];
                grads[position] = bad;
                assert_eq!(norm(&grads), None, "{bad} at {position}");
            }
        }
    }

    fn of(scale: LossScale, accumulate: u32) -> Scaler {
        Scaler::new(&Options {
            loss_scale: Some(scale),
            accumulate,
            ..Default::default()
        })
    }

    #[test]
    fn the_scale_follows_pytorchs_grad_scaler() {
        // The expected values are those of torch.amp.GradScaler(init_scale=8, growth_interval=2).
        let options = LossScale {
            init_scale: 8.0,
            growth_interval: 2,
            ..Default::default()
        };
        let mut scaler = of(options, 1);
        let mut scales = Vec::new();
        for skipped in [false, false, false, true, false, false, true, true] {
            scaler.update(&options, skipped);
            scales.push(scaler.scale);
        }
        assert_eq!(scales, [8.0, 16.0, 16.0, 8.0, 8.0, 16.0, 8.0, 4.0]);
    }

    #[test]
    fn the_scale_neither_overflows_nor_vanishes() {
        let options = LossScale {
            init_scale: 2f64.powi(123),
            growth_interval: 1,
            ..Default::default()
        };
        let mut scaler = of(options, 4);
        for _ in 0..5 {
            scaler.update(&options, false);
        }
        assert_eq!(scaler.scale, 2f64.powi(124));
        for _ in 0..1000 {
            scaler.update(&options, true);
        }
        assert_eq!(scaler.scale, f64::from(f32::MIN_POSITIVE));
    }
}
