//! Learning rates over time. A [`Schedule`] is a pure function of the step, in f64. A [`Plateau`]
//! follows a metric.
// The formulas explain the fields.
#![allow(missing_docs)]

use std::f64::consts::PI;

use crate::Error;

/// How a learning rate changes with the step index `k`, which counts from 0. Optimizer step `t`
/// uses `k = t − 1`. Forms and index conventions are PyTorch's where PyTorch has the schedule.
///
/// ```
/// use wgpu_optim::schedule::Schedule;
///
/// let schedule = Schedule::Cosine { steps: 100, floor: 0.0 }.with_warmup(10);
/// schedule.validate()?;
/// assert_eq!(schedule.at(1.0, 0), 0.0);
/// assert_eq!(schedule.at(1.0, 5), 0.5);
/// assert_eq!(schedule.at(1.0, 10), 1.0);
/// assert_eq!(schedule.at(1.0, 500), 0.0);
/// # Ok::<(), wgpu_optim::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Schedule {
    /// `lr`.
    Constant,
    /// `lr·γ^⌊k/every⌋`.
    Step { every: u64, gamma: f64 },
    /// `lr·drop^⌊(1+k)/every⌋`, as in textbooks. It falls one step earlier.
    EarlyStep { every: u64, drop: f64 },
    /// Piecewise constant: `lr·γⁿ`, where n is the number of milestones up to k.
    MultiStep { milestones: Vec<u64>, gamma: f64 },
    /// `lr·γᵏ`.
    Exponential { gamma: f64 },
    /// `lr·e^(−rate·k)`.
    Decay { rate: f64 },
    /// `lr·(βk + 1)^(−α)`.
    Power { beta: f64, alpha: f64 },
    /// `lr·(1 − min(k, steps)/steps)^power`.
    Polynomial { steps: u64, power: f64 },
    /// `lr` times a factor that goes from `start` to `end` over `steps`.
    Linear { start: f64, end: f64, steps: u64 },
    /// `floor + (lr − floor)(1 + cos(πk/steps))/2`, held at `floor` from `k = steps` on.
    Cosine { steps: u64, floor: f64 },
    /// Cosines down to `floor` that restart. The first takes `first` steps, and each later one is
    /// `factor` times as long as the one before.
    CosineRestarts { first: u64, factor: u64, floor: f64 },
    /// See [`OneCycle`]; `lr` is its peak.
    OneCycle(OneCycle),
    /// See [`Cyclic`]; `lr` is its peak.
    Cyclic(Cyclic),
    /// `lr·√warmup/√max(k+1, warmup)`.
    InverseSqrt { warmup: u64 },
    /// A linear warm-up from zero, then `lr`, then a decay to `floor`, which is held.
    WarmupStableDecay {
        warmup: u64,
        stable: u64,
        decay: u64,
        floor: f64,
        shape: Shape,
    },
    /// From `start` to `lr` over `steps`. Then `then` starts from its beginning.
    Warmup {
        steps: u64,
        start: f64,
        growth: Growth,
        then: Box<Schedule>,
    },
    /// Each phase runs for its number of steps, from its own beginning. `last` follows.
    Sequence {
        phases: Vec<(u64, Schedule)>,
        last: Box<Schedule>,
    },
}

/// How a rate goes from one value to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Linear,
    Cosine,
}

/// How a warm-up rises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// `start + (lr − start)·k/steps`.
    Linear,
    /// `start·(lr/start)^(k/steps)`; `start` must not be zero.
    Exponential,
}

/// Rises to the peak and falls to almost nothing within `steps`. Smith & Topin 2018,
/// arXiv:1708.07120, as `torch.optim.lr_scheduler.OneCycleLR`.
#[derive(Debug, Clone, PartialEq)]
pub struct OneCycle {
    pub steps: u64,
    /// The share of the steps that rise.
    pub pct_start: f64,
    /// The peak divided by the first rate.
    pub div_factor: f64,
    /// The first rate divided by the last.
    pub final_div_factor: f64,
    pub shape: Shape,
    /// Whether the rate falls to the first rate as fast as it rose, and only then to the last.
    pub three_phase: bool,
}

impl OneCycle {
    /// PyTorch's defaults.
    pub fn over(steps: u64) -> Self {
        Self {
            steps,
            pct_start: 0.3,
            div_factor: 25.0,
            final_div_factor: 1e4,
            shape: Shape::Cosine,
            three_phase: false,
        }
    }
}

/// Rises from `floor` to the peak in `up` steps and falls in `down` steps, again and again. Smith
/// 2017, arXiv:1506.01186, as `torch.optim.lr_scheduler.CyclicLR`.
#[derive(Debug, Clone, PartialEq)]
pub struct Cyclic {
    pub floor: f64,
    pub up: u64,
    pub down: u64,
    pub amplitude: Amplitude,
}

