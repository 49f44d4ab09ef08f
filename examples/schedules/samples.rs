//! One schedule of each kind, and the code that makes it: what is shown is what was run.

use anyhow::{Context, Result};
use wgpu_optim::schedule::{Amplitude, Cyclic, Growth, OneCycle, Plateau, Schedule, Shape};

use crate::code;

/// The base rate, `lr` in the code.
pub const LR: f64 = 0.1;

/// One schedule.
pub struct Sample {
    pub name: &'static str,
    /// The Rust call.
    pub code: String,
    /// Of each step.
    pub rates: Vec<f64>,
    /// What [`Plateau`] was fed at each step.
    pub losses: Option<Vec<f64>>,
    /// What was made, as `Debug` shows it.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "tests look for every variant in it")
    )]
    pub made: String,
}

/// The code as it is written here, and what it makes.
macro_rules! written {
    ($($code:tt)+) => {
        (stringify!($($code)+), { $($code)+ })
    };
}

/// Every schedule over `steps` steps.
pub fn all(steps: u64) -> Result<Vec<Sample>> {
    let made = plain(steps).into_iter().chain(warm_ups(steps));
    let mut samples = made
        .map(|(name, (code, schedule))| Sample::of(name, code, &schedule, steps))
        .collect::<Result<Vec<_>>>()?;
    samples.push(plateau(steps));
    Ok(samples)
}

/// A name, the code, and what it makes.
type Made = (&'static str, (&'static str, Schedule));

fn plain(steps: u64) -> Vec<Made> {
    vec![
        ("constant", written!(Schedule::Constant)),
        (
            "step",
            written!(Schedule::Step {
                every: steps / 4,
                gamma: 0.5
            }),
        ),
        (
            "early step",
            written!(Schedule::EarlyStep {
                every: steps / 4,
                drop: 0.5
            }),
        ),
        (
            "multi-step",
            written!(Schedule::MultiStep {
                milestones: vec![steps / 2, steps * 3 / 4],
                gamma: 0.3
            }),
        ),
        (
            "exponential",
            written!(Schedule::Exponential {
                gamma: 0.05f64.powf(1.0 / steps as f64)
            }),
        ),
        (
            "decay",
            written!(Schedule::Decay {
                rate: 3.0 / steps as f64
            }),
        ),
        (
            "power",
            written!(Schedule::Power {
                beta: 10.0 / steps as f64,
                alpha: 1.0
            }),
        ),
        (
            "polynomial",
            written!(Schedule::Polynomial { steps, power: 2.0 }),
        ),
        (
            "linear",
            written!(Schedule::Linear {
                start: 1.0,
                end: 0.1,
                steps: steps * 3 / 4
            }),
        ),
        (
            "cosine",
            written!(Schedule::Cosine {
                steps: steps * 3 / 4,
                floor: 0.01
            }),
        ),
        (
            "cosine restarts, equally long",
            written!(Schedule::CosineRestarts {
                first: steps / 4,
                factor: 1,
                floor: 0.0
            }),
        ),
        (
            "cosine restarts, each twice as long",
            written!(Schedule::CosineRestarts {
                first: steps / 7,
                factor: 2,
                floor: 0.0
            }),
        ),
        (
            "one-cycle",
            written!(Schedule::OneCycle(OneCycle::over(steps))),
        ),
        (
            "one-cycle, three phases",
            written!(Schedule::OneCycle(OneCycle {
                three_phase: true,
                shape: Shape::Linear,
                ..OneCycle::over(steps)
            })),
        ),
        (
            "cyclic",
            written!(Schedule::Cyclic(Cyclic {
                floor: 0.01,
                up: steps / 8,
                down: steps / 8,
                amplitude: Amplitude::Constant
            })),
        ),
        (
            "cyclic, halved",
            written!(Schedule::Cyclic(Cyclic {
                floor: 0.01,
                up: steps / 8,
                down: steps / 8,
                amplitude: Amplitude::Halved
            })),
        ),
        (
            "cyclic, exponential",
            written!(Schedule::Cyclic(Cyclic {
                floor: 0.01,
                up: steps / 16,
                down: steps * 3 / 16,
                amplitude: Amplitude::Exponential {
                    gamma: 0.1f64.powf(1.0 / steps as f64)
                }
            })),
        ),
        (
            "inverse square root",
            written!(Schedule::InverseSqrt { warmup: steps / 5 }),
        ),
        (
            "warm-up, stable, decay: linear",
            written!(Schedule::WarmupStableDecay {
                warmup: steps / 10,
                stable: steps / 2,
                decay: steps * 3 / 10,
                floor: 0.0,
                shape: Shape::Linear
            }),
        ),
        (
            "warm-up, stable, decay: cosine",
            written!(Schedule::WarmupStableDecay {
                warmup: steps / 10,
                stable: steps / 2,
                decay: steps * 3 / 10,
                floor: 0.0,
                shape: Shape::Cosine
            }),
        ),
    ]
}

/// Schedules that hold others.
fn warm_ups(steps: u64) -> Vec<Made> {
    vec![
        (
            "linear warm-up, then cosine",
            written!(
                Schedule::Cosine {
                    steps: steps * 4 / 5,
                    floor: 0.0
                }
                .with_warmup(steps / 5)
            ),
        ),
        (
            "exponential warm-up, then constant",
            written!(Schedule::Constant.with_warmup_from(1e-3, Growth::Exponential, steps / 2)),
        ),
        (
            "sequence",
            written!(Schedule::Sequence {
                phases: vec![
                    (steps / 4, Schedule::Constant),
                    (
                        steps / 4,
                        Schedule::Linear {
                            start: 1.0,
                            end: 0.2,
                            steps: steps / 4
                        }
                    )
                ],
                last: Box::new(Schedule::CosineRestarts {
                    first: steps / 4,
                    factor: 1,
                    floor: 0.02
                })
            }),
        ),
    ]
}

