//! What rounding does to state over thousands of steps. The same gradients go into state of each format
//! and into f64, and the updates that come of it are compared.

mod gradients;

use anyhow::{Context, Result};
use serde::Serialize;
use wgpu_optim::{Format, Formats, Gpu, Layout, Optimizer, Options, Tensor, cpu, rules};

use crate::subject::{OnGpu, Readable, Subject};
pub use gradients::{Gradients, all};

/// The steps at whose end there is a row.
pub const ENDS: [usize; 2] = [500, 3000];
/// Updates are compared in so many steps up to each of them.
const COMPARED: usize = 10;
/// After so many, the device is waited for, so that what it was given does not pile up.
const AHEAD: usize = 16;

/// One of each kind: a first and a second moment, signs of a first, a sum that only grows.
const RULES: [&str; 3] = ["adamw", "lion", "adagrad"];
const SEED: u32 = 1;

/// What the bias may be. AdamW's is -40 and -68 % after 3 000 steps if bf16 is rounded to the nearest.
const MOST_BIAS: f64 = 0.02;
/// The same for a rule that takes signs. A moment that int8 takes for zero has none.
const MOST_BIAS_OF_SIGNS: f64 = 0.1;

/// What the columns mean.
pub const DESCRIPTION: &str = "\
The same gradients go into state of each format and into f64. Compared are the updates of the last 10
steps, as they come of that state before it is rounded again. RMS error: of the updates' errors, as a
part of the RMS of the updates. Bias: the mean error along an update's sign, as a part of the mean
magnitude. Gain: how much longer the updates are along those of f64. Gradients: digits are those of a
network that is trained; rows are generated, as of an embedding. Limit: the bias may be 2 %, or 10 %
of a rule that takes signs.";

/// What came of one rule in one format; serialized, a line of `--json`.
#[derive(Debug, Serialize)]
pub struct Row {
    pub gradients: &'static str,
    pub rule: &'static str,
    pub format: &'static str,
    /// That state was kept for.
    pub steps: usize,
    pub elements: usize,
    #[serde(flatten)]
    pub error: Error,
    pub ok: bool,
    /// The bias as a part of its limit.
    pub of_budget: f64,
    pub failures: Vec<String>,
}

/// How far updates are from those of f64.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Error {
    /// The RMS of the error, as a part of the update's.
    pub rms: f64,
    /// The mean error along the update's sign, as a part of the mean magnitude.
    pub bias: f64,
    /// How much longer the updates are along those of f64.
    pub gain: f64,
}

/// The sums that an [`Error`] is made of.
#[derive(Default, Clone)]
struct Sums {
    error_squared: f64,
    right_squared: f64,
    along: f64,
    along_sign: f64,
    magnitude: f64,
}

impl Sums {
    fn add(&mut self, found: f64, right: f64) {
        let error = found - right;
        self.error_squared += error * error;
        self.right_squared += right * right;
        self.along += error * right;
        self.along_sign += if right == 0.0 {
            0.0
        } else {
            error * right.signum()
        };
        self.magnitude += right.abs();
    }

    fn error(&self) -> Error {
        Error {
            rms: (self.error_squared / self.right_squared).sqrt(),
            bias: self.along_sign / self.magnitude,
            gain: self.along / self.right_squared,
        }
    }
}

/// A parameter group with the tensors of the gradients.
struct Follower {
    rule: &'static str,
    format: Format,
    most_bias: f64,
    tensors: Vec<Tensor>,
}

/// A group for each rule and each of `formats`.
fn followers(shapes: &[Vec<usize>], formats: &[Format]) -> Result<(Layout, Vec<Follower>)> {
    let (mut layout, mut followers) = (Layout::new(), Vec::new());
    for rule in RULES {
        for &format in formats {
            let state = Formats {
                state: format,
                seed: SEED,
                ..Default::default()
            };
            let group = layout.group_in(rules::by_name(rule)?, state)?;
            let most_bias = match layout.rule(group)?.is_sign_based() {
                true => MOST_BIAS_OF_SIGNS,
                false => MOST_BIAS,
            };
            let mut tensor = |(index, shape): (usize, &Vec<usize>)| {
                layout.tensor(group, &format!("{rule} {format} {index}"), shape)
            };
            let tensors = shapes.iter().enumerate().map(&mut tensor);
            followers.push(Follower {
                rule,
                format,
                most_bias,
                tensors: tensors.collect::<Result<_, _>>()?,
            });
        }
    }
    Ok((layout, followers))
}

