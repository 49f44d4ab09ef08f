//! What is tried: an optimizer with all its hyperparameters.

use anyhow::Result;
use flags::{Assignment, RuleText};
use serde_json::{Map, Value};
use trainer::candidate::Candidate;
use wgpu_optim::hyperparameter::Field;

#[derive(Clone, Debug)]
pub struct Trial {
    pub candidate: Candidate,
    /// Which of `--optimizers` it is.
    pub of: usize,
    /// What is said of it beyond the library's defaults, as JSON.
    pub hyper: Map<String, Value>,
}

impl Trial {
    /// `text` is the optimizer numbered `of`, with what a grid or a draw adds to it.
    pub fn new(text: RuleText, of: usize) -> Result<Self> {
        let candidate = Candidate::new(text)?;
        let mut rule = candidate.rule()?;
        let fields = rule.hyperparameters();
        let value = |field: &Field| match field {
            Field::Number { value, .. } => Value::from(**value),
            Field::Flag(flag) => Value::from(**flag),
            Field::Choice(choice) => Value::from(choice.names()[choice.position()]),
            _ => Value::Null,
        };
        let is_said = |name: &str| candidate.explicit.hyper.iter().any(|h| h.name == name);
        let said = fields.iter().filter(|field| is_said(field.name));
        let hyper = said.map(|field| (field.name.to_owned(), value(&field.field)));
        Ok(Self {
            hyper: hyper.collect(),
            candidate,
            of,
        })
    }

    /// The same for trials of the same training, and for no others.
    pub fn key(&self) -> String {
        format!("{} {}", self.name(), Value::from(self.hyper.clone()))
    }

    pub fn name(&self) -> &str {
        &self.candidate.text.name
    }

    pub fn lr(&self) -> Result<f64> {
        self.candidate.lr()
    }

    /// All hyperparameters that are said, but the learning rate: `beta1=0.9 weight_decay=0.01`.
    pub fn rest(&self) -> String {
        let rest = self.hyper.iter().filter(|(name, _)| *name != "lr");
        let texts = rest.map(|(name, value)| match value {
            Value::String(text) => format!("{name}={text}"),
            Value::Number(number) => format!("{name}={}", number.as_f64().unwrap_or(f64::NAN)),
            value => format!("{name}={value}"),
        });
        texts.collect::<Vec<_>>().join(" ")
    }
}

/// `text` with more hyperparameters.
pub fn with(text: &RuleText, more: impl IntoIterator<Item = Assignment>) -> RuleText {
    let mut text = text.clone();
    text.hyper.extend(more);
    text
}

/// Whether `text` itself says what `name` is.
pub fn fixes(text: &RuleText, name: &str) -> bool {
    text.hyper.iter().any(|h| h.name == name)
}
