//! The levels that contours lie between.

use anyhow::{Result, ensure};

use crate::{number, palette};

/// The lowest value, and the limits between levels above it.
pub struct Levels {
    pub lowest: f64,
    pub limits: Vec<f64>,
}

impl Levels {
    /// Each as many times as high above the lowest value as the one before, from where 1 % of the
    /// values are.
    /// # Errors
    /// If there is no finite value, or only one.
    pub fn of(values: &[f64]) -> Result<Self> {
        let mut sorted: Vec<_> = values.iter().copied().filter(|v| v.is_finite()).collect();
        ensure!(!sorted.is_empty(), "a function without any finite value");
        sorted.sort_by(f64::total_cmp);
        let (lowest, highest) = (sorted[0], sorted[sorted.len() - 1]);
        ensure!(
            highest > lowest,
            "a function that is {lowest} everywhere has no contours"
        );
        let first = (sorted[sorted.len() / 100] - lowest).max(1e-6 * (highest - lowest));
        let ratio = (highest - lowest) / first;
        let count = palette::LEVELS.len();
        let limits = (0..count - 1).map(|k| first * ratio.powf(k as f64 / (count - 1) as f64));
        Ok(Self {
            lowest,
            limits: limits.collect(),
        })
    }

    pub fn remark(&self) -> String {
        let last = self.limits.len() - 1;
        format!(
            "contours {} to {} above the lowest, × {} each",
            number::significant(self.limits[0], 2),
            number::significant(self.limits[last], 2),
            number::significant(self.limits[1] / self.limits[0], 2)
        )
    }
}