/// How high each cycle rises.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amplitude {
    /// Always to the peak.
    Constant,
    /// Each cycle rises half as high as the one before.
    Halved,
    /// The height at step k is multiplied by `γᵏ`.
    Exponential { gamma: f64 },
}

impl Schedule {
    /// This schedule after a linear warm-up from zero over `steps` steps.
    pub fn with_warmup(self, steps: u64) -> Self {
        self.with_warmup_from(0.0, Growth::Linear, steps)
    }

    /// This schedule after a warm-up from the rate `start` over `steps` steps.
    pub fn with_warmup_from(self, start: f64, growth: Growth, steps: u64) -> Self {
        Self::Warmup {
            steps,
            start,
            growth,
            then: Box::new(self),
        }
    }

    /// Checks every number that [`at`](Self::at) would divide by, and that every number is finite.
    ///
    /// # Errors
    /// [`Error::Schedule`] says what is wrong.
    pub fn validate(&self) -> Result<(), Error> {
        let refuse = |problem: &str| {
            Err(Error::Schedule {
                problem: problem.to_owned(),
            })
        };
        let (lengths, numbers): (Vec<u64>, Vec<f64>) = match self {
            Self::Constant => (vec![], vec![]),
            Self::Step {
                every,
                gamma: number,
            }
            | Self::EarlyStep {
                every,
                drop: number,
            } => (vec![*every], vec![*number]),
            Self::MultiStep { gamma, .. } | Self::Exponential { gamma } => (vec![], vec![*gamma]),
            Self::Decay { rate } => (vec![], vec![*rate]),
            Self::Power { beta, alpha } => (vec![], vec![*beta, *alpha]),
            Self::Polynomial { steps, power } => (vec![*steps], vec![*power]),
            Self::Linear { start, end, steps } => (vec![*steps], vec![*start, *end]),
            Self::Cosine { steps, floor } => (vec![*steps], vec![*floor]),
            Self::CosineRestarts {
                first,
                factor,
                floor,
            } => (vec![*first, *factor], vec![*floor]),
            Self::OneCycle(cycle) => {
                let up = cycle.pct_start * cycle.steps as f64;
                let down = cycle.steps as f64 - if cycle.three_phase { 2.0 * up } else { up };
                if up == 1.0 || !(0.0..=1.0).contains(&cycle.pct_start) || down < 0.0 {
                    return refuse("a one-cycle whose pct_start leaves a phase no room");
                }
                let factors = [cycle.div_factor, cycle.final_div_factor];
                if factors
                    .iter()
                    .any(|factor| factor.abs() < f64::MIN_POSITIVE)
                {
                    return refuse("a one-cycle divides by its factors, which must not be zero");
                }
                (vec![cycle.steps], factors.to_vec())
            }
            Self::Cyclic(cycle) => (vec![cycle.up, cycle.down], vec![cycle.floor]),
            Self::InverseSqrt { warmup } => (vec![*warmup], vec![]),
            Self::WarmupStableDecay { floor, .. } => (vec![], vec![*floor]),
            Self::Warmup {
                start,
                growth,
                then,
                ..
            } => {
                if *growth == Growth::Exponential && *start <= 0.0 {
                    return refuse("an exponential warm-up must start above zero");
                }
                then.validate()?;
                (vec![], vec![*start])
            }
            Self::Sequence { phases, last } => {
                for (_, phase) in phases {
                    phase.validate()?;
                }
                last.validate()?;
                (vec![], vec![])
            }
        };
        if lengths.contains(&0) {
            return refuse("a length of zero steps");
        }
        if numbers.iter().any(|number| !number.is_finite()) {
            return refuse("a number that is not finite");
        }
        Ok(())
    }

