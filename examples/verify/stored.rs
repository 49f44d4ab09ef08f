//! A rule with its state in fewer bits, held against its twin in f64, which never rounds, and against
//! the twin in f32, which draws the same random bits.

use anyhow::{Context, Result, bail};
use wgpu_optim::{Extent, Format, Formats, Gpu, Options, Precision, Rule, Slot, cpu};

use crate::accuracy::Truth;
use crate::budget::Allowance;
use crate::check::{Row, explain, in_arena, in_ranges};
use crate::problem::{Mark, Problem, View, state_slots};
use crate::variant::Variant;

/// Around a quad, and what shares a scale.
const SIZES: [usize; 5] = [20_001, 5, 64, 257, 1025];
const STEPS: usize = 20;
const SEED: u32 = 3;

/// Of a million elements of state, so many may have been rounded to the other neighbour. 16 random bits
/// decide. So where f32 is off by k ulp, bf16 is in k of 65 536 roundings, and int8 in fewer: this is 6
/// ulp in each of the steps, if a flip stays. Other random bits would flip every other element.
pub const FLIPPED_PER_MILLION: usize = 2_000;

/// The GPU's error in parts of the f32 twin's. If a part f of all elements were rounded otherwise and
/// each of these had another error as large, their difference would be √(2f) of it: 0.06 for that many.
/// But a few elements may have most of the error.
pub const WORSE_THAN_TWIN: f64 = 1.25;

/// The bounds of a GPU.
pub fn describe() -> String {
    format!(
        "with state in bf16 or int8: {WORSE_THAN_TWIN} × in place of 2 ×, by RMS. And of a million elements of\n\
         that state, at most {FLIPPED_PER_MILLION} may be rounded to the other neighbour than in the f32 twin (flipped),\n\
         since they lie within rounding of a random number"
    )
}

/// A variant whose state is in `format`.
pub struct Stored {
    pub variant: Variant,
    pub format: Format,
}

/// The state that is rounded.
fn rounded_slots(rule: &dyn Rule) -> Vec<Slot> {
    let mut slots = state_slots(rule);
    slots.retain(|slot| slot.extent == Extent::Element && slot.precision != Precision::Exact);
    slots
}

impl Stored {
    /// In each format, the first variant for each set of elements' state that `rule` can have, if some
    /// of it is rounded.
    pub fn all_of(rule: &'static str) -> Result<Vec<Self>> {
        let (mut sets, mut all) = (Vec::new(), Vec::new());
        for variant in Variant::of_rule(rule)? {
            let rule = variant.build()?;
            let mut set = state_slots(&*rule);
            set.retain(|slot| slot.extent == Extent::Element);
            let set: Vec<_> = set.iter().map(|slot| (slot.name, slot.precision)).collect();
            if rounded_slots(&*rule).is_empty() || sets.contains(&set) {
                continue;
            }
            sets.push(set);
            let formats = Formats::STATE
                .iter()
                .filter(|format| **format != Format::F32);
            all.extend(formats.map(|&format| Self {
                variant: variant.clone(),
                format,
            }));
        }
        Ok(all)
    }

    /// In f64, in f32 and, if there is one, on the GPU.
    pub fn check(&self, gpu: Option<&Gpu>) -> Result<Row> {
        let formats = Formats {
            state: self.format,
            seed: SEED,
            ..Default::default()
        };
        let problem = Problem::with_formats(self.variant.build()?, formats, &SIZES, STEPS)?;
        check(&problem, self.variant.label(), self.format, gpu)
    }
}

/// Parameters to be looked at after the last step, and behind them the state that is rounded.
fn marks(problem: &Problem, rule: &dyn Rule) -> Result<(Vec<Mark>, usize)> {
    let mut marks = problem.end(false)?;
    let of_params = marks.len();
    for slot in rounded_slots(rule) {
        let tensors = 0..problem.params.len();
        marks.extend(tensors.map(|tensor| Mark {
            step: problem.grads.len(),
            tensor,
            view: View::State(slot.name),
        }));
    }
    Ok((marks, of_params))
}

