//! Rules that may have a schedule of their own: `adam:lr=0.1:schedule=cosine`.

use std::fmt;
use std::str::FromStr;

use crate::RuleText;
use crate::schedule::Decay;

/// What names the schedule among the hyperparameters. None of these is called so.
const KEY: &str = "schedule";

/// A rule, and how its learning rate goes on where that is not as the command line says for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduledRule {
    pub rule: RuleText,
    pub schedule: Option<Decay>,
}

impl FromStr for ScheduledRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut rule: RuleText = text.parse()?;
        let (own, hyper): (Vec<_>, Vec<_>) =
            rule.hyper.into_iter().partition(|pair| pair.name == KEY);
        rule.hyper = hyper;
        // As of a hyperparameter that is written twice, the last counts.
        let own = own.iter().map(|pair| pair.value.parse());
        Ok(Self {
            rule,
            schedule: own.collect::<Result<Vec<_>, _>>()?.pop(),
        })
    }
}

impl fmt::Display for ScheduledRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.rule)?;
        match self.schedule {
            Some(schedule) => write!(f, ":{KEY}={schedule}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use wgpu_optim::rules;

    use super::*;

    #[test]
    fn a_rule_with_its_schedule_reads_as_it_is_written() {
        for (text, schedule) in [
            ("adam", None),
            ("adam:schedule=cosine", Some(Decay::Cosine)),
            ("sgd:lr=0.1:momentum=0.9:schedule=step", Some(Decay::Step)),
            ("lion:lr=0.1:schedule=exponential", Some(Decay::Exponential)),
            ("lion:schedule=constant", Some(Decay::Constant)),
        ] {
            let read: ScheduledRule = text.parse().unwrap();
            assert_eq!(read.schedule, schedule, "{text}");
            assert_eq!(read.to_string(), text);
            read.rule.rule(&[]).unwrap();
        }
        let among: ScheduledRule = "adam:schedule=step:lr=0.5".parse().unwrap();
        assert_eq!(among.to_string(), "adam:lr=0.5:schedule=step");
    }

    #[test]
    fn a_wrong_schedule_is_answered_with_what_was_expected() {
        for (text, expected) in [
            (
                "adam:schedule=cosin",
                "no schedule \"cosin\": expected one of constant, step, cosine, exponential",
            ),
            ("adam:schedule", "expected KEY=VALUE"),
            ("adam:schedule=", "expected KEY=VALUE"),
            ("addam:schedule=cosine", "adamw"),
        ] {
            let error = text.parse::<ScheduledRule>().unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn no_hyperparameter_has_the_name_of_the_schedule() {
        for name in rules::names() {
            let mut rule = rules::by_name(name).unwrap();
            let mut fields = rule.hyperparameters().into_iter();
            assert!(fields.all(|field| field.name != KEY), "{name}");
        }
    }
}
