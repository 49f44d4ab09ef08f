//! What a schedule may hold.

use super::{Amplitude, Cyclic, Growth, OneCycle, Schedule};
use crate::{Error, hyperparameter::Interval};

/// Schedules inside one another. Nobody needs as many.
const DEEPEST: usize = 100;

/// A rate's exponent: growth is allowed too, and [`Schedule::at`] stops it at the largest f32.
const ANY: Interval = Interval::new(f32::MIN as f64, f32::MAX as f64, true);

impl Schedule {
    /// Checks that [`at`](Self::at) gives a finite rate of at least 0 at every step: that no length is
    /// zero, no number is out of its range, and no more than 100 schedules are nested.
    ///
    /// # Errors
    /// [`Error::Schedule`] names the field, its value and what is allowed.
    pub fn validate(&self) -> Result<(), Error> {
        let mut unchecked = vec![(self, 1)];
        while let Some((schedule, depth)) = unchecked.pop() {
            if depth > DEEPEST {
                return refused(format!(
                    "more than {DEEPEST} schedules are nested; expected at most {DEEPEST}"
                ));
            }
            schedule.check_fields()?;
            match schedule {
                Self::Warmup { then, .. } => unchecked.push((then, depth + 1)),
                Self::Sequence { phases, last } => {
                    unchecked.extend(phases.iter().map(|(_, phase)| (phase, depth + 1)));
                    unchecked.push((last, depth + 1));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Checks this schedule without those inside it.
    fn check_fields(&self) -> Result<(), Error> {
        match self {
            Self::Constant | Self::Sequence { .. } => Ok(()),
            Self::Step { every, gamma } => {
                length("every", *every)?;
                number("gamma", *gamma, Interval::NON_NEGATIVE)
            }
            Self::EarlyStep { every, drop } => {
                length("every", *every)?;
                number("drop", *drop, Interval::NON_NEGATIVE)
            }
            Self::MultiStep { gamma, .. } | Self::Exponential { gamma } => {
                number("gamma", *gamma, Interval::NON_NEGATIVE)
            }
            Self::Decay { rate } => number("rate", *rate, ANY),
            Self::Power { beta, alpha } => {
                number("beta", *beta, Interval::NON_NEGATIVE)?;
                number("alpha", *alpha, ANY)
            }
            Self::Polynomial { steps, power } => {
                length("steps", *steps)?;
                number("power", *power, Interval::NON_NEGATIVE)
            }
            Self::Linear { start, end, steps } => {
                length("steps", *steps)?;
                number("start", *start, Interval::NON_NEGATIVE)?;
                number("end", *end, Interval::NON_NEGATIVE)
            }
            Self::Cosine { steps, floor } => {
                length("steps", *steps)?;
                number("floor", *floor, Interval::NON_NEGATIVE)
            }
            Self::CosineRestarts {
                first,
                factor,
                floor,
            } => {
                length("first", *first)?;
                length("factor", *factor)?;
                number("floor", *floor, Interval::NON_NEGATIVE)
            }
            Self::OneCycle(cycle) => cycle.check_fields(),
            Self::Cyclic(cycle) => cycle.check_fields(),
            Self::InverseSqrt { warmup } => length("warmup", *warmup),
            Self::WarmupStableDecay { floor, .. } => {
                number("floor", *floor, Interval::NON_NEGATIVE)
            }
            Self::Warmup { start, growth, .. } => match growth {
                Growth::Linear => number("start", *start, Interval::NON_NEGATIVE),
                // What the rate is divided by.
                Growth::Exponential => number("start", *start, Interval::EPS),
            },
        }
    }
}

impl OneCycle {
    fn check_fields(&self) -> Result<(), Error> {
        length("steps", self.steps)?;
        number("pct_start", self.pct_start, Interval::UP_TO_ONE)?;
        // What rates are divided by.
        number("div_factor", self.div_factor, Interval::EPS)?;
        number("final_div_factor", self.final_div_factor, Interval::EPS)?;
        let up = self.pct_start * self.steps as f64;
        let down = self.steps as f64 - if self.three_phase { 2.0 * up } else { up };
        if up == 1.0 || down < 0.0 {
            return refused(format!(
                "pct_start = {}; expected a share that leaves each phase of the {} steps room",
                self.pct_start, self.steps
            ));
        }
        Ok(())
    }
}

impl Cyclic {
    fn check_fields(&self) -> Result<(), Error> {
        length("up", self.up)?;
        length("down", self.down)?;
        number("floor", self.floor, Interval::NON_NEGATIVE)?;
        match self.amplitude {
            Amplitude::Constant | Amplitude::Halved => Ok(()),
            // Growth would lead away from between the floor and the peak.
            Amplitude::Exponential { gamma } => number("gamma", gamma, Interval::UP_TO_ONE),
        }
    }
}

fn length(name: &str, steps: u64) -> Result<(), Error> {
    if steps > 0 {
        return Ok(());
    }
    refused(format!("{name} = 0; expected at least 1"))
}

pub(super) fn number(name: &str, value: f64, allowed: Interval) -> Result<(), Error> {
    if allowed.contains(value) {
        return Ok(());
    }
    refused(format!("{name} = {value}; expected {allowed}"))
}

fn refused(problem: String) -> Result<(), Error> {
    Err(Error::Schedule { problem })
}