/// Holds the GPU's and the f32 twin's parameters against f64, by the RMS of their distances, and counts
/// the elements of the GPU's state that are not what the f32 twin stored.
fn check(problem: &Problem, variant: String, format: Format, gpu: Option<&Gpu>) -> Result<Row> {
    let group = problem.layout.groups().next();
    let rule = problem
        .layout
        .rule(group.context("the problem has no group")?)?;
    let options = Options::default();
    let (marks, of_params) = marks(problem, rule)?;
    let in_f64 = problem.observe(
        &mut cpu::Optimizer::<f64>::new(&problem.layout)?,
        &marks[..of_params],
    )?;
    let in_f32 = problem.observe(&mut cpu::Optimizer::<f32>::new(&problem.layout)?, &marks)?;
    let truth = Truth::new(problem, &marks[..of_params], in_f64);
    let twin = truth.rms(&in_f32);
    let mut row = Row {
        rule: rule.name().to_owned(),
        format: format.name(),
        variant,
        elements: problem.layout.parameter_count(),
        steps: problem.grads.len(),
        gpu_error: None,
        f32_error: truth.relative_rms(twin),
        ok: true,
        gpu_ulp: None,
        f32_ulp: twin / truth.ulp(),
        of_budget: None,
        turned: 0,
        flipped: 0,
        failures: Vec::new(),
    };
    let farthest =
        |found: &[Vec<f64>]| explain(problem, &marks, &truth.deviation(found, f64::INFINITY));
    if row.f32_error > twin_budget(format)? {
        let twin = farthest(&in_f32);
        row.failures.push(format!("the f32 twin is off: {twin}"));
    }
    if let Some(gpu) = gpu {
        let beyond = Allowance::of(&gpu.info).beyond_a_twin(problem, &options, rule, &truth)?;
        let budget = WORSE_THAN_TWIN * twin + beyond;
        let mut largest = 0.0f64;
        for (place, found) in [
            ("", in_arena(problem, &options, gpu, &marks)?),
            (
                "in a caller's ranges ",
                in_ranges(problem, &options, gpu, &marks)?,
            ),
        ] {
            let error = truth.rms(&found);
            largest = largest.max(error);
            if error > budget {
                row.failures.push(format!(
                    "{place}the RMS error is {error:.1e}, over the budget of {budget:.1e}; {}",
                    farthest(&found)
                ));
            }
            let flips = Flips::between(&found[of_params..], &in_f32[of_params..], format)?;
            row.flipped = row.flipped.max(flips.count);
            if flips.count * 1_000_000 > FLIPPED_PER_MILLION * flips.of {
                row.failures.push(format!(
                    "{place}{} of {} elements of state were rounded to another neighbour than in \
                     the f32 twin; at most {FLIPPED_PER_MILLION} in a million may",
                    flips.count, flips.of
                ));
            }
        }
        row.gpu_error = Some(truth.relative_rms(largest));
        row.gpu_ulp = Some(largest / truth.ulp());
        row.of_budget = Some(largest / budget);
    }
    row.ok = row.failures.is_empty();
    Ok(row)
}

/// Elements of state that were rounded to another neighbour.
#[derive(Debug, PartialEq)]
struct Flips {
    count: usize,
    of: usize,
}

impl Flips {
    fn between(one: &[Vec<f64>], other: &[Vec<f64>], format: Format) -> Result<Self> {
        // What the rounding of f32 moves, and the scale of a block with it, is far less.
        let least = least_step(format)? / 2.0;
        let pairs = one.iter().flatten().zip(other.iter().flatten());
        // NaN is not the same as anything.
        let is_same = |(one, other): &(&f64, &f64)| {
            (*one - *other).abs() <= least * one.abs().max(other.abs())
        };
        Ok(Self {
            of: pairs.clone().count(),
            count: pairs.filter(|pair| !is_same(pair)).count(),
        })
    }
}