/// Gives `gradients` to all formats on the GPU, or in the f32 twin if there is none. Calls `after` after
/// each step, with the rows of those of `ends`.
pub fn measure(
    gradients: &mut dyn Gradients,
    ends: &[usize],
    gpu: Option<&Gpu>,
    after: impl FnMut(Vec<Row>) -> Result<()>,
) -> Result<()> {
    let (layout, followers) = followers(&gradients.shapes(), Formats::STATE)?;
    match gpu {
        Some(gpu) => {
            let optimizer = &mut Optimizer::new(&gpu.device, &layout, Options::default())?;
            compare(
                gradients,
                ends,
                &followers,
                &mut OnGpu { gpu, optimizer },
                after,
            )
        }
        None => {
            let mut twin = cpu::Optimizer::<f32>::new(&layout)?;
            compare(gradients, ends, &followers, &mut twin, after)
        }
    }
}

fn compare(
    gradients: &mut dyn Gradients,
    ends: &[usize],
    followers: &[Follower],
    subject: &mut impl Readable,
    mut after: impl FnMut(Vec<Row>) -> Result<()>,
) -> Result<()> {
    // The twin in f64 never rounds, so one format will do.
    let (layout, right) = self::followers(&gradients.shapes(), &[Format::F32])?;
    let mut truth = cpu::Optimizer::<f64>::new(&layout)?;
    let mut sums = vec![Sums::default(); followers.len()];
    for step in 1..=ends.iter().copied().max().unwrap_or(0) {
        let grads = gradients.next()?;
        let is_compared = ends.iter().any(|end| (step..step + COMPARED).contains(end));
        give(subject, followers, &grads, is_compared)?;
        give(&mut truth, &right, &grads, is_compared)?;
        if is_compared {
            for (follower, sums) in followers.iter().zip(&mut sums) {
                let right = right.iter().find(|right| right.rule == follower.rule);
                let right = right.context("a rule has no truth")?;
                for (&found, &right) in follower.tensors.iter().zip(&right.tensors) {
                    let (found, right) = (subject.values(found)?, truth.values(right)?);
                    let pairs = found.iter().zip(&right);
                    pairs.for_each(|(found, right)| sums.add(*found, *right));
                }
            }
        } else if step % AHEAD == 0 {
            let smallest = followers.last().and_then(|last| last.tensors.last());
            smallest.map(|tensor| subject.values(*tensor)).transpose()?;
        }
        let mut rows = Vec::new();
        if ends.contains(&step) {
            let elements = grads.iter().map(Vec::len).sum();
            let sums = std::mem::replace(&mut sums, vec![Sums::default(); followers.len()]);
            let followers = followers.iter().zip(&sums);
            rows.extend(followers.map(|(follower, sums)| {
                Row::new(gradients.name(), follower, step, elements, sums.error())
            }));
        }
        after(rows)?;
    }
    Ok(())
}

/// A step of `subject` with `grads` for all of `followers`. If it `starts_at_zero`, what parameters are
/// there after it are the update.
fn give(
    subject: &mut impl Subject,
    followers: &[Follower],
    grads: &[Vec<f32>],
    starts_at_zero: bool,
) -> Result<()> {
    for follower in followers {
        for (&tensor, grad) in follower.tensors.iter().zip(grads) {
            if starts_at_zero {
                subject.set_param(tensor, &vec![0.0; grad.len()])?;
            }
            subject.set_grad(tensor, grad)?;
        }
    }
    Ok(subject.take_step()?)
}

impl Row {
    fn new(
        gradients: &'static str,
        follower: &Follower,
        steps: usize,
        elements: usize,
        error: Error,
    ) -> Self {
        let of_budget = error.bias.abs() / follower.most_bias;
        // NaN is within no limit.
        let ok = of_budget <= 1.0;
        let mut failures = Vec::new();
        if !ok {
            failures.push(format!(
                "the bias is {:+.1} %, over the limit of {:.0} %",
                100.0 * error.bias,
                100.0 * follower.most_bias
            ));
        }
        Self {
            gradients,
            rule: follower.rule,
            format: follower.format.name(),
            steps,
            elements,
            error,
            ok,
            of_budget,
            failures,
        }
    }
}

