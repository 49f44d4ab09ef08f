//! Medians of samples, with their quartiles.

use serde::Serialize;

/// The middle of some samples, and what half of them lie between.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quartiles {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Quartiles {
    /// Of at least one sample.
    pub fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let at = |quarter: usize| samples[(samples.len() - 1) * quarter / 4];
        Self {
            low: at(1),
            median: at(2),
            high: at(3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_do_not_depend_on_the_order_or_on_outliers() {
        let samples = vec![3.0, 1e9, 1.0, 2.0, 4.0];
        let Quartiles { low, median, high } = Quartiles::of(samples);
        assert_eq!([low, median, high], [2.0, 3.0, 4.0]);
        assert_eq!(Quartiles::of(vec![7.0]).low, 7.0);
    }
}