/// The least distance between neighbours that can be stored, as a part of either.
fn least_step(format: Format) -> Result<f64> {
    Ok(match format {
        Format::Bf16 => 1.0 / 256.0,
        Format::Int8 => 1.0 / 32.0,
        _ => bail!("{format}: nothing is known about its steps"),
    })
}

/// The f32 twin's RMS error, as a part of the RMS movement. Sign-based rules have the largest: there,
/// elements whose sum is near zero go the other way.
pub fn twin_budget(format: Format) -> Result<f64> {
    Ok(match format {
        Format::Bf16 => 0.05,
        Format::Int8 => 0.2,
        _ => bail!("{format}: nothing is known about its error"),
    })
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::StdRng};
    use wgpu_optim::{Declaration, GpuOptions, rules, rules::Sgd};

    use super::*;
    use crate::skewed::Skewed;

    const FEW_SIZES: [usize; 3] = [64, 5, 1025];

    fn of_all_rules() -> Vec<Stored> {
        let all = rules::names().flat_map(|rule| Stored::all_of(rule).unwrap());
        all.collect()
    }

    fn problem(rule: impl Into<Box<dyn Rule>>, state: Format, seed: u32) -> Problem {
        let formats = Formats {
            state,
            seed,
            ..Default::default()
        };
        Problem::with_formats(rule, formats, &FEW_SIZES, STEPS).unwrap()
    }

    #[test]
    fn each_set_of_state_that_is_rounded_is_checked_once_in_each_format() {
        let labels = |rule| -> Vec<_> {
            let all = Stored::all_of(rule).unwrap();
            let name = |stored: &Stored| format!("{} {}", stored.format, stored.variant.label());
            all.iter().map(name).collect()
        };
        // Without momentum there is nothing to store.
        let sgd = labels("sgd");
        assert!(
            sgd.len() == 2 && sgd.iter().all(|label| label.contains("momentum=")),
            "{sgd:?}"
        );
        assert_eq!(labels("adagrad"), ["bf16 defaults", "int8 defaults"]);
        assert_eq!(labels("adam").len(), 4, "{:?}", labels("adam"));
        // Means of rows, copies of gradients and step sizes stay f32.
        for rule in ["adafactor", "rprop", "newton"] {
            assert!(labels(rule).is_empty(), "{rule}");
        }
    }

    #[test]
    fn another_neighbour_is_a_flip_and_another_ulp_is_none() {
        for format in [Format::Bf16, Format::Int8] {
            let step = least_step(format).unwrap();
            let one = [vec![1.0, -3.0, 0.0], vec![1e-9]];
            let flips = |other: [Vec<f64>; 2]| {
                let flips = Flips::between(&one, &other, format).unwrap();
                assert_eq!(flips.of, 4);
                flips.count
            };
            assert_eq!(flips(one.clone()), 0);
            assert_eq!(flips([vec![1.000_001, -2.999_999, 0.0], vec![1e-9]]), 0);
            assert_eq!(flips([vec![1.0 - step, -3.0, 0.0], vec![0.0]]), 2);
            assert_eq!(flips([vec![1.0, 3.0, f64::NAN], vec![1e-9]]), 2);
        }
        assert!(least_step(Format::F32).is_err() && twin_budget(Format::F32).is_err());
    }

    #[test]
    fn every_rule_is_right_on_the_device_of_the_tests() {
        let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
        for Stored { variant, format } in of_all_rules() {
            let problem = problem(variant.build().unwrap(), format, SEED);
            let row = check(&problem, variant.label(), format, Some(&gpu)).unwrap();
            assert!(row.ok && row.format == format.name(), "{row:?}");
            assert!(row.gpu_error.is_some() && row.of_budget.is_some());
        }
    }

    /// What a device may do, and more: gradients that are off by up to 16 ulp.
    #[test]
    fn arithmetic_that_rounds_otherwise_stays_within_the_bounds() {
        let mut rng = StdRng::seed_from_u64(5);
        let (mut flipped, mut of) = (0, 0);
        for Stored { variant, format } in of_all_rules() {
            let mut problem = problem(variant.build().unwrap(), format, SEED);
            let rule = variant.build().unwrap();
            let (marks, of_params) = marks(&problem, &*rule).unwrap();
            let in_f64 = &mut cpu::Optimizer::<f64>::new(&problem.layout).unwrap();
            let in_f64 = problem.observe(in_f64, &marks[..of_params]).unwrap();
            let truth = Truth::new(&problem, &marks, in_f64);
            let twin = |problem: &Problem| {
                let twin = &mut cpu::Optimizer::<f32>::new(&problem.layout).unwrap();
                problem.observe(twin, &marks).unwrap()
            };
            let in_f32 = twin(&problem);
            for grad in problem.grads.iter_mut().flatten().flatten() {
                *grad *= 1.0 + f32::EPSILON * rng.random_range(-16..=16) as f32;
            }
            let otherwise = twin(&problem);
            let label = format!("{} in {format}, {}", variant.rule, variant.label());
            let [expected, found] = [&in_f32, &otherwise].map(|found| truth.rms(found));
            assert!(
                found <= WORSE_THAN_TWIN * expected,
                "{label}: {found}, {expected}"
            );
            let flips =
                Flips::between(&otherwise[of_params..], &in_f32[of_params..], format).unwrap();
            (flipped, of) = (flipped + flips.count, of + flips.of);
        }
        // Otherwise nothing was put to the test.
        assert!(flipped > 10, "{flipped} of {of}");
        assert!(
            flipped * 1_000_000 <= FLIPPED_PER_MILLION * of,
            "{flipped} of {of}"
        );
    }

    /// SGD with momentum.
    fn momentum() -> Sgd {
        Sgd {
            lr: 0.5,
            momentum: 0.9,
            ..Default::default()
        }
    }

    /// The failures of momentum with `wgsl`, or with a rate of another twin in f32.
    fn failures(wgsl: String, factor_in_f32: f64, format: Format) -> String {
        let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
        let skewed = Skewed {
            is_sign_based: false,
            sgd: momentum(),
            wgsl,
            factor_in_f32,
        };
        let problem = problem(skewed, format, SEED);
        let row = check(&problem, String::new(), format, Some(&gpu)).unwrap();
        assert_eq!(row.ok, row.failures.is_empty());
        row.failures.join("\n")
    }

    #[test]
    fn a_wrong_shader_and_a_wrong_twin_are_found_out() {
        let sgd = momentum();
        let right = sgd.wgsl();
        for format in [Format::Bf16, Format::Int8] {
            assert_eq!(failures(right.into(), 1.0, format), "");
            let found = failures(right.replace("now.lr", "(1.1 * now.lr)"), 1.0, format);
            assert!(found.contains("over the budget"), "{found}");
            let found = failures(right.replace("now.at.y", "(1.01 * now.at.y)"), 1.0, format);
            assert!(found.contains("another neighbour"), "{found}");
            assert!(found.contains("in a caller's ranges"), "{found}");
            let found = failures(right.into(), 1.5, format);
            assert!(found.contains("the f32 twin is off"), "{found}");
        }
    }

    #[test]
    fn other_random_bits_are_flips() {
        for format in [Format::Bf16, Format::Int8] {
            let state = |seed| {
                let problem = problem(momentum(), format, seed);
                let (marks, of_params) = marks(&problem, &momentum()).unwrap();
                let twin = &mut cpu::Optimizer::<f32>::new(&problem.layout).unwrap();
                problem.observe(twin, &marks).unwrap().split_off(of_params)
            };
            let Flips { count, of } = Flips::between(&state(3), &state(4), format).unwrap();
            assert!(10 * count > of, "{format}: {count} of {of}");
        }
    }

    #[test]
    fn without_a_device_the_twin_in_f32_is_put_to_the_test() {
        let row = Stored::all_of("adamw").unwrap()[0].check(None).unwrap();
        assert!(
            row.ok && row.gpu_error.is_none() && row.of_budget.is_none(),
            "{row:?}"
        );
        assert!((1e-4..0.05).contains(&row.f32_error), "{row:?}");
    }
}
