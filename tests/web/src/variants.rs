//! Every variant of every rule, wherever its parameters and gradients lie, against its twin in f64.

use anyhow::{Result, ensure};
use wgpu_optim::{Gpu, Optimizer, Options, cpu, rules};

use crate::accuracy::Truth;
use crate::budget::{Allowance, TWIN_BUDGET};
use crate::place::Place;
use crate::problem::{Mark, Problem};
use crate::variant::Variant;
use crate::{Outcome, progress};

/// Around a quad and what a workgroup takes, so that most start and end off the quads.
const SIZES: [usize; 4] = [67, 5, 1025, 5];
/// The two of `SIZES` that are given the same gradients.
const SAME_GRADIENTS: [usize; 2] = [1, 3];
const STEPS: usize = 20;

/// All that is wrong, or how close it was.
pub async fn everywhere(gpu: &Gpu) -> Outcome {
    let mut tally = Tally::default();
    for rule in rules::names() {
        for variant in Variant::of_rule(rule)? {
            if let Err(wrong) = check(gpu, &variant, &mut tally).await {
                tally
                    .failures
                    .push(format!("{}: {wrong:#}", name(&variant)));
            }
            tally.variants += 1;
        }
    }
    let Tally {
        variants,
        places,
        worst: (part, closest),
        failures,
    } = tally;
    if !failures.is_empty() {
        let wrong = failures.len();
        let all = failures.join("\n  ");
        return Err(format!("{wrong} failures in {variants} variants\n  {all}").into());
    }
    Ok(format!(
        "{variants} variants, {places} runs, {closest} at {part:.2} of its budget"
    ))
}

#[derive(Default)]
struct Tally {
    variants: usize,
    /// Runs on the device that were right.
    places: usize,
    /// The largest part of a budget, and whose it is.
    worst: (f64, String),
    failures: Vec<String>,
}

fn name(variant: &Variant) -> String {
    format!("{} {}", variant.rule, variant.label())
}

/// Runs `variant` at each place.
async fn check(gpu: &Gpu, variant: &Variant, tally: &mut Tally) -> Result<()> {
    let trial = Trial::of(gpu, variant)?;
    let mut in_arenas = Vec::new();
    for place in [Place::Arenas, Place::Ranges, Place::Shared] {
        let name = format!("{} in {place:?}", name(variant));
        progress(&name);
        match trial.run(gpu, place, &in_arenas).await {
            Ok((part, found)) => {
                tally.places += 1;
                if part >= tally.worst.0 {
                    tally.worst = (part, name);
                }
                if place == Place::Arenas {
                    in_arenas = found;
                }
            }
            Err(wrong) => tally.failures.push(format!("{name}: {wrong:#}")),
        }
    }
    Ok(())
}

/// A problem with what comes of it.
struct Trial {
    problem: Problem,
    marks: Vec<Mark>,
    truth: Truth,
    /// How far from the truth a device may be.
    budget: f64,
    /// Sums are added up in another order outside the arenas.
    has_sums: bool,
}

impl Trial {
    fn of(gpu: &Gpu, variant: &Variant) -> Result<Self> {
        let mut problem = Problem::with_sizes(variant.build()?, &SIZES, STEPS)?;
        let [first, other] = SAME_GRADIENTS;
        for grads in &mut problem.grads {
            grads[other] = grads[first].clone();
        }
        let marks = problem.end(false)?;
        let in_f64 = problem.observe(&mut cpu::Optimizer::<f64>::new(&problem.layout)?, &marks)?;
        let in_f32 = problem.observe(&mut cpu::Optimizer::<f32>::new(&problem.layout)?, &marks)?;
        let truth = Truth::new(&problem, &marks, in_f64);
        // So few elements of a sign-based rule are here that none may go the other way.
        let twin = truth.deviation(&in_f32, f64::INFINITY).largest;
        let error = truth.relative(twin);
        ensure!(error <= TWIN_BUDGET, "the f32 twin is off by {error:.1e}");
        let (rule, options) = (variant.build()?, Options::default());
        let allowance = Allowance::of(&gpu.info);
        Ok(Self {
            budget: allowance.budget(&problem, &options, &*rule, &truth, twin)?,
            has_sums: rule.stages().sum.is_some(),
            problem,
            marks,
            truth,
        })
    }

    /// How much of the budget is used at `place`, and the parameters there. Where nothing is added up
    /// these are, to the bit, those in arenas, unless there are none yet.
    async fn run(
        &self,
        gpu: &Gpu,
        place: Place,
        in_arenas: &[Vec<f64>],
    ) -> Result<(f64, Vec<Vec<f64>>)> {
        let (device, layout) = (&gpu.device, &self.problem.layout);
        let options = Options::default();
        let mut optimizer = match place.buffers(&self.problem, device)? {
            Some(buffers) => Optimizer::over_async(device, layout, buffers, options).await?,
            None => Optimizer::new_async(device, layout, options).await?,
        };
        let (problem, marks) = (&self.problem, &self.marks);
        let found = problem.observe_end(gpu, &mut optimizer, marks).await?;
        let deviation = self.truth.deviation(&found, f64::INFINITY);
        if let Some(place) = deviation.place {
            ensure!(
                deviation.largest <= self.budget,
                "element {} of tensor {} is {:e} where {:e} is right; the budget is {:.1e}",
                place.element,
                marks[place.mark].tensor,
                place.found,
                place.right,
                self.budget
            );
        }
        let pairs = found.iter().flatten().zip(in_arenas.iter().flatten());
        let differing = pairs.filter(|(one, other)| one.to_bits() != other.to_bits());
        let differing = differing.count();
        ensure!(
            self.has_sums || differing == 0,
            "{differing} elements differ from those in arenas"
        );
        Ok((deviation.largest / self.budget, found))
    }
}
