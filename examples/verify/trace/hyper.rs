//! A trace's hyperparameters.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};
use wgpu_optim::{Rule, rules};

/// The metadata `hyper`: fields of a rule, `lr` as a number or a list of one per step.
#[derive(Debug, Default, PartialEq)]
pub struct Hyper {
    settings: Vec<(String, String)>,
    /// Empty where `lr` stays the same.
    pub rates: Vec<f64>,
}

impl Hyper {
    pub fn parse(text: &str) -> Result<Self> {
        let fields: Map<String, Value> =
            serde_json::from_str(text).context("hyper is no JSON object")?;
        let mut hyper = Self::default();
        for (name, value) in fields {
            let text = match value {
                Value::Number(number) => number.to_string(),
                Value::Bool(flag) => flag.to_string(),
                Value::String(choice) => choice,
                Value::Array(rates) if name == "lr" => {
                    let rates: Option<_> = rates.iter().map(Value::as_f64).collect();
                    hyper.rates = rates.context("hyper: lr lists other things than numbers")?;
                    ensure!(!hyper.rates.is_empty(), "hyper: lr is an empty list");
                    if let Some(rate) = hyper.rates.iter().find(|rate| **rate < 0.0) {
                        bail!("hyper: lr lists {rate}; expected numbers of at least 0");
                    }
                    continue;
                }
                other => {
                    bail!("hyper: {name} is {other}; expected a number, a boolean or a string")
                }
            };
            hyper.settings.push((name, text));
        }
        Ok(hyper)
    }

    /// The rule `name` with these hyperparameters.
    pub fn rule(&self, name: &str) -> Result<Box<dyn Rule>> {
        let mut rule = rules::by_name(name)?;
        // Some rules start from the first rate, as Rprop's step size does. AdaBound cannot start from 0.
        let starts = self.rates.iter().take(1);
        for rate in starts.chain(self.rates.iter().find(|rate| **rate > 0.0)) {
            if rule.set("lr", &rate.to_string()).is_ok() {
                break;
            }
        }
        for (name, value) in &self.settings {
            rule.set(name, value).context("hyper")?;
        }
        Ok(rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_numbers_booleans_and_names() {
        let hyper =
            r#"{"lr": 0.5, "eps": 1e-12, "beta1": 0, "amsgrad": "max_raw", "nesterov": true}"#;
        let rule = Hyper::parse(hyper).unwrap().rule("adam").unwrap();
        assert_eq!(rule.lr(), 0.5);
        let error = Hyper::parse(r#"{"lr": 0.1, "betas": 0.9}"#)
            .unwrap()
            .rule("adam")
            .unwrap_err();
        assert!(
            format!("{error:#}").contains("no hyperparameter \"betas\""),
            "{error:#}"
        );
    }

    #[test]
    fn a_list_of_rates_starts_with_the_rate_to_start_with() {
        let hyper = Hyper::parse(r#"{"lr": [0.5, 0.25]}"#).unwrap();
        assert_eq!(hyper.rates, [0.5, 0.25]);
        assert_eq!(hyper.rule("rprop").unwrap().lr(), 0.5);
    }

    #[test]
    fn a_list_of_rates_may_start_with_zero_for_every_rule() {
        let hyper = Hyper::parse(r#"{"lr": [0, 0.5, 0]}"#).unwrap();
        assert_eq!(hyper.rates, [0.0, 0.5, 0.0]);
        for name in rules::names() {
            let lr = hyper.rule(name).unwrap().lr();
            let allowed = if name == "adabound" { 0.5 } else { 0.0 };
            assert_eq!(lr, allowed, "{name}");
        }
    }

    #[test]
    fn what_is_no_field_is_refused_and_quoted() {
        for (text, expected) in [
            ("", "no JSON object"),
            ("[1]", "no JSON object"),
            (r#"{"lr": 0.1"#, "no JSON object"),
            (r#"{"lr": null}"#, "lr is null"),
            (r#"{"lr": []}"#, "lr is an empty list"),
            (r#"{"lr": [0.1, "x"]}"#, "lr lists other things"),
            (
                r#"{"lr": [0.1, -0.1]}"#,
                "lr lists -0.1; expected numbers of at least 0",
            ),
            (r#"{"beta1": [0.9, 0.9]}"#, "beta1 is [0.9,0.9]"),
        ] {
            let error = format!("{:#}", Hyper::parse(text).unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
