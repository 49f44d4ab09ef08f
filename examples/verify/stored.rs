//! A rule with its state in fewer bits, or its parameters and gradients too, held against its twin in f64,
//! which never rounds, and against the twin in f32, which draws the same random bits.

use std::slice::from_ref;

use anyhow::{Context, Result, bail};
use flags::format;
use wgpu_optim::{Extent, Format, Formats, Gpu, Options, Rule, Slot, cpu};

use crate::accuracy::Truth;
use crate::around::{self, Around};
use crate::budget::{Allowance, TWIN_BUDGET};
use crate::check::{Row, explain, on_gpu};
use crate::flips::Flips;
use crate::place::Place;
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
        "in fewer bits: {WORSE_THAN_TWIN} × in place of 2 ×, by RMS. And of a million elements that are rounded by\n\
         chance, at most {FLIPPED_PER_MILLION} may have gone to the other neighbour than in the f32 twin (flipped), since\n\
         they lie within rounding of a random number"
    )
}

/// A variant in these formats.
pub struct Stored {
    pub variant: Variant,
    pub formats: Formats,
    /// What surrounds it, if anything does.
    around: Option<Around>,
}

/// The state that is rounded, with its format.
fn rounded_slots(rule: &dyn Rule, formats: &Formats) -> Vec<(Slot, Format)> {
    let mut slots = state_slots(rule);
    slots.retain(|slot| slot.extent == Extent::Element);
    let slots = slots.into_iter();
    let slots = slots.map(|slot| (slot, formats.of_state(slot.precision)));
    slots.filter(|(_, format)| format.rounds()).collect()
}

impl Stored {
    /// In each of [`formats`], the first variant for each set of elements' state that `rule` can have. Then
    /// what has an average, over the rounded parameters that are averaged.
    pub fn all_of(rule: &'static str) -> Result<Vec<Self>> {
        let (mut sets, mut all) = (Vec::new(), Vec::new());
        for variant in Variant::of_rule(rule)? {
            let rule = variant.build()?;
            let mut set = state_slots(&*rule);
            set.retain(|slot| slot.extent == Extent::Element);
            let set: Vec<_> = set.iter().map(|slot| (slot.name, slot.precision)).collect();
            if sets.contains(&set) {
                continue;
            }
            sets.push(set);
            all.extend(formats(&*rule).into_iter().map(|formats| Self {
                variant: variant.clone(),
                formats,
                around: None,
            }));
        }
        let defaults = Variant {
            rule,
            settings: Vec::new(),
        };
        let mut rounded = formats(&*defaults.build()?);
        rounded.retain(|formats| formats.params != Format::F32);
        for formats in rounded {
            let mut arounds = around::arounds_of(rule)?;
            arounds.retain(|around| around.options.average.is_some());
            all.extend(arounds.into_iter().map(|around| Self {
                variant: defaults.clone(),
                formats,
                around: Some(around),
            }));
        }
        Ok(all)
    }

    pub fn label(&self) -> String {
        match &self.around {
            Some(around) => around.label.to_owned(),
            None => self.variant.label(),
        }
    }

    fn options(&self) -> Options {
        let around = self.around.as_ref();
        around.map_or_else(Options::default, |around| around.options.clone())
    }

    /// Of tensors of these sizes.
    fn problem(&self, sizes: &[usize]) -> Result<Problem> {
        let mut problem = problem(self.variant.build()?, self.formats, sizes)?;
        if let Some(around) = &self.around {
            around.prepare(&mut problem)?;
        }
        Ok(problem)
    }

    /// In f64, in f32 and, if there is one, on the GPU.
    pub fn check(&self, gpu: Option<&Gpu>) -> Result<Row> {
        check(
            &self.problem(&SIZES)?,
            self.label(),
            &self.formats,
            &self.options(),
            gpu,
        )
    }
}

