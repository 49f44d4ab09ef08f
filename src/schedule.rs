//! Learning rates over time: pure functions of the step, in f64.
// The formulas say what the fields are.
#![allow(missing_docs)]

/// How a learning rate changes with the step index `k`, which counts from 0; optimizer step `t`
/// uses `k = t − 1`.
///
/// ```
/// use wgpu_optim::schedule::Schedule;
///
/// let schedule = Schedule::Cosine { steps: 100, floor: 0.0 }.with_warmup(10);
/// assert_eq!(schedule.at(1.0, 0), 0.0);
/// assert_eq!(schedule.at(1.0, 5), 0.5);
/// assert_eq!(schedule.at(1.0, 10), 1.0);
/// assert_eq!(schedule.at(1.0, 500), 0.0);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Schedule {
    /// `lr`.
    Constant,
    /// `lr·γ^⌊k/every⌋`; `every = 0` counts as 1.
    Step { every: u64, gamma: f64 },
    /// `lr·γᵏ`.
    Exponential { gamma: f64 },
    /// `floor + (lr − floor)(1 + cos(πk/steps))/2`, held at `floor` from `k = steps` on.
    Cosine { steps: u64, floor: f64 },
    /// `lr·k/steps` for `k < steps`, then `then` from its beginning.
    Warmup { steps: u64, then: Box<Schedule> },
}

impl Schedule {
    /// This schedule after a linear warm-up from zero over `steps` steps.
    pub fn with_warmup(self, steps: u64) -> Self {
        Self::Warmup {
            steps,
            then: Box::new(self),
        }
    }

    /// The learning rate of step `k`, `lr` being the base rate.
    pub fn at(&self, lr: f64, k: u64) -> f64 {
        match self {
            Self::Constant => lr,
            Self::Step { every, gamma } => lr * gamma.powf((k / (*every).max(1)) as f64),
            Self::Exponential { gamma } => lr * gamma.powf(k as f64),
            Self::Cosine { steps, floor } if k >= *steps => *floor,
            Self::Cosine { steps, floor } => {
                let phase = std::f64::consts::PI * k as f64 / *steps as f64;
                floor + (lr - floor) * (1.0 + phase.cos()) / 2.0
            }
            Self::Warmup { steps, .. } if k < *steps => lr * k as f64 / *steps as f64,
            Self::Warmup { steps, then } => then.at(lr, k - steps),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn step_decay_falls_at_its_multiples() {
        let schedule = Schedule::Step {
            every: 3,
            gamma: 0.5,
        };
        let rates: Vec<_> = (0..7).map(|k| schedule.at(8.0, k)).collect();
        assert_eq!(rates, [8.0, 8.0, 8.0, 4.0, 4.0, 4.0, 2.0]);
        assert_eq!(
            Schedule::Step {
                every: 0,
                gamma: 0.5
            }
            .at(8.0, 2),
            2.0
        );
    }

    #[test]
    fn exponential_is_the_product_of_its_factors() {
        let schedule = Schedule::Exponential { gamma: 0.9 };
        let mut lr = 0.3;
        for k in 0..1000 {
            assert!((schedule.at(0.3, k) - lr).abs() <= 1e-13 * lr);
            lr *= 0.9;
        }
    }

    #[test]
    fn cosine_passes_its_middle_and_stays_at_its_floor() {
        let schedule = Schedule::Cosine {
            steps: 10,
            floor: 0.2,
        };
        assert_eq!(schedule.at(1.0, 0), 1.0);
        assert!((schedule.at(1.0, 5) - 0.6).abs() < 1e-15);
        assert_eq!(schedule.at(1.0, 10), 0.2);
        assert_eq!(schedule.at(1.0, 11), 0.2);
        assert_eq!(
            Schedule::Cosine {
                steps: 0,
                floor: 0.2
            }
            .at(1.0, 0),
            0.2
        );
    }

    #[test]
    fn warm_up_goes_in_front_of_anything() {
        let schedule = Schedule::Step {
            every: 2,
            gamma: 0.1,
        }
        .with_warmup(4);
        let rates: Vec<_> = (0..7).map(|k| schedule.at(1.0, k)).collect();
        assert_eq!(rates, [0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 0.1]);
        assert_eq!(Schedule::Constant.with_warmup(0).at(1.0, 0), 1.0);
    }
}