#[cfg(test)]
mod tests {
    use wgpu_optim::GpuOptions;

    use super::*;

    fn error(pairs: &[(f64, f64)]) -> Error {
        let mut sums = Sums::default();
        pairs
            .iter()
            .for_each(|(found, right)| sums.add(*found, *right));
        sums.error()
    }

    #[test]
    fn errors_are_parts_of_the_right_updates() {
        let right = [1.0, -2.0, 0.0, 5.0];
        let longer: Vec<_> = right.iter().map(|right| (1.25 * right, *right)).collect();
        let (rms, bias, gain) = (0.25, 0.25, 0.25);
        assert_eq!(error(&longer), Error { rms, bias, gain });
        // One of four signs turns, and one update is lost.
        let turned = error(&[(1.0, 1.0), (0.0, -1.0), (-1.0, 1.0), (1.0, 1.0)]);
        let (rms, bias, gain) = (f64::sqrt(1.25), -0.75, -0.75);
        assert_eq!(turned, Error { rms, bias, gain });
        // Errors that cancel out are no bias.
        let scattered = error(&[(1.5, 1.0), (-1.5, -2.0)]);
        assert_eq!((scattered.bias, scattered.gain), (0.0, -0.1));
    }

    fn rows(gradients: &mut dyn Gradients, ends: &[usize], gpu: Option<&Gpu>) -> Vec<Row> {
        let mut all = Vec::new();
        let mut steps = 0;
        let after = |rows: Vec<Row>| {
            steps += 1;
            assert_eq!(rows.is_empty(), !ends.contains(&steps));
            all.extend(rows);
            Ok(())
        };
        measure(gradients, ends, gpu, after).unwrap();
        all
    }

    #[test]
    fn state_in_fewer_bits_scatters_and_has_no_bias() {
        for gradients in &mut all().unwrap() {
            for row in rows(&mut **gradients, &[20, 300], None) {
                let Error { rms, bias, .. } = row.error;
                // A sign is wrong at once, or right at once.
                let most = match (row.format, row.rule) {
                    ("f32", _) => [1e-3, 1e-5],
                    (_, "lion") => [0.5, MOST_BIAS_OF_SIGNS],
                    ("bf16", _) => [0.03, 2e-3],
                    _ => [0.15, 1e-2],
                };
                assert!(row.ok && rms < most[0] && bias.abs() < most[1], "{row:?}");
                assert!(row.format == "f32" || rms > 1e-4, "{row:?}");
            }
        }
    }

    #[test]
    fn the_device_of_the_tests_has_the_errors_of_the_twin() {
        let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
        let [twin, found] = [None, Some(&gpu)].map(|gpu| {
            let mut all = all().unwrap();
            rows(&mut *all[1], &[40], gpu)
        });
        assert_eq!(twin.len(), RULES.len() * Formats::STATE.len());
        for (twin, found) in twin.iter().zip(&found) {
            assert_eq!((twin.rule, twin.format), (found.rule, found.format));
            let off = (twin.error.rms - found.error.rms).abs();
            assert!(off <= 1e-3 * twin.error.rms + 1e-6, "{twin:?} {found:?}");
        }
    }

    #[test]
    fn a_bias_beyond_the_limit_and_a_nan_fail() {
        let (_, followers) = followers(&[vec![3]], &[Format::Bf16]).unwrap();
        let row = |rule, bias| {
            let follower = followers.iter().find(|follower| follower.rule == rule);
            let (rms, gain) = (0.2, 0.5);
            Row::new("rows", follower.unwrap(), 10, 3, Error { rms, bias, gain })
        };
        for (rule, limit, text) in [("adamw", 0.02, "2 %"), ("lion", 0.1, "10 %")] {
            assert!(row(rule, 0.99 * limit).ok && row(rule, -0.99 * limit).ok);
            assert_eq!(row(rule, 0.5 * limit).of_budget, 0.5);
            for bias in [1.01 * limit, -1.01 * limit, f64::NAN] {
                let row = row(rule, bias);
                let text = format!("limit of {text}");
                assert!(!row.ok && row.failures[0].contains(&text), "{row:?}");
            }
        }
    }
}