/// Each in which something of `rule` is rounded: state alone, the sensitive one, then parameters and gradients
/// with both.
fn formats(rule: &dyn Rule) -> Vec<Formats> {
    let in_state = |state| Formats {
        state,
        seed: SEED,
        ..Default::default()
    };
    let mut all = Vec::new();
    let mut smallest = in_state(Format::F32);
    let rounds = |formats: &Formats| !rounded_slots(rule, formats).is_empty();
    if rounds(&in_state(Format::Int8)) {
        all.extend([Format::Bf16, Format::Int8].map(in_state));
        smallest.state = Format::Int8;
    }
    let sensitive = Formats {
        sensitive: Format::Bf16,
        ..in_state(Format::F32)
    };
    if rounds(&sensitive) {
        all.push(sensitive);
        smallest.sensitive = Format::Bf16;
    }
    // Parameters to evaluate with could not be put back if those to train with were rounded.
    let halves = Formats::PARAMS.iter().filter(|params| {
        **params != Format::F32 && !(params.rounds() && rule.evaluates_elsewhere())
    });
    all.extend(halves.map(|&params| Formats {
        params,
        grads: Format::Bf16,
        ..smallest
    }));
    all
}

/// A problem whose parameters and gradients are such as their formats can hold.
fn problem(rule: impl Into<Box<dyn Rule>>, formats: Formats, sizes: &[usize]) -> Result<Problem> {
    let mut problem = Problem::with_formats(rule, formats, sizes, STEPS)?;
    let keep = |value: &mut f32, format: Format| {
        let lost = 32 - 8 * format.bytes_per_element() as u32;
        *value = f32::from_bits(value.to_bits() >> lost << lost);
    };
    let params = problem.params.iter_mut().flatten();
    params.for_each(|value| keep(value, formats.params));
    let grads = problem.grads.iter_mut().flatten().flatten();
    grads.for_each(|value| keep(value, formats.grads));
    Ok(problem)
}

/// The state that is rounded, to be looked at after the last step, with its format.
fn rounded_state(problem: &Problem, rule: &dyn Rule, formats: &Formats) -> Vec<(Mark, Format)> {
    let slots = rounded_slots(rule, formats).into_iter();
    let marks = slots.flat_map(|(slot, format)| {
        let tensors = 0..problem.params.len();
        tensors.map(move |tensor| {
            let mark = Mark {
                step: problem.grads.len(),
                tensor,
                view: View::State(slot.name),
            };
            (mark, format)
        })
    });
    marks.collect()
}

