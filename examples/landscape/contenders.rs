//! The optimizers that take part, with what is said of them.

use anyhow::{Context, Result};
use flags::schedule::Decay;
use flags::{Assignment, RuleText, ScheduledRule};
use wgpu_optim::schedule::Schedule;
use wgpu_optim::{Rule, rules};

use crate::functions::Function;

/// A rule that takes part.
#[derive(Clone, Debug)]
pub struct Contender {
    /// As it is written in `--rules`.
    pub text: ScheduledRule,
    /// The learning rate, and what else differs from the library's defaults.
    pub hyper: Vec<Assignment>,
    /// How its learning rate goes on: as it says itself, or as all do that do not.
    pub decay: Decay,
    /// The same in numbers, of the part of the learning rate.
    pub schedule: Schedule,
}

impl Contender {
    pub fn new(text: &ScheduledRule, decay: Decay, schedule: Schedule) -> Result<Self> {
        let mut rule = text.rule.rule(&[])?;
        Ok(Self {
            text: text.clone(),
            hyper: differing(&mut *rule)?,
            decay,
            schedule,
        })
    }

    /// The same with the hyperparameters of another rule of its kind.
    pub fn with(&self, rule: &mut dyn Rule) -> Result<Self> {
        let hyper = differing(rule)?;
        let mut contender = self.clone();
        contender.text.rule.hyper.clone_from(&hyper);
        contender.hyper = hyper;
        Ok(contender)
    }

    pub fn rule(&self) -> Result<Box<dyn Rule>> {
        self.text.rule.rule(&[])
    }

    pub fn name(&self) -> &str {
        &self.text.rule.name
    }

    /// What a search does not change: `adam`, or `adam schedule=cosine`.
    pub fn kind(&self) -> String {
        self.described(&[])
    }

    /// For legends: `adam lr=0.01 amsgrad=max_raw`, with the schedule if it has one of its own.
    pub fn label(&self) -> String {
        self.described(&self.hyper)
    }

    fn described(&self, hyper: &[Assignment]) -> String {
        self.text_with(hyper).to_string().replace(':', " ")
    }

    fn text_with(&self, hyper: &[Assignment]) -> ScheduledRule {
        ScheduledRule {
            rule: RuleText {
                name: self.name().into(),
                hyper: hyper.to_vec(),
            },
            schedule: self.text.schedule,
        }
    }

    /// For `--rules`, with the learning rate.
    pub fn written(&self) -> String {
        self.text_with(&self.hyper).to_string()
    }
}

/// The learning rate of `rule`, and what else differs from the library's defaults.
pub fn differing(rule: &mut dyn Rule) -> Result<Vec<Assignment>> {
    let mut default = rules::by_name(rule.name())?;
    let defaults = default.hyperparameters();
    let fields = rule.hyperparameters();
    let differing = fields
        .iter()
        .zip(&defaults)
        .filter(|(field, default)| field.name == "lr" || field.value() != default.value());
    let assignments = differing.map(|(field, _)| Assignment {
        name: field.name.into(),
        value: field.value(),
    });
    Ok(assignments.collect())
}

/// Those that show what `function` is about.
pub fn showcase(function: &dyn Function) -> Result<Vec<ScheduledRule>> {
    let texts = function.showcase().rules.iter();
    let rules = texts.map(|text| text.parse().map_err(anyhow::Error::msg));
    let rules: Result<_> = rules.collect();
    rules.with_context(|| format!("the rules of {}", function.name()))
}
