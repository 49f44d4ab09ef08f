//! A rule on random problems, held against its twin in f64.

use anyhow::{Context, Result};
use serde::Serialize;
use wgpu_optim::{Clip, Formats, Gpu, Optimizer, Options, cpu, rules};

use crate::accuracy::{Deviation, Truth};
use crate::around::{self, Around};
use crate::budget::{Allowance, TURNED_PER_MILLION, TWIN_BUDGET};
use crate::copied::Copied;
use crate::place::Place;
use crate::problem::{Mark, Problem, View};
use crate::stored::Stored;
use crate::subject::OnGpu;
use crate::variant::Variant;

/// Around every boundary that the shaders have: a quad, a workgroup, several of them.
const SIZES: [usize; 11] = [1_000_000, 1, 3, 5, 255, 256, 257, 1023, 1024, 1025, 70_001];
const FEW_SIZES: [usize; 3] = [256, 5, 1025];
pub const STEPS: usize = 20;

/// What came of one variant; serialized, a line of `--json`.
#[derive(Debug, Serialize)]
pub struct Row {
    pub rule: String,
    /// Of the state, of parameters, gradients and state, or of parameters and their copy.
    pub format: String,
    pub variant: String,
    pub elements: usize,
    pub steps: usize,
    pub gpu_error: Option<f64>,
    pub f32_error: f64,
    pub ok: bool,
    pub gpu_ulp: Option<f64>,
    pub f32_ulp: f64,
    /// The GPU's error as a part of its budget.
    pub of_budget: Option<f64>,
    /// Elements that went another way than in f64: the GPU's, else the f32 twin's.
    pub turned: usize,
    /// Elements of what is stored by chance that the GPU rounded to the other neighbour than the f32 twin.
    pub flipped: usize,
    pub failures: Vec<String>,
}

/// What a row is about.
pub enum Check {
    /// A rule by itself.
    Variant(Variant),
    /// A rule with something around it.
    Around(&'static str, Around),
    /// A rule in fewer bits.
    Stored(Stored),
    /// A rule whose parameters have a copy.
    Copied(Copied),
}

impl Check {
    /// All there is of `rule`.
    pub fn all_of(rule: &'static str) -> Result<Vec<Self>> {
        let mut checks: Vec<_> = Variant::of_rule(rule)?
            .into_iter()
            .map(Self::Variant)
            .collect();
        let arounds = around::arounds_of(rule)?.into_iter();
        checks.extend(arounds.map(|around| Self::Around(rule, around)));
        checks.extend(Stored::all_of(rule)?.into_iter().map(Self::Stored));
        checks.extend(Copied::all_of(rule).into_iter().map(Self::Copied));
        Ok(checks)
    }

    pub fn rule(&self) -> &'static str {
        match self {
            Self::Variant(variant) => variant.rule,
            Self::Around(rule, _) => rule,
            Self::Stored(stored) => stored.variant.rule,
            Self::Copied(copied) => copied.variant.rule,
        }
    }

    pub fn format(&self) -> String {
        match self {
            Self::Stored(stored) => flags::format::name(&stored.formats),
            Self::Copied(copied) => flags::format::name(&copied.formats),
            _ => flags::format::name(&Formats::default()),
        }
    }

    pub fn label(&self) -> String {
        match self {
            Self::Variant(variant) => variant.label(),
            Self::Around(_, around) => around.label.to_owned(),
            Self::Stored(stored) => stored.label(),
            Self::Copied(copied) => copied.variant.label(),
        }
    }

    pub fn run(&self, gpu: Option<&Gpu>) -> Result<Row> {
        match self {
            Self::Variant(variant) => check(variant, gpu),
            Self::Around(rule, around) => check_around(rule, around, gpu),
            Self::Stored(stored) => stored.check(gpu),
            Self::Copied(copied) => copied.check(gpu),
        }
    }
}

/// Runs `variant` in f64, in f32 and, if there is one, on the GPU.
fn check(variant: &Variant, gpu: Option<&Gpu>) -> Result<Row> {
    let sizes = match variant.settings.is_empty() {
        true => &SIZES[..],
        false => &FEW_SIZES[..],
    };
    let problem = Problem::with_sizes(variant.build()?, sizes, STEPS)?;
    check_problem(&problem, variant.label(), &Options::default(), gpu)
}

/// Runs `rule` with something around it; steps are skipped where that is part of it.
fn check_around(rule: &str, around: &Around, gpu: Option<&Gpu>) -> Result<Row> {
    let mut problem = Problem::with_sizes(rules::by_name(rule)?, &FEW_SIZES, STEPS)?;
    around.prepare(&mut problem)?;
    check_problem(&problem, around.label.to_owned(), &around.options, gpu)
}

