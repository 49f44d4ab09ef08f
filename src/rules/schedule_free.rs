//! What the schedule-free rules share: the weights of the average, and the way to it and back.

use crate::hyperparameter::Interval;

/// What all weights together may be. Only the host computes with it.
pub(super) const WEIGHT_SUM: Interval = Interval::new(0.0, f64::MAX, true);

/// The numbers that make the average.
pub(super) struct ScheduleFree {
    /// How far y lies towards x from z.
    pub beta: f64,
    pub warmup_steps: f64,
    pub r: f64,
    pub weight_lr_power: f64,
}

impl ScheduleFree {
    /// This step's share c of the average, and what the learning rate is multiplied by for y and for
    /// z, warm-up included.
    pub fn advance(&self, t: u64, lr: f64, history: &mut [f64]) -> [f64; 3] {
        let t = t as f64;
        let warm_up = if t < self.warmup_steps {
            t / self.warmup_steps
        } else {
            1.0
        };
        let lr_max = history[1].max(lr * warm_up);
        // As large as it may be, all steps together weigh a finite number.
        let weight = (t.powf(self.r) * lr_max.powf(self.weight_lr_power)).min(1e280);
        let weight_sum = history[0] + weight;
        history.copy_from_slice(&[weight_sum, lr_max]);
        let c = if weight_sum == 0.0 {
            0.0
        } else {
            weight / weight_sum
        };
        [c, warm_up * (1.0 - self.beta * (1.0 - c)), warm_up]
    }
}

/// How much of the way from y to z leads to x.
pub(super) fn towards_x(beta: f64) -> f64 {
    1.0 - 1.0 / beta
}

/// How much of the way from x to z leads to y.
pub(super) fn towards_y(beta: f64) -> f64 {
    1.0 - beta
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_one_rate_all_steps_weigh_the_same() {
        let rule = ScheduleFree {
            beta: 0.9,
            warmup_steps: 0.0,
            r: 0.0,
            weight_lr_power: 2.0,
        };
        let mut history = [0.0; 2];
        for t in 1..=1000 {
            let [c, of_y, of_z] = rule.advance(t, 0.3, &mut history);
            assert!((c - 1.0 / t as f64).abs() < 1e-13 && of_z == 1.0);
            assert!((of_y - (1.0 - 0.9 * (1.0 - c))).abs() < 1e-13);
        }
        assert_eq!(history[1], 0.3);
    }

    #[test]
    fn a_rate_of_zero_weighs_nothing() {
        let rule = ScheduleFree {
            beta: 0.9,
            warmup_steps: 4.0,
            r: 1.0,
            weight_lr_power: 2.0,
        };
        let mut history = [0.0; 2];
        let [c, _, of_z] = rule.advance(1, 0.0, &mut history);
        assert_eq!([c, of_z], [0.0, 0.25]);
        assert_eq!(rule.advance(2, 0.5, &mut history), [1.0, 0.5, 0.5]);
        assert_eq!(history, [2.0 * 0.25 * 0.25, 0.25]);
    }
}
