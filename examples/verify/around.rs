//! What surrounds the update, to be held against the twin like the rules themselves: clipping, loss
//! scaling, skipping, accumulation, averaging.

use std::mem::{Discriminant, discriminant};

use anyhow::{Context, Result};
use wgpu_optim::{Average, Clip, Extent, LossScale, MatrixWork, Options, Over, Rule, rules};

use crate::problem::Problem;

/// Options under the name that the table has for them.
pub struct Around {
    pub label: &'static str,
    pub options: Options,
}

impl Around {
    /// Makes the gradients what a caller's backward passes would leave, and some of them not finite where
    /// such steps are skipped.
    pub fn prepare(&self, problem: &mut Problem) -> Result<()> {
        let scale = self
            .options
            .loss_scale
            .map_or(1.0, |scale| scale.init_scale);
        let scale = (scale * f64::from(self.options.accumulate)) as f32;
        let grads = problem.grads.iter_mut().flatten().flatten();
        grads.for_each(|g| *g *= scale);
        if self.options.skips() {
            for (step, bad) in [(0, f32::NAN), (7, f32::INFINITY), (8, f32::NEG_INFINITY)] {
                let last = problem.grads[step].last_mut().and_then(|of| of.last_mut());
                *last.context("the problem has no gradient")? = bad;
            }
        }
        Ok(())
    }
}

/// The rules that are stepped with each of [`arounds`]: the first of each kind, by what they keep, by
/// how they use the step count and by what they look at before the update.
pub fn rules() -> Vec<&'static str> {
    let mut kinds = Vec::new();
    let mut names = Vec::new();
    for name in rules::names() {
        let kind = rules::by_name(name).ok().map(|rule| kind(&*rule));
        if !kinds.contains(&kind) {
            kinds.push(kind);
            names.push(name);
        }
    }
    names
}

/// What an option may meet in a rule.
#[derive(PartialEq)]
struct Kind {
    /// What there is one of, for each number that it keeps, and whether the caller fills it.
    slots: Vec<(Extent, bool)>,
    counts_steps: bool,
    evaluates_elsewhere: bool,
    has_lines: bool,
    sums_over: Option<Over>,
    matrix: Option<Discriminant<MatrixWork>>,
}

fn kind(rule: &dyn Rule) -> Kind {
    let stages = rule.stages();
    let mut slots: Vec<_> = rule
        .slots()
        .iter()
        .filter(|slot| slot.used && !slot.scratch)
        .map(|slot| (slot.extent, slot.input))
        .collect();
    // Another slot of the same sort makes no other kind.
    slots.sort_by_key(|(extent, is_input)| (*extent as u8, *is_input));
    slots.dedup();
    Kind {
        slots,
        counts_steps: rule.at(1) != rule.at(2),
        evaluates_elsewhere: rule.evaluates_elsewhere(),
        has_lines: stages.lines.is_some(),
        sums_over: stages.sum.map(|sum| sum.over),
        matrix: stages.matrix.map(|stage| discriminant(&stage.work)),
    }
}

/// What `name` is stepped with: nothing unless it is one of [`rules`].
pub fn arounds_of(name: &str) -> Result<Vec<Around>> {
    if !rules().contains(&name) {
        return Ok(Vec::new());
    }
    // Such a rule averages by itself and refuses another average.
    let averages = rules::by_name(name)?.evaluates_elsewhere();
    let mut arounds = arounds();
    arounds.retain(|around| !(averages && around.options.average.is_some()));
    Ok(arounds)
}

/// Each thing by itself, and all that go together.
fn arounds() -> Vec<Around> {
    let default = Options::default;
    // Grows and shrinks within a few steps.
    let loss_scale = Some(LossScale {
        init_scale: 1024.0,
        growth_interval: 2,
        ..Default::default()
    });
    let average = |debias| Some(Average { decay: 0.9, debias });
    let around = |label, options| Around { label, options };
    vec![
        around(
            "clip=global_norm",
            Options {
                clip: Clip::GlobalNorm(1.0),
                ..default()
            },
        ),
        around(
            "clip=value",
            Options {
                clip: Clip::Value(0.05),
                ..default()
            },
        ),
        around(
            "clip=tensor_norm",
            Options {
                clip: Clip::TensorNorm(0.5),
                ..default()
            },
        ),
        around(
            "loss_scale=dynamic",
            Options {
                loss_scale,
                ..default()
            },
        ),
        around(
            "skip_non_finite zero_grad",
            Options {
                skip_non_finite: true,
                zero_grad: true,
                ..default()
            },
        ),
        around(
            "accumulate=4 average",
            Options {
                accumulate: 4,
                average: average(false),
                ..default()
            },
        ),
        around(
            "clip=global_norm loss_scale=dynamic accumulate=4 zero_grad average=debiased",
            Options {
                clip: Clip::GlobalNorm(1.0),
                loss_scale,
                accumulate: 4,
                zero_grad: true,
                average: average(true),
                ..default()
            },
        ),
    ]
}

#[cfg(test)]
mod tests {
    use wgpu_optim::Stages;

    use super::*;

    #[test]
    fn of_each_kind_of_rule_one_is_stepped_with_everything_around_it() {
        let chosen = rules();
        // Rules without state, with state alone, and one of each thing that a step may do before
        // its update.
        let stages = chosen.iter().map(|name| rules::by_name(name).unwrap());
        let stages: Vec<_> = stages.map(|rule| rule.stages()).collect();
        assert!(stages.iter().any(|stages| stages.lines.is_some()));
        for over in [Over::Tensor, Over::Everything] {
            let has = |stages: &Stages| stages.sum.is_some_and(|sum| sum.over == over);
            assert!(stages.iter().any(has), "{over:?}");
        }
        assert_eq!(stages.iter().filter(|of| of.matrix.is_some()).count(), 2);
        assert_eq!(chosen[0], "sgd");
        assert!((8..20).contains(&chosen.len()), "{chosen:?}");
        // A rule more of the same kind changes nothing.
        let kinds = |name| kind(&*rules::by_name(name).unwrap());
        assert!(kinds("adam") == kinds("adamw") && kinds("adam") != kinds("lion"));
    }
}
