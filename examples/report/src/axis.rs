//! Axes: what they are called, how they are divided, and where a value lies on them.

use anyhow::{Result, ensure};

use crate::number;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    #[default]
    Linear,
    /// Values from zero down have no place on it and are left out.
    Log,
}

/// One axis of a chart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Axis {
    /// With the unit, as `time (s)`.
    pub label: String,
    pub scale: Scale,
    /// Lowest and highest value; without it, those of the data and a little more.
    pub range: Option<(f64, f64)>,
}

impl Axis {
    pub fn linear(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            ..Self::default()
        }
    }

    pub fn log(label: impl Into<String>) -> Self {
        Self {
            scale: Scale::Log,
            ..Self::linear(label)
        }
    }

    /// From `low` to `high` and no further.
    pub fn range(self, low: f64, high: f64) -> Self {
        Self {
            range: Some((low, high)),
            ..self
        }
    }

    /// The axis over `values`, with `margin` of its length free at both ends unless the range was
    /// given.
    pub(crate) fn over(&self, values: impl Iterator<Item = f64>, margin: f64) -> Result<Span> {
        let span = match self.range {
            Some((low, high)) => {
                ensure!(
                    low < high && self.position(low).is_some() && self.position(high).is_some(),
                    "the axis “{}” cannot go from {low} to {high}",
                    self.label
                );
                [low, high].map(|end| self.position(end).unwrap_or_default())
            }
            None => self.around(values, margin)?,
        };
        Ok(Span {
            low: span[0],
            high: span[1],
            scale: self.scale,
        })
    }

    fn around(&self, values: impl Iterator<Item = f64>, margin: f64) -> Result<[f64; 2]> {
        let places = values.filter_map(|value| self.position(value));
        let ends = places.fold(None, |ends: Option<[f64; 2]>, place| {
            let [low, high] = ends.unwrap_or([place, place]);
            Some([low.min(place), high.max(place)])
        });
        ensure!(
            ends.is_some(),
            "nothing to draw: the axis “{}” has no value{}",
            self.label,
            match self.scale {
                Scale::Linear => "",
                Scale::Log => " above zero",
            }
        );
        let [low, high] = ends.unwrap_or_default();
        // One value alone is in the middle.
        let free = match high > low {
            true => margin * (high - low),
            false if self.scale == Scale::Log => 0.5,
            false => 0.5 * low.abs().max(1e-3),
        };
        Ok([low - free, high + free])
    }

    fn position(&self, value: f64) -> Option<f64> {
        position(self.scale, value)
    }
}

/// Where `value` is on a scale; `None` for what has no place on it.
fn position(scale: Scale, value: f64) -> Option<f64> {
    let place = match scale {
        Scale::Linear => value,
        Scale::Log if value > 0.0 => value.log10(),
        Scale::Log => return None,
    };
    place.is_finite().then_some(place)
}

/// A piece of an axis: from `low` to `high`, which are powers of ten if its scale is logarithmic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    pub low: f64,
    pub high: f64,
    pub scale: Scale,
}

/// A tick: where, and with which text.
pub type Tick = (f64, String);

impl Span {
    /// Where `value` is, from 0 at the low end to 1 at the high one, or beyond.
    pub fn part(&self, value: f64) -> Option<f64> {
        position(self.scale, value).map(|place| (place - self.low) / (self.high - self.low))
    }

    /// About `count` of them.
    pub fn ticks(&self, count: usize) -> Vec<Tick> {
        match self.scale {
            Scale::Linear => self.linear_ticks(count),
            Scale::Log => self.log_ticks(count),
        }
    }

