//! How learning rates go on.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, ensure};
use clap::ValueEnum;
use wgpu_optim::schedule::Schedule;

use crate::PositiveNumber;

#[derive(Clone, Debug, clap::Args)]
pub struct ScheduleFlags {
    /// How learning rates go on
    #[arg(long, value_enum, default_value_t = Decay::Cosine)]
    pub schedule: Decay,

    /// Steps in which learning rates first rise from zero
    #[arg(long, value_name = "STEPS", default_value_t = 0)]
    pub warmup: u32,

    /// With --schedule step: epochs from one drop to the next [default: a third of all epochs]
    #[arg(long, value_name = "EPOCHS", value_parser = clap::value_parser!(u32).range(1..))]
    pub decay_every: Option<u32>,

    /// Factor of each drop with --schedule step [default: 0.1], or per epoch with --schedule
    /// exponential [default: 0.9]
    #[arg(long, value_name = "FACTOR")]
    pub gamma: Option<PositiveNumber>,

    /// With --schedule cosine: the learning rate at the end [default: 0]
    #[arg(long, value_name = "LR")]
    pub floor: Option<PositiveNumber>,
}

/// How the learning rate goes on after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Decay {
    Constant,
    Step,
    Cosine,
    Exponential,
}

impl FromStr for Decay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        ValueEnum::from_str(text, false).map_err(|_| {
            let names = Self::value_variants().iter().map(Self::to_string);
            let names = names.collect::<Vec<_>>().join(", ");
            format!("there is no schedule {text:?}: expected one of {names}")
        })
    }
}

impl fmt::Display for Decay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        value.map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

/// How long a training is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    pub epochs: u64,
    pub batches_per_epoch: u64,
    /// Batches that make a step. They count on across epochs.
    pub accumulate: u64,
}

impl Length {
    /// Where an epoch is a step.
    pub fn of_steps(steps: u64) -> Self {
        Self {
            epochs: steps,
            batches_per_epoch: 1,
            accumulate: 1,
        }
    }

    /// At least 1.
    fn steps_in(self, epochs: u64) -> u64 {
        (epochs * self.batches_per_epoch / self.accumulate).max(1)
    }
}

impl ScheduleFlags {
    /// The schedule of the part of each learning rate, where the one that --floor is of starts at
    /// `lr`.
    pub fn schedule(&self, lr: f64, length: Length) -> Result<Schedule> {
        self.check(&[self.schedule], lr)?;
        Ok(self.made(self.schedule, lr, length))
    }

    /// The same for several rules, where --schedule is of those that have none of their own, and all other
    /// flags are of those that they have a meaning for.
    pub fn schedules(
        &self,
        own: impl IntoIterator<Item = Option<Decay>>,
        lr: f64,
        length: Length,
    ) -> Result<Vec<Schedule>> {
        let own = own.into_iter();
        let decays: Vec<_> = own.map(|own| own.unwrap_or(self.schedule)).collect();
        self.check(&decays, lr)?;
        let schedules = decays.iter().map(|decay| self.made(*decay, lr, length));
        Ok(schedules.collect())
    }

    fn made(&self, decay: Decay, lr: f64, length: Length) -> Schedule {
        let gamma = |default| self.gamma.map_or(default, |gamma| gamma.0);
        let warmup = u64::from(self.warmup);
        let schedule = match decay {
            Decay::Constant => Schedule::Constant,
            Decay::Step => {
                let every = self
                    .decay_every
                    .map_or((length.epochs / 3).max(1), u64::from);
                Schedule::Step {
                    every: length.steps_in(every),
                    gamma: gamma(0.1),
                }
            }
            Decay::Cosine => Schedule::Cosine {
                steps: length.steps_in(length.epochs).saturating_sub(warmup).max(1),
                floor: self.floor.map_or(0.0, |floor| floor.0 / lr),
            },
            Decay::Exponential => Schedule::Exponential {
                gamma: gamma(0.9).powf(length.accumulate as f64 / length.batches_per_epoch as f64),
            },
        };
        if warmup > 0 {
            schedule.with_warmup(warmup)
        } else {
            schedule
        }
    }

