//! A rate that a metric lowers.

use super::validate::number;
use crate::{Error, hyperparameter::Interval};

/// Lowers the rate when a metric stops improving, as `torch.optim.lr_scheduler.ReduceLROnPlateau`.
///
/// ```
/// use wgpu_optim::schedule::Plateau;
///
/// let mut plateau = Plateau { patience: 1, ..Plateau::new(0.1) };
/// let rates: Vec<f64> = [3.0, 2.0, 2.0, 2.0].map(|loss| plateau.step(loss)).to_vec();
/// assert_eq!(rates, [0.1, 0.1, 0.1, 0.1 * 0.1]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Plateau {
    /// The current rate.
    pub lr: f64,
    /// Multiplies the rate when it is lowered.
    pub factor: f64,
    /// How many metrics in a row may fail to improve before the rate is lowered.
    pub patience: u64,
    /// By how much a metric must improve on the best one.
    pub threshold: f64,
    /// Whether `threshold` is a fraction of the best metric rather than an absolute amount.
    pub relative: bool,
    /// Whether larger metrics are better.
    pub maximize: bool,
    /// How many metrics do not count towards `patience` after the rate was lowered.
    pub cooldown: u64,
    pub min_lr: f64,
    /// The rate stays if it would fall by no more than this.
    pub eps: f64,
    /// What the metrics so far have led to. Save it with a checkpoint.
    pub progress: Progress,
}

/// Where a [`Plateau`] stands between two metrics.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// The best metric so far.
    pub best: Option<f64>,
    /// Metrics in a row that did not improve on it.
    pub bad: u64,
    /// How many of the next metrics do not count towards `patience`.
    pub cooling: u64,
}

impl Plateau {
    /// PyTorch's defaults.
    pub fn new(lr: f64) -> Self {
        Self {
            lr,
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            relative: true,
            maximize: false,
            cooldown: 0,
            min_lr: 0.0,
            eps: 1e-8,
            progress: Progress::default(),
        }
    }

    /// Checks that the rate stays finite and not negative, and that it can only fall.
    ///
    /// # Errors
    /// [`Error::Schedule`] names the field, its value and what is allowed.
    pub fn validate(&self) -> Result<(), Error> {
        number("lr", self.lr, Interval::NON_NEGATIVE)?;
        number("factor", self.factor, Interval::BELOW_ONE)?;
        number("threshold", self.threshold, Interval::NON_NEGATIVE)?;
        number("min_lr", self.min_lr, Interval::NON_NEGATIVE)?;
        number("eps", self.eps, Interval::NON_NEGATIVE)
    }

    /// Takes one metric, such as an epoch's test loss, and returns the rate from now on. A metric
    /// that is NaN improves on nothing.
    pub fn step(&mut self, metric: f64) -> f64 {
        let is_better = self.is_better(metric);
        let progress = &mut self.progress;
        if is_better {
            progress.best = Some(metric);
            progress.bad = 0;
        } else {
            progress.bad = progress.bad.saturating_add(1);
        }
        if progress.cooling > 0 {
            progress.cooling -= 1;
            progress.bad = 0;
        }
        if progress.bad > self.patience {
            progress.cooling = self.cooldown;
            progress.bad = 0;
            let lower = (self.lr * self.factor).max(self.min_lr);
            if self.lr - lower > self.eps {
                self.lr = lower;
            }
        }
        self.lr
    }

    fn is_better(&self, metric: f64) -> bool {
        let Some(best) = self.progress.best else {
            return !metric.is_nan();
        };
        match (self.maximize, self.relative) {
            (false, true) => metric < best * (1.0 - self.threshold),
            (false, false) => metric < best - self.threshold,
            (true, true) => metric > best * (1.0 + self.threshold),
            (true, false) => metric > best + self.threshold,
        }
    }
}