/// Holds the GPU's and the f32 twin's parameters against f64, by the RMS of their distances, and counts
/// the elements on the GPU that are not what the f32 twin stored.
fn check(
    problem: &Problem,
    variant: String,
    formats: &Formats,
    options: &Options,
    gpu: Option<&Gpu>,
) -> Result<Row> {
    let group = problem.layout.groups().next();
    let rule = problem
        .layout
        .rule(group.context("the problem has no group")?)?;
    let averages = options.average.is_some();
    let mut marks = problem.end(averages)?;
    let of_state = rounded_state(problem, rule, formats);
    let of_params = marks.len();
    marks.extend(of_state.iter().map(|(mark, _)| mark));
    let layout = &problem.layout;
    let mut in_f64 = cpu::Optimizer::<f64>::with_options(layout, options.clone())?;
    let mut in_f32 = cpu::Optimizer::<f32>::with_options(layout, options.clone())?;
    let in_f64 = problem.observe(&mut in_f64, &marks[..of_params])?;
    let in_f32 = problem.observe(&mut in_f32, &marks)?;
    let truth = Truth::new(problem, &marks[..of_params], in_f64);
    let twin = truth.rms(&in_f32);
    let mut row = Row {
        rule: rule.name().to_owned(),
        format: format::name(formats),
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
    if row.f32_error > twin_budget(formats, &truth)? {
        let twin = farthest(&in_f32);
        row.failures.push(format!("the f32 twin is off: {twin}"));
    }
    if let Some(gpu) = gpu {
        let beyond = Allowance::of(&gpu.info).beyond_a_twin(problem, options, rule, &truth)?;
        let budget = WORSE_THAN_TWIN * twin + beyond;
        let mut largest = 0.0f64;
        for (place, name) in [
            (Place::Arenas, ""),
            (Place::Ranges, "in a caller's ranges "),
        ] {
            let found = on_gpu(problem, options, gpu, place, &marks)?;
            let error = truth.rms(&found);
            largest = largest.max(error);
            if error > budget {
                row.failures.push(format!(
                    "{name}the RMS error is {error:.1e}, over the budget of {budget:.1e}; {}",
                    farthest(&found)
                ));
            }
            let mut flips = Flips::default();
            let [of_gpu, of_twin] = [&found, &in_f32].map(|found| found.split_at(of_params));
            let state = of_gpu.1.iter().zip(of_twin.1);
            for ((of_gpu, of_twin), (_, format)) in state.zip(&of_state) {
                flips.add(from_ref(of_gpu), from_ref(of_twin), *format)?;
            }
            if formats.params == Format::Bf16 {
                flips.add(of_gpu.0, of_twin.0, formats.params)?;
            }
            row.flipped = row.flipped.max(flips.count);
            if flips.count * 1_000_000 > FLIPPED_PER_MILLION * flips.of {
                row.failures.push(format!(
                    "{name}{} of {} elements were rounded to another neighbour than in \
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

/// The f32 twin's RMS error, as a part of the RMS movement. Sign-based rules have the largest of state:
/// there, elements whose sum is near zero go the other way.
///
/// A parameter's last place in bf16 is at most 2⁻⁷ of it. Rounding by chance has a variance of at most a
/// quarter of its square, and adds up as a random walk; so does that of a copy of it in the state. In 24 bits the
/// last place is 2⁻¹⁵ of it, and rounding to the nearest may add up.
fn twin_budget(formats: &Formats, truth: &Truth) -> Result<f64> {
    let of_state = match formats.state {
        Format::F32 => 0.0,
        Format::Bf16 => 0.05,
        Format::Int8 => 0.2,
        format => bail!("{format}: nothing is known about its error"),
    };
    let steps = STEPS as f64;
    let of_values = |format: Format| {
        Ok(match format {
            format if !format.rounds() => 0.0,
            Format::Bf16 => steps.sqrt() * 2f64.powi(-8),
            Format::Bf16Plus8 => steps * 2f64.powi(-16),
            format => bail!("{format}: nothing is known about its error"),
        })
    };
    let of_values = of_values(formats.params)? + of_values(formats.sensitive)?;
    let rounded = of_state + truth.relative_rms(of_values * truth.rms_value);
    // Where nothing is rounded it is that of f32.
    Ok(if rounded > 0.0 { rounded } else { TWIN_BUDGET })
}

#[cfg(test)]
mod tests {
    use crate::flips::least_step;
    use rand::{RngExt, SeedableRng, rngs::StdRng};
    use wgpu_optim::{Declaration, GpuOptions, rules, rules::Sgd};

    use super::*;
    use crate::skewed::Skewed;

    const FEW_SIZES: [usize; 3] = [64, 5, 1025];

    fn of_all_rules() -> Vec<Stored> {
        let all = rules::names().flat_map(|rule| Stored::all_of(rule).unwrap());
        all.collect()
    }

    fn in_state(state: Format) -> Formats {
        Formats {
            state,
            seed: SEED,
            ..Default::default()
        }
    }

    fn few(rule: impl Into<Box<dyn Rule>>, formats: Formats) -> Problem {
        problem(rule, formats, &FEW_SIZES).unwrap()
    }

    #[test]
    fn each_set_of_state_that_is_rounded_is_checked_once_in_each_format() {
        let labels = |rule| -> Vec<_> {
            let mut all = Stored::all_of(rule).unwrap();
            all.retain(|stored| stored.around.is_none());
            let name = |stored: &Stored| {
                let formats = format::name(&stored.formats);
                format!("{formats} {}", stored.label())
            };
            all.iter().map(name).collect()
        };
        // Without momentum there is no state to store.
        let sgd = labels("sgd");
        let of_state = |label: &&String| label.starts_with("bf16 ") || label.starts_with("int8 ");
        let of_state: Vec<_> = sgd.iter().filter(of_state).collect();
        assert!(
            of_state.len() == 2 && of_state.iter().all(|label| label.contains("momentum=")),
            "{sgd:?}"
        );
        assert!(
            sgd.contains(&"bf16+8/bf16/f32 defaults".to_owned()),
            "{sgd:?}"
        );
        let adagrad = [
            "bf16 defaults",
            "int8 defaults",
            "bf16/bf16/int8 defaults",
            "bf16+8/bf16/int8 defaults",
            "bf16+16/bf16/int8 defaults",
        ];
        assert_eq!(labels("adagrad"), adagrad);
        assert_eq!(labels("adam").len(), 10, "{:?}", labels("adam"));
        // Means of rows and inputs stay f32.
        for rule in ["adafactor", "newton"] {
            let labels = labels(rule);
            assert!(
                labels.iter().all(|label| label.contains("/f32 ")),
                "{labels:?}"
            );
        }
        // Copies of gradients and step sizes may be bf16.
        let rprop = [
            "f32/f32/f32/bf16 defaults",
            "bf16/bf16/f32/bf16 defaults",
            "bf16+8/bf16/f32/bf16 defaults",
            "bf16+16/bf16/f32/bf16 defaults",
        ];
        assert_eq!(labels("rprop"), rprop);
        // A rule that evaluates elsewhere keeps all bits of its parameters.
        let mut labels = labels("schedulefree_adamw");
        labels.retain(|label| label.contains('/') && !label.starts_with("f32/"));
        assert!(
            !labels.is_empty() && labels.iter().all(|label| label.starts_with("bf16+16")),
            "{labels:?}"
        );
    }

    #[test]
    fn averages_are_over_rounded_parameters_and_of_one_rule_of_each_kind() {
        let averaged = |rule| {
            let mut all = Stored::all_of(rule).unwrap();
            all.retain(|stored| stored.around.is_some());
            let is_averaged = |stored: &Stored| {
                stored.options().average.is_some() && stored.formats.params != Format::F32
            };
            assert!(all.iter().all(is_averaged), "{rule}");
            all.len()
        };
        // Three formats, each with the average alone and with all that surrounds a step.
        assert_eq!(averaged("adagrad"), 6);
        // It averages by itself.
        assert_eq!(averaged("schedulefree_adamw"), 0);
        let of_all: Vec<_> = around::rules().into_iter().map(averaged).collect();
        assert!(
            of_all.iter().filter(|count| **count == 6).count() >= 6,
            "{of_all:?}"
        );
        assert_eq!(
            rules::names().map(averaged).sum::<usize>(),
            of_all.iter().sum::<usize>()
        );
    }

    #[test]
    fn another_neighbour_is_a_flip_and_another_ulp_is_none() {
        for format in [Format::Bf16, Format::Int8] {
            let step = least_step(format).unwrap();
            let one = [vec![1.0, -3.0, 0.0], vec![1e-9]];
            let flips = |other: [Vec<f64>; 2]| {
                let mut flips = Flips::default();
                flips.add(&one, &other, format).unwrap();
                assert_eq!(flips.of, 4);
                flips.count
            };
            assert_eq!(flips(one.clone()), 0);
            assert_eq!(flips([vec![1.000_001, -2.999_999, 0.0], vec![1e-9]]), 0);
            assert_eq!(flips([vec![1.0 - step, -3.0, 0.0], vec![0.0]]), 2);
            assert_eq!(flips([vec![1.0, 3.0, f64::NAN], vec![1e-9]]), 2);
        }
        assert!(least_step(Format::F32).is_err());
    }

    #[test]
    fn every_rule_is_right_on_the_device_of_the_tests() {
        let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
        for stored in of_all_rules() {
            let (formats, options) = (&stored.formats, stored.options());
            let problem = stored.problem(&FEW_SIZES).unwrap();
            let row = check(&problem, stored.label(), formats, &options, Some(&gpu)).unwrap();
            assert!(row.ok && row.format == format::name(formats), "{row:?}");
            assert!(row.gpu_error.is_some() && row.of_budget.is_some());
        }
    }

    /// What a device may do, and more: gradients that are off by up to 16 ulp.
    #[test]
    fn arithmetic_that_rounds_otherwise_stays_within_the_bounds() {
        let mut rng = StdRng::seed_from_u64(5);
        let (mut flipped, mut of) = (0, 0);
        let of_state = of_all_rules().into_iter();
        // Beside the rounding of sensitive state alone, such an error can be larger.
        let of_state = of_state.filter(|stored| {
            let Formats { params, state, .. } = stored.formats;
            params == Format::F32 && state != Format::F32
        });
        for stored in of_state {
            let mut problem = stored.problem(&FEW_SIZES).unwrap();
            let rule = stored.variant.build().unwrap();
            let mut marks = problem.end(false).unwrap();
            let of_state = rounded_state(&problem, &*rule, &stored.formats);
            let of_params = marks.len();
            marks.extend(of_state.iter().map(|(mark, _)| mark));
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
            let formats = format::name(&stored.formats);
            let label = format!("{} in {formats}, {}", stored.variant.rule, stored.label());
            let [expected, found] = [&in_f32, &otherwise].map(|found| truth.rms(found));
            assert!(
                found <= WORSE_THAN_TWIN * expected,
                "{label}: {found}, {expected}"
            );
            let mut flips = Flips::default();
            let state = otherwise[of_params..].iter().zip(&in_f32[of_params..]);
            for ((found, expected), (_, format)) in state.zip(&of_state) {
                let added = flips.add(from_ref(found), from_ref(expected), *format);
                added.unwrap();
            }
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
    fn failures(wgsl: String, factor_in_f32: f64, formats: Formats) -> String {
        let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
        let skewed = Skewed {
            is_sign_based: false,
            sgd: momentum(),
            wgsl,
            factor_in_f32,
        };
        let problem = few(skewed, formats);
        let options = Options::default();
        let row = check(&problem, String::new(), &formats, &options, Some(&gpu)).unwrap();
        assert_eq!(row.ok, row.failures.is_empty());
        row.failures.join("\n")
    }

    #[test]
    fn a_wrong_shader_and_a_wrong_twin_are_found_out() {
        let sgd = momentum();
        let right = sgd.wgsl();
        for name in ["bf16", "int8", "bf16/bf16/int8", "bf16+8/bf16/f32"] {
            let formats = Formats {
                seed: SEED,
                ..format::of_all(name).unwrap()
            };
            assert_eq!(failures(right.into(), 1.0, formats), "", "{name}");
            let found = failures(right.replace("now.lr", "(1.1 * now.lr)"), 1.0, formats);
            assert!(found.contains("over the budget"), "{name}: {found}");
            assert!(found.contains("in a caller's ranges"), "{name}: {found}");
            if formats.state != Format::F32 {
                let wrong = right.replace("now.at.y", "(1.01 * now.at.y)");
                let found = failures(wrong, 1.0, formats);
                assert!(found.contains("another neighbour"), "{name}: {found}");
            }
            let found = failures(right.into(), 1.5, formats);
            assert!(found.contains("the f32 twin is off"), "{name}: {found}");
        }
    }

    #[test]
    fn other_random_bits_are_flips() {
        for format in [Format::Bf16, Format::Int8] {
            let state = |seed| {
                let formats = Formats {
                    seed,
                    ..in_state(format)
                };
                let problem = few(momentum(), formats);
                let of_state = rounded_state(&problem, &momentum(), &formats);
                let marks: Vec<_> = of_state.into_iter().map(|(mark, _)| mark).collect();
                let twin = &mut cpu::Optimizer::<f32>::new(&problem.layout).unwrap();
                problem.observe(twin, &marks).unwrap()
            };
            let mut flips = Flips::default();
            flips.add(&state(3), &state(4), format).unwrap();
            let Flips { count, of } = flips;
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