/// Holds the GPU and the f32 twin against f64.
pub fn check_problem(
    problem: &Problem,
    variant: String,
    options: &Options,
    gpu: Option<&Gpu>,
) -> Result<Row> {
    let mut groups = problem.layout.groups();
    let group = groups.next().context("the problem has no group")?;
    let rule = problem.layout.rule(group)?;
    let marks = problem.end(options.average.is_some())?;
    let layout = &problem.layout;
    let mut in_f64 = cpu::Optimizer::<f64>::with_options(layout, options.clone())?;
    let mut in_f32 = cpu::Optimizer::<f32>::with_options(layout, options.clone())?;
    let in_f64 = problem.observe(&mut in_f64, &marks)?;
    let in_f32 = problem.observe(&mut in_f32, &marks)?;
    let truth = Truth::new(problem, &marks, in_f64);
    let turn = match rule.is_sign_based() {
        true => STEPS as f64 * truth.ulp(),
        false => f64::INFINITY,
    };
    let twin = truth.deviation(&in_f32, turn);
    let elements = problem.layout.parameter_count();
    let mut row = Row {
        rule: rule.name().to_owned(),
        format: flags::format::name(&layout.formats(group)?),
        variant,
        elements,
        steps: STEPS,
        gpu_error: None,
        f32_error: truth.relative(twin.largest),
        ok: true,
        gpu_ulp: None,
        f32_ulp: twin.largest / truth.ulp(),
        of_budget: None,
        turned: twin.turned,
        flipped: 0,
        failures: Vec::new(),
    };
    if row.f32_error > TWIN_BUDGET {
        let twin = explain(problem, &marks, &twin);
        row.failures.push(format!("the f32 twin is off: {twin}"));
    }
    if let Some(gpu) = gpu {
        let in_arenas = on_gpu(problem, options, gpu, Place::Arenas, &marks)?;
        let deviation = truth.deviation(&in_arenas, turn);
        let allowance = Allowance::of(&gpu.info);
        let budget = allowance.budget(problem, options, rule, &truth, twin.largest)?;
        row.gpu_error = Some(truth.relative(deviation.largest));
        row.gpu_ulp = Some(deviation.largest / truth.ulp());
        row.of_budget = Some(deviation.largest / budget);
        row.turned = deviation.turned;
        if deviation.largest > budget {
            let deviation = explain(problem, &marks, &deviation);
            row.failures
                .push(format!("{deviation}, over the budget of {budget:.1e}"));
        }
        let in_ranges = on_gpu(problem, options, gpu, Place::Ranges, &marks)?;
        let differing = differing(&in_arenas, &in_ranges);
        // Sums are added up in another order there.
        let has_norm = matches!(options.clip, Clip::GlobalNorm(_) | Clip::TensorNorm(_));
        if has_norm || rule.stages().sum.is_some() {
            let deviation = truth.deviation(&in_ranges, turn);
            if deviation.largest > budget {
                let deviation = explain(problem, &marks, &deviation);
                row.failures.push(format!(
                    "in a caller's ranges {deviation}, over {budget:.1e}"
                ));
            }
        } else if differing > 0 {
            row.failures.push(format!(
                "{differing} elements differ between arenas and a caller's ranges"
            ));
        }
    }
    if row.turned * 1_000_000 > TURNED_PER_MILLION * elements {
        row.failures.push(format!(
            "{} elements went another way than in f64; at most {TURNED_PER_MILLION} in a million may",
            row.turned
        ));
    }
    row.ok = row.failures.is_empty();
    Ok(row)
}

/// What an optimizer comes to on the device whose parameters and gradients lie at `place`.
pub fn on_gpu(
    problem: &Problem,
    options: &Options,
    gpu: &Gpu,
    place: Place,
    marks: &[Mark],
) -> Result<Vec<Vec<f64>>> {
    let (device, layout, options) = (&gpu.device, &problem.layout, options.clone());
    let mut optimizer = match place.buffers(problem, device)? {
        Some(buffers) => Optimizer::over(device, layout, buffers, options)?,
        None => Optimizer::new(device, layout, options)?,
    };
    let optimizer = &mut optimizer;
    Ok(problem.observe(&mut OnGpu { gpu, optimizer }, marks)?)
}

fn differing(one: &[Vec<f64>], other: &[Vec<f64>]) -> usize {
    let pairs = one.iter().flatten().zip(other.iter().flatten());
    pairs
        .filter(|(one, other)| one.to_bits() != other.to_bits())
        .count()
}

