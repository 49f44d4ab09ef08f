//! Rules as users write them: `adamw`, or `adamw:lr=0.01:weight_decay=0.1`.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result};
use wgpu_optim::{Formats, Rule, rules};

/// `key=value`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub name: String,
    pub value: String,
}

impl Assignment {
    /// `name=value`
    pub fn new(name: &str, value: &str) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
        }
    }
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() && !value.trim().is_empty() => {
                Ok(Self {
                    name: name.trim().into(),
                    value: value.trim().into(),
                })
            }
            _ => Err("expected KEY=VALUE, such as beta1=0.95".into()),
        }
    }
}

impl fmt::Display for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

/// `name:key=value:key=value`: a rule by its name, and the hyperparameters that differ from its
/// defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleText {
    pub name: String,
    pub hyper: Vec<Assignment>,
}

impl RuleText {
    /// A rule with its defaults.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.into(),
            hyper: Vec::new(),
        }
    }

    /// The rule with the library's defaults, with `defaults` on top, and what the text says on top
    /// of both.
    pub fn rule(&self, defaults: &[(&str, &str)]) -> Result<Box<dyn Rule>> {
        let mut rule = rules::by_name(&self.name)?;
        for (name, value) in defaults {
            rule.set(name, value)?;
        }
        for Assignment { name, value } in &self.hyper {
            rule.set(name, value).with_context(|| self.to_string())?;
        }
        rule.validate().with_context(|| self.to_string())?;
        Ok(rule)
    }
}

impl FromStr for RuleText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':').map(str::trim);
        let name = parts.next().unwrap_or_default();
        rules::by_name(name).map_err(|error| error.to_string())?;
        let hyper = parts.map(Assignment::from_str);
        Ok(Self {
            name: name.into(),
            hyper: hyper.collect::<Result<_, _>>()?,
        })
    }
}

impl fmt::Display for RuleText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        self.hyper
            .iter()
            .try_for_each(|hyper| write!(f, ":{hyper}"))
    }
}

/// What updates a network.
#[derive(Debug)]
pub struct Rules {
    /// How the state of each is stored.
    pub formats: Formats,
    /// Of the weights, where they have a rule of their own.
    pub matrices: Option<Box<dyn Rule>>,
    /// Of all other tensors.
    pub rest: Box<dyn Rule>,
}

impl Rules {
    /// Each rule with the flag that chose it.
    pub fn by_flag(&self) -> impl Iterator<Item = (&'static str, &dyn Rule)> {
        let matrices = self.matrices.iter().map(|rule| ("--matrices", &**rule));
        matrices.chain([("--optimizer", &*self.rest)])
    }

    /// Names and learning rates.
    pub fn description(&self) -> String {
        let of = |rule: &dyn Rule| format!("{}, lr {}", rule.name(), rule.lr());
        match &self.matrices {
            Some(matrices) => format!(
                "{} for matrices; {} for the rest",
                of(&**matrices),
                of(&*self.rest)
            ),
            None => of(&*self.rest),
        }
    }
}

impl From<Box<dyn Rule>> for Rules {
    fn from(rest: Box<dyn Rule>) -> Self {
        Self {
            formats: Formats::default(),
            matrices: None,
            rest,
        }
    }
}

/// The slots that `rule` takes beside the gradient, for the caller to fill.
pub fn inputs(rule: &dyn Rule) -> Vec<&'static str> {
    let slots = rule.slots();
    let inputs = slots.iter().filter(|slot| slot.input && slot.used);
    inputs.map(|slot| slot.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_reads_as_it_is_written() {
        for text in ["adam", "adamw:lr=0.01", "adamw:lr=0.01:amsgrad=max_raw"] {
            assert_eq!(text.parse::<RuleText>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn hyperparameters_go_over_the_defaults_that_are_given() {
        let text: RuleText = "adamw:lr=0.25".parse().unwrap();
        let rule = text
            .rule(&[("lr", "0.5"), ("weight_decay", "0.75")])
            .unwrap();
        assert_eq!(rule.lr(), 0.25);
    }

    #[test]
    fn a_wrong_text_is_answered_with_what_was_expected() {
        for (text, expected) in [
            ("addam", "adamw"),
            ("", "adamw"),
            ("adam:lr", "expected KEY=VALUE"),
            ("adam:=3", "expected KEY=VALUE"),
        ] {
            let error = text.parse::<RuleText>().unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        for text in ["adam:momentun=1", "adam:lr=-1", "sgd:nesterov=true"] {
            let error = text.parse::<RuleText>().unwrap().rule(&[]).unwrap_err();
            assert!(format!("{error:#}").contains(text), "{text}: {error:#}");
        }
    }
}
