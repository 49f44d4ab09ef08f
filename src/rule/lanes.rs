//! Sums whose order vectors can keep.

use super::Real;

/// A sum in several lanes, so that the additions can be vectorised.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LaneSum([f64; LANES]);

const LANES: usize = 16;

impl LaneSum {
    /// Adds `of(value)` for each of `values`.
    #[inline(always)]
    pub fn add<T: Real>(&mut self, values: &[T], of: impl Fn(f64) -> f64) {
        let mut lanes = self.0;
        let (rows, rest) = values.as_chunks::<LANES>();
        for row in rows {
            for (lane, value) in lanes.iter_mut().zip(row) {
                *lane += of(wide(*value));
            }
        }
        for (lane, value) in lanes.iter_mut().zip(rest) {
            *lane += of(wide(*value));
        }
        self.0 = lanes;
    }

    pub fn total(&self) -> f64 {
        self.0.iter().sum()
    }
}

/// The same number in f64.
#[inline(always)]
pub(crate) fn wide<T: Real>(value: T) -> f64 {
    value.to_f64().unwrap_or(f64::NAN)
}