    fn linear_ticks(&self, count: usize) -> Vec<Tick> {
        let rough = (self.high - self.low) / count.max(1) as f64;
        let power = 10f64.powf(rough.log10().floor());
        let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * power);
        let step = steps.into_iter().find(|step| *step >= 0.999 * rough);
        let step = step.unwrap_or(rough);
        let within = 1e-9 * step;
        let first = ((self.low - within) / step).ceil() as i64;
        let last = ((self.high + within) / step).floor() as i64;
        let places = (first..=last).map(|k| k as f64 * step);
        // As many digits as tell neighbours apart.
        let largest = self.low.abs().max(self.high.abs());
        let digits = (largest / step).log10().floor().max(0.0) as usize + 2;
        places
            .map(|place| (place, number::significant(place, digits)))
            .collect()
    }

    /// Whole powers of ten, every one or every few; 2 and 5 times each where there are few.
    fn log_ticks(&self, count: usize) -> Vec<Tick> {
        let decades = self.high - self.low;
        let factors: &[f64] = match decades {
            d if d < 1.0 => return self.ticks_below_a_decade(count),
            d if d < 2.6 => &[1.0, 2.0, 5.0],
            _ => &[1.0],
        };
        let every = (decades / count.max(1) as f64).ceil().max(1.0) as i64;
        let (first, last) = (self.low.floor() as i64, self.high.ceil() as i64);
        let powers = (first..=last).filter(|power| power.rem_euclid(every) == 0);
        let ticks = powers.flat_map(|power| {
            factors.iter().map(move |factor| {
                let place = power as f64 + factor.log10();
                let value: f64 = format!("{factor}e{power}").parse().unwrap_or(0.0);
                (place, number::significant(value, 1))
            })
        });
        let inside = |place: f64| place >= self.low - 1e-9 && place <= self.high + 1e-9;
        ticks.filter(|(place, _)| inside(*place)).collect()
    }

    fn ticks_below_a_decade(&self, count: usize) -> Vec<Tick> {
        let linear = Self {
            low: 10f64.powf(self.low),
            high: 10f64.powf(self.high),
            scale: Scale::Linear,
        };
        let ticks = linear.linear_ticks(count).into_iter();
        let above = ticks.filter(|(value, _)| *value > 0.0);
        above.map(|(value, text)| (value.log10(), text)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis, values: &[f64], count: usize) -> Vec<String> {
        let span = axis.over(values.iter().copied(), 0.0).unwrap();
        span.ticks(count).into_iter().map(|tick| tick.1).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        let linear = Axis::linear("x");
        assert_eq!(
            texts(&linear, &[0.0, 1.0], 5),
            ["0", "0.2", "0.4", "0.6", "0.8", "1"]
        );
        assert_eq!(texts(&linear, &[-2.0, 2.0], 4), ["−2", "−1", "0", "1", "2"]);
        assert_eq!(
            texts(&linear, &[100.0, 100.4], 4),
            ["100", "100.1", "100.2", "100.3", "100.4"]
        );
        let log = Axis::log("x");
        assert_eq!(
            texts(&log, &[1e-4, 1.0], 6),
            ["1e-4", "0.001", "0.01", "0.1", "1"]
        );
        assert_eq!(
            texts(&log, &[1e-12, 1.0], 4),
            ["1e-12", "1e-9", "1e-6", "0.001", "1"]
        );
        assert_eq!(texts(&log, &[1.0, 20.0], 6), ["1", "2", "5", "10", "20"]);
        assert_eq!(texts(&log, &[2.0, 6.0], 4), ["2", "3", "4", "5", "6"]);
    }

    #[test]
    fn values_without_a_place_are_left_out_and_none_at_all_is_an_error() {
        let log = Axis::log("loss");
        let span = log
            .over([0.0, -1.0, f64::NAN, 1.0, 100.0].into_iter(), 0.0)
            .unwrap();
        assert_eq!((span.low, span.high), (0.0, 2.0));
        assert_eq!(span.part(10.0), Some(0.5));
        assert_eq!(span.part(0.0), None);
        let error = log.over([0.0].into_iter(), 0.0).unwrap_err().to_string();
        assert!(error.contains("loss") && error.contains("above zero"));
        assert!(
            Axis::linear("x")
                .range(1.0, 1.0)
                .over([].into_iter(), 0.0)
                .is_err()
        );
        assert!(
            Axis::log("x")
                .range(0.0, 1.0)
                .over([].into_iter(), 0.0)
                .is_err()
        );
    }

    #[test]
    fn one_value_alone_has_an_axis_around_it() {
        let span = Axis::linear("x").over([3.0].into_iter(), 0.05).unwrap();
        assert!(span.low < 3.0 && span.high > 3.0);
    }
}