    /// The learning rate of step `k`, with the base rate `lr`. A length of zero counts as one.
    /// Other numbers that [`validate`](Self::validate) refuses may give NaN.
    pub fn at(&self, lr: f64, k: u64) -> f64 {
        let fraction = |steps: u64| k.min(steps) as f64 / steps.max(1) as f64;
        match self {
            Self::Constant => lr,
            Self::Step { every, gamma } => lr * gamma.powf((k / every.max(&1)) as f64),
            Self::EarlyStep { every, drop } => {
                lr * drop.powf((k.saturating_add(1) / every.max(&1)) as f64)
            }
            Self::MultiStep { milestones, gamma } => {
                let passed = milestones
                    .iter()
                    .filter(|milestone| **milestone <= k)
                    .count();
                lr * gamma.powf(passed as f64)
            }
            Self::Exponential { gamma } => lr * gamma.powf(k as f64),
            Self::Decay { rate } => lr * (-rate * k as f64).exp(),
            Self::Power { beta, alpha } => lr * (beta * k as f64 + 1.0).powf(-alpha),
            Self::Polynomial { steps, power } => lr * (1.0 - fraction(*steps)).powf(*power),
            Self::Linear { start, end, steps } => lr * (start + (end - start) * fraction(*steps)),
            Self::Cosine { steps, floor } if k >= *steps => *floor,
            Self::Cosine { steps, floor } => Shape::Cosine.between(lr, *floor, fraction(*steps)),
            Self::CosineRestarts {
                first,
                factor,
                floor,
            } => {
                let (since, length) = restart((*first).max(1), (*factor).max(1), k);
                Shape::Cosine.between(lr, *floor, since as f64 / length as f64)
            }
            Self::OneCycle(cycle) => cycle.at(lr, k),
            Self::Cyclic(cycle) => cycle.at(lr, k),
            Self::InverseSqrt { warmup } => {
                let warmup = (*warmup).max(1);
                lr * (warmup as f64).sqrt() / (k.saturating_add(1).max(warmup) as f64).sqrt()
            }
            Self::WarmupStableDecay { warmup, .. } if k < *warmup => lr * fraction(*warmup),
            Self::WarmupStableDecay {
                warmup,
                stable,
                decay,
                floor,
                shape,
            } => match (k - warmup).checked_sub(*stable) {
                None => lr,
                Some(since) if since >= *decay => *floor,
                Some(since) => shape.between(lr, *floor, since as f64 / *decay as f64),
            },
            Self::Warmup {
                steps,
                start,
                growth,
                ..
            } if k < *steps => match growth {
                Growth::Linear => start + (lr - start) * fraction(*steps),
                Growth::Exponential => start * (lr / start).powf(fraction(*steps)),
            },
            Self::Warmup { steps, then, .. } => then.at(lr, k - steps),
            Self::Sequence { phases, last } => {
                let mut since = k;
                for (length, phase) in phases {
                    match since.checked_sub(*length) {
                        None => return phase.at(lr, since),
                        Some(rest) => since = rest,
                    }
                }
                last.at(lr, since)
            }
        }
    }
}

/// Steps since the last restart, and the length of the current cycle.
fn restart(first: u64, factor: u64, k: u64) -> (u64, u64) {
    if factor == 1 {
        return (k % first, first);
    }
    let (mut since, mut length) = (k, first);
    while since >= length {
        since -= length;
        length = length.saturating_mul(factor);
    }
    (since, length)
}

impl Shape {
    fn between(self, start: f64, end: f64, fraction: f64) -> f64 {
        match self {
            Self::Linear => start + (end - start) * fraction,
            Self::Cosine => end + (start - end) * (1.0 + (PI * fraction).cos()) / 2.0,
        }
    }
}

impl OneCycle {
    fn at(&self, peak: f64, k: u64) -> f64 {
        let first = peak / self.div_factor;
        let last = first / self.final_div_factor;
        let (k, steps) = (k as f64, self.steps as f64);
        let up = self.pct_start * steps - 1.0;
        let end = steps - 1.0;
        let phases = if self.three_phase {
            let down = 2.0 * self.pct_start * steps - 2.0;
            vec![(up, first, peak), (down, peak, first), (end, first, last)]
        } else {
            vec![(up, first, peak), (end, peak, last)]
        };
        let mut begin = 0.0;
        for (end, from, to) in phases {
            if k <= end {
                return self.shape.between(from, to, (k - begin) / (end - begin));
            }
            begin = end;
        }
        last
    }
}

impl Cyclic {
    fn at(&self, peak: f64, k: u64) -> f64 {
        let length = self.up.max(1).saturating_add(self.down.max(1));
        let cycle = k / length;
        let position = (k % length) as f64 / length as f64;
        let turn = self.up.max(1) as f64 / length as f64;
        let height = if position <= turn {
            position / turn
        } else {
            (1.0 - position) / (1.0 - turn)
        };
        let amplitude = match self.amplitude {
            Amplitude::Constant => 1.0,
            Amplitude::Halved => 0.5f64.powf(cycle as f64),
            Amplitude::Exponential { gamma } => gamma.powf(k as f64),
        };
        self.floor + (peak - self.floor) * height * amplitude
    }
}

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

    /// Takes one metric, such as an epoch's test loss, and returns the rate from now on. A metric
    /// that is NaN improves on nothing.
    pub fn step(&mut self, metric: f64) -> f64 {
        let is_better = self.is_better(metric);
        let progress = &mut self.progress;
        if is_better {
            progress.best = Some(metric);
            progress.bad = 0;
        } else {
            progress.bad += 1;
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
