//! The optimizers that take part, with what is said of them.

use anyhow::{Context, Result, bail};
use flags::{Assignment, RuleText};
use wgpu_optim::{Rule, rules};

use crate::functions::Function;

/// A rule that takes part.
#[derive(Clone, Debug)]
pub struct Contender {
    /// As it is written in `--rules`.
    pub text: RuleText,
    /// The learning rate, and what else differs from the library's defaults.
    pub hyper: Vec<Assignment>,
}

impl Contender {
    pub fn new(text: &RuleText) -> Result<Self> {
        let mut rule = text.rule(&[])?;
        Ok(Self {
            text: text.clone(),
            hyper: differing(&mut *rule)?,
        })
    }

    pub fn rule(&self) -> Result<Box<dyn Rule>> {
        self.text.rule(&[])
    }

    pub fn name(&self) -> &str {
        &self.text.name
    }

    /// For legends: `adam lr=0.01 amsgrad=max_raw`.
    pub fn label(&self) -> String {
        let mut label = self.text.name.clone();
        for hyper in &self.hyper {
            label += &format!(" {hyper}");
        }
        label
    }

    /// For `--rules`, with the learning rate.
    pub fn written(&self) -> String {
        let text = RuleText {
            name: self.text.name.clone(),
            hyper: self.hyper.clone(),
        };
        text.to_string()
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
pub fn showcase(function: &dyn Function) -> Result<Vec<Contender>> {
    let texts = function.showcase().rules.iter();
    let contenders = texts.map(|text| match text.parse() {
        Ok(text) => Contender::new(&text),
        Err(error) => bail!("{error}"),
    });
    let contenders: Result<_> = contenders.collect();
    contenders.with_context(|| format!("the rules of {}", function.name()))
}
