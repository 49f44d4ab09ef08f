//! What several seeds come to.

/// The middle of some values, and what all of them lie between.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Spread {
    /// None without values. The median of an even number is the mean of the middle two.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = (*values.first()?, *values.last()?);
        let middle = |index: usize| values[index];
        let count = values.len();
        let (below, above) = (middle((count - 1) / 2), middle(count / 2));
        // Equal ones may both be infinite.
        let median = if below == above {
            below
        } else {
            (below + above) / 2.0
        };
        Some(Self { low, median, high })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_between_what_is_below_and_above_whatever_the_order() {
        let of = |values: &[f64]| Spread::of(values.iter().copied());
        let spread = of(&[3.0, 1e9, 1.0, 2.0, 4.0]).unwrap();
        assert_eq!((spread.low, spread.median, spread.high), (1.0, 3.0, 1e9));
        assert_eq!(of(&[1.0, 2.0]).unwrap().median, 1.5);
        let infinite = of(&[f64::INFINITY, f64::INFINITY]).unwrap();
        assert_eq!(infinite.median, f64::INFINITY);
        assert_eq!(of(&[]), None);
    }
}