    /// Fails for flags of none of these schedules, and for rates that would rise.
    fn check(&self, decays: &[Decay], lr: f64) -> Result<()> {
        let belongs = |flag: &str, given: bool, schedules: &[Decay], names: &str| {
            ensure!(
                !given || decays.iter().any(|decay| schedules.contains(decay)),
                "{flag} has no meaning without --schedule {names}."
            );
            Ok(())
        };
        belongs(
            "--decay-every",
            self.decay_every.is_some(),
            &[Decay::Step],
            "step",
        )?;
        let drops = [Decay::Step, Decay::Exponential];
        belongs(
            "--gamma",
            self.gamma.is_some(),
            &drops,
            "step or exponential",
        )?;
        belongs("--floor", self.floor.is_some(), &[Decay::Cosine], "cosine")?;
        if let Some(PositiveNumber(gamma)) = self.gamma {
            ensure!(
                gamma <= 1.0,
                "--gamma {gamma:e} is no decay: expected at most 1."
            );
        }
        if let Some(PositiveNumber(floor)) = self.floor {
            ensure!(
                floor <= lr,
                "--floor {floor:e} is above the learning rate of {lr:e} that it is the floor of."
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: ScheduleFlags,
    }

    fn flags(line: &[&str]) -> ScheduleFlags {
        Line::parse_from([&["test"], line].concat()).flags
    }

    fn length(epochs: u64, accumulate: u64) -> Length {
        Length {
            epochs,
            batches_per_epoch: 10,
            accumulate,
        }
    }

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} instead of {b}");
    }

    fn error(lr: f64, line: &[&str]) -> String {
        let schedule = flags(line).schedule(lr, length(30, 1));
        schedule.unwrap_err().to_string()
    }

    #[test]
    fn a_flag_of_another_schedule_is_refused() {
        let error = |line: &[&str]| error(1.0, line);
        assert!(error(&["--gamma", "0.5"]).contains("--schedule step or exponential"));
        assert!(error(&["--schedule", "step", "--floor", "0.1"]).contains("--schedule cosine"));
        assert!(error(&["--decay-every", "3"]).contains("--schedule step"));
    }

    #[test]
    fn a_schedule_that_would_raise_the_rate_is_refused() {
        let error = |line: &[&str]| error(0.1, line);
        assert!(error(&["--floor", "0.2"]).contains("--floor 2e-1"));
        assert!(error(&["--schedule", "step", "--gamma", "1.5"]).contains("--gamma 1.5e0"));
    }

    #[test]
    fn of_several_rules_each_has_its_own_schedule_or_that_of_all() {
        let line = ["--schedule", "step", "--warmup", "2", "--gamma", "0.5"];
        let own = [None, Some(Decay::Cosine), Some(Decay::Constant)];
        let schedules = |own: &[_]| flags(&line).schedules(own.iter().copied(), 1.0, length(3, 1));
        let [step, cosine, constant] = schedules(&own).unwrap().try_into().unwrap();
        for schedule in [&step, &cosine, &constant] {
            near(schedule.at(1.0, 0), 0.0);
            near(schedule.at(1.0, 2), 1.0);
        }
        near(step.at(1.0, 12), 0.5);
        near(cosine.at(1.0, 16), 0.5);
        near(constant.at(1.0, 100), 1.0);
        // A flag needs one that it has a meaning for.
        let error = schedules(&own[1..]).unwrap_err().to_string();
        assert!(error.contains("--schedule step or exponential"), "{error}");
    }

    #[test]
    fn schedules_end_where_they_should() {
        let at = |epochs, line: &[&str], k| {
            let schedule = flags(line).schedule(1.0, length(epochs, 1));
            schedule.unwrap().at(1.0, k)
        };
        near(at(4, &[], 40), 0.0);
        near(at(4, &["--warmup", "10", "--floor", "0.25"], 40), 0.25);
        near(at(4, &["--warmup", "10"], 10), 1.0);
        near(at(9, &["--schedule", "step"], 29), 1.0);
        near(at(9, &["--schedule", "step"], 30), 0.1);
        let exponential = ["--schedule", "exponential", "--gamma", "0.5"];
        near(at(30, &exponential, 20), 0.25);
        let constant = ["--schedule", "constant", "--warmup", "3"];
        near(at(30, &constant, 1000), 1.0);
    }

    #[test]
    fn schedules_count_steps_and_not_micro_batches() {
        let at = |epochs, line: &[&str], k| {
            let schedule = flags(line).schedule(1.0, length(epochs, 4));
            schedule.unwrap().at(1.0, k)
        };
        // 40 batches are 10 steps, although no epoch is a whole number of them.
        near(at(4, &[], 5), 0.5);
        near(at(4, &[], 10), 0.0);
        let step = ["--schedule", "step", "--decay-every", "2"];
        near(at(30, &step, 4), 1.0);
        near(at(30, &step, 5), 0.1);
        let exponential = ["--schedule", "exponential", "--gamma", "0.5"];
        near(at(30, &exponential, 5), 0.25);
    }
}