/// A loss that can fall no lower than the rate lets it, and the rate that follows.
fn plateau(steps: u64) -> Sample {
    let lr = LR;
    let (code, (plateau, losses, rates)) = written! {
        let mut plateau = Plateau { factor: 0.4, patience: steps / 20, threshold: 0.01, ..Plateau::new(lr) };
        let mut loss = 1.0;
        let mut losses = vec![];
        let mut rates = vec![];
        for _ in 0..steps {
            let way = 2.0 * plateau.lr - loss;
            loss += 15.0 / steps as f64 * way;
            losses.push(loss);
            rates.push(plateau.step(loss));
        }
        (plateau, losses, rates)
    };
    Sample {
        name: "reduce on plateau",
        code: code::formatted(code),
        rates,
        losses: Some(losses),
        made: format!("{plateau:?}"),
    }
}

impl Sample {
    fn of(name: &'static str, code: &str, schedule: &Schedule, steps: u64) -> Result<Self> {
        schedule
            .validate()
            .with_context(|| format!("{name} over {steps} steps"))?;
        Ok(Self {
            name,
            code: code::formatted(code),
            rates: (0..steps).map(|k| schedule.at(LR, k)).collect(),
            losses: None,
            made: format!("{schedule:?}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The variants of an enum of `src/schedule/mod.rs`, read from its text: the compiler does not
    /// list those of an enum that may grow.
    fn variants(name: &str) -> Vec<&'static str> {
        let source = include_str!("../../src/schedule/mod.rs");
        let (_, body) = source.split_once(&format!("pub enum {name} {{\n")).unwrap();
        let (body, _) = body.split_once("\n}").unwrap();
        let lines = body.lines().filter_map(|line| line.strip_prefix("    "));
        let lines = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
        let name = |line: &'static str| line.split(|c: char| !c.is_alphanumeric()).next();
        lines.filter_map(name).collect()
    }

    fn words(text: &str) -> impl Iterator<Item = &str> {
        text.split(|c: char| !c.is_alphanumeric() && c != '_')
    }

    #[test]
    fn every_schedule_has_a_picture() {
        let samples = all(100).unwrap();
        let known = variants("Schedule");
        assert!(
            known.len() >= 17 && known.contains(&"Sequence"),
            "{known:?}"
        );
        for variant in known {
            let is_shown = |sample: &Sample| words(&sample.made).next() == Some(variant);
            assert!(
                samples.iter().any(is_shown),
                "no sample of Schedule::{variant}"
            );
        }
        assert!(
            samples
                .iter()
                .any(|sample| sample.made.starts_with("Plateau"))
        );
    }

    #[test]
    fn every_choice_within_a_schedule_has_a_picture() {
        let samples = all(100).unwrap();
        for (name, field) in [
            ("Shape", "shape"),
            ("Growth", "growth"),
            ("Amplitude", "amplitude"),
        ] {
            for variant in variants(name) {
                let wanted = format!("{field}: {variant}");
                let is_shown = |sample: &Sample| sample.made.contains(&wanted);
                assert!(
                    samples.iter().any(is_shown),
                    "no sample of {name}::{variant}"
                );
            }
        }
        for form in ["three_phase: true", "three_phase: false"] {
            assert!(
                samples.iter().any(|sample| sample.made.contains(form)),
                "{form}"
            );
        }
    }

    #[test]
    fn schedules_are_valid_and_have_names_of_their_own_at_every_length() {
        for steps in [20, 21, 100, 1000] {
            let samples = all(steps).unwrap();
            let mut names: Vec<_> = samples.iter().map(|sample| sample.name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), samples.len());
            for sample in samples {
                assert_eq!(sample.rates.len() as u64, steps);
                let is_rate = |rate: &f64| (0.0..=LR + 1e-12).contains(rate);
                assert!(
                    sample.rates.iter().all(is_rate),
                    "{} over {steps}",
                    sample.name
                );
            }
        }
    }

    #[test]
    fn the_code_says_what_was_run() {
        let samples = all(100).unwrap();
        let code = |name: &str| {
            let sample = samples.iter().find(|sample| sample.name == name);
            &sample.unwrap().code
        };
        let step = "Schedule::Step {
    every: steps / 4,
    gamma: 0.5,
}";
        assert_eq!(code("step"), step);
        assert!(code("linear warm-up, then cosine").ends_with(".with_warmup(steps / 5)"));
        assert!(code("reduce on plateau").contains("rates.push(plateau.step(loss));"));
    }

    #[test]
    fn no_line_of_code_is_wider_than_its_picture() {
        for sample in all(100).unwrap() {
            for line in sample.code.lines() {
                assert!(line.len() <= 47, "{}: {line}", sample.name);
            }
        }
    }

    #[test]
    fn the_plateau_falls_when_the_loss_it_is_fed_stands_still() {
        let samples = all(100).unwrap();
        let plateau = samples.last().unwrap();
        let losses = plateau.losses.as_ref().unwrap();
        let drops = (1..100).filter(|k| plateau.rates[*k] < plateau.rates[k - 1]);
        let drops: Vec<_> = drops.collect();
        assert!(drops.len() >= 2, "{:?}", plateau.rates);
        for k in drops {
            assert!(losses[k] > 0.97 * losses[k - 1], "{k}: {losses:?}");
        }
    }
}