/// Where the error is largest, for whoever looks for its cause.
pub fn explain(problem: &Problem, marks: &[Mark], deviation: &Deviation) -> String {
    let Some(place) = deviation.place else {
        return "nothing is off".into();
    };
    let Mark { step, tensor, view } = marks[place.mark];
    let mut tensors = problem.layout.tensors();
    let name = tensors
        .nth(tensor)
        .and_then(|tensor| problem.layout.name(tensor).ok());
    let of = match view {
        View::Trained => "",
        View::Evaluated => "evaluated ",
        View::State(slot) => &format!("{slot} of "),
    };
    format!(
        "element {} of {of}{:?} after step {step} is {:e} where {:e} is right, an error of {:.1e}",
        place.element,
        name.unwrap_or_default(),
        place.found,
        place.right,
        deviation.largest
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skewed::Skewed;
    use wgpu_optim::{GpuOptions, rules};

    fn truth(right: &[f64]) -> Truth {
        let problem = Problem::with_sizes(rules::by_name("sgd").unwrap(), &[right.len()], 1);
        let problem = problem.unwrap();
        let marks = problem.end(false).unwrap();
        Truth::new(&problem, &marks, vec![right.to_vec()])
    }

    #[test]
    fn the_largest_error_is_found_with_its_place() {
        let truth = truth(&[10.0, 20.0, 30.0]);
        let deviation = truth.deviation(&[vec![10.0, 20.5, 30.25]], f64::INFINITY);
        assert_eq!((deviation.largest, deviation.turned), (0.5, 0));
        let place = deviation.place.unwrap();
        assert_eq!((place.mark, place.element), (0, 1));
        assert_eq!((place.found, place.right), (20.5, 20.0));
        // Parameters start within one of zero.
        let relative = truth.relative(0.5);
        assert!((0.5 / 31.0..0.5 / 29.0).contains(&relative), "{relative}");
    }

    #[test]
    fn elements_that_turned_are_counted_apart_but_never_a_nan() {
        let truth = truth(&[1.0; 4]);
        let found = [vec![1.0, 1.25, 9.0, f64::NAN]];
        let deviation = truth.deviation(&found[..], 0.5);
        assert_eq!((deviation.largest, deviation.turned), (f64::INFINITY, 1));
        assert_eq!(deviation.place.unwrap().element, 3);
        let deviation = truth.deviation(&[found[0][..3].to_vec()], 0.5);
        assert_eq!((deviation.largest, deviation.turned), (0.25, 1));
    }

    #[test]
    fn infinite_errors_are_numbers_in_json() {
        let truth = truth(&[1.0]);
        let line = serde_json::to_string(&truth.relative(f64::INFINITY)).unwrap();
        assert_eq!(line.parse(), Ok(f64::MAX));
        assert_eq!(truth.relative(0.0), 0.0);
    }

    #[test]
    fn results_that_are_not_bit_equal_are_counted() {
        let one = [vec![1.0, 0.0], vec![2.0]];
        assert_eq!(differing(&one, &one), 0);
        assert_eq!(differing(&one, &[vec![1.0, -0.0], vec![2.5]]), 2);
    }

    #[test]
    fn whatever_is_around_a_rule_is_right_on_the_device_of_the_tests() {
        let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
        for rule in around::rules() {
            for around in around::arounds_of(rule).unwrap() {
                let row = check_around(rule, &around, Some(&gpu)).unwrap();
                assert!(row.ok, "{} {}: {:#?}", row.rule, row.variant, row.failures);
            }
        }
    }

    #[test]
    fn every_rule_is_right_on_the_device_of_the_tests() {
        let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
        for rule in rules::names() {
            let variants = Variant::of_rule(rule).unwrap();
            let row = check(variants.last().unwrap(), Some(&gpu)).unwrap();
            assert!(row.ok, "{row:?}");
            assert!(row.gpu_error.is_some() && row.of_budget.is_some());
        }
    }

    /// The failures of a rule that is wrong on purpose.
    fn failures(rule: Skewed) -> Vec<String> {
        let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
        let problem = Problem::with_sizes(rule, &[5, 1025], STEPS).unwrap();
        let options = Options::default();
        let row = check_problem(&problem, String::new(), &options, Some(&gpu)).unwrap();
        assert_eq!(row.ok, row.failures.is_empty());
        row.failures
    }

    #[test]
    fn a_wrong_shader_and_a_wrong_twin_are_found_out() {
        assert_eq!(failures(Skewed::new(0.5, "now.lr")), [""; 0]);
        let found = failures(Skewed::new(0.5, "(1.00001 * now.lr)")).join("\n");
        assert!(found.contains("over the budget"), "{found}");
        let found = failures(Skewed {
            factor_in_f32: 1.1,
            ..Skewed::new(0.5, "now.lr")
        });
        assert!(
            found.join("\n").contains("the f32 twin is off"),
            "{found:?}"
        );
    }

    #[test]
    fn of_a_sign_based_rule_too_many_turned_elements_are_found_out() {
        let found = failures(Skewed {
            is_sign_based: true,
            ..Skewed::new(0.5, "(1.00001 * now.lr)")
        });
        assert!(found.join("\n").contains("went another way"), "{found:?}");
    }

    #[test]
    fn without_a_device_the_twin_in_f32_is_put_to_the_test() {
        let variants = Variant::of_rule("adamw").unwrap();
        let row = check(variants.last().unwrap(), None).unwrap();
        assert!(row.ok, "{row:?}");
        assert_eq!(
            (row.gpu_error, row.gpu_ulp, row.of_budget),
            (None, None, None)
        );
        assert!(row.f32_error > 0.0 && row.f32_error < 1e-4, "{row:?}");
    }
}
