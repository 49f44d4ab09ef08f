//! Every variant of every rule.

use anyhow::{Result, bail};
use wgpu_optim::{Error, Layout, Rule, hyperparameter::Field, rules};

/// A rule with some of its hyperparameters set.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    pub rule: &'static str,
    pub settings: Vec<(&'static str, String)>,
}

/// What the flags of a rule that has such a field are turned on top of in place of its defaults: with
/// these it moves too little to tell.
const MOVING: &[(&str, &str)] = &[("d0", "0.001")];

impl Variant {
    /// The defaults of `rule`, all numbers changed, and each flag and choice on top of either,
    /// where the rule allows it. The first is the default.
    pub fn of_rule(rule: &'static str) -> Result<Vec<Self>> {
        let mut numbers = Vec::new();
        let mut switches = Vec::new();
        for field in rules::by_name(rule)?.hyperparameters() {
            match &field.field {
                Field::Number { allowed, .. } => {
                    let candidates = match field.name {
                        "lr" => [0.02, 0.3],
                        "eps" => [0.03, 0.3],
                        "beta2_decay" => [-0.6, -0.3],
                        // Others need not lead to an orthogonal matrix, or stay finite.
                        "ns_steps" => [3.0, 4.0],
                        "ns_a" => [1.5, 2.0],
                        "ns_b" => [-0.5, -1.0],
                        "ns_c" => [0.0, 0.1],
                        _ => [0.3, 4.5],
                    };
                    match candidates
                        .into_iter()
                        .find(|value| allowed.contains(*value))
                    {
                        Some(value) => numbers.push((field.name, value.to_string())),
                        None => bail!("{rule}: no other value is known for {}", field.name),
                    }
                }
                Field::Flag(value) => switches.push((field.name, (!**value).to_string())),
                Field::Choice(choice) => {
                    let names = choice.names().iter().map(|name| name.to_string());
                    switches.extend(names.map(|name| (field.name, name)));
                }
                other => bail!("{rule}: nothing is known about {other:?}"),
            }
        }
        let settings = Vec::new();
        let mut variants = vec![Self { rule, settings }];
        let has = |name: &str| numbers.iter().any(|(field, _)| *field == name);
        let moving = MOVING.iter().filter(|(field, _)| has(field));
        let moving: Vec<_> = moving
            .map(|(field, value)| (*field, value.to_string()))
            .collect();
        for base in [moving, numbers] {
            let settings = base.clone();
            variants.push(Self { rule, settings });
            for switch in &switches {
                let mut settings = base.clone();
                settings.push(switch.clone());
                variants.push(Self { rule, settings });
            }
        }
        for settings in rules::by_name(rule)?.combinations() {
            let settings = settings
                .iter()
                .map(|(name, value)| (*name, value.to_string()));
            let settings = settings.collect();
            variants.push(Self { rule, settings });
        }
        let mut distinct = Vec::new();
        for variant in variants {
            let is_allowed = Layout::new().group(variant.build()?).is_ok();
            if is_allowed && !distinct.contains(&variant) {
                distinct.push(variant);
            }
        }
        Ok(distinct)
    }

    /// The rule itself.
    pub fn build(&self) -> Result<Box<dyn Rule>, Error> {
        let mut rule = rules::by_name(self.rule)?;
        for (field, value) in &self.settings {
            rule.set(field, value)?;
        }
        Ok(rule)
    }

    /// What differs from the defaults.
    pub fn label(&self) -> String {
        if self.settings.is_empty() {
            return "defaults".into();
        }
        let settings = self.settings.iter();
        let settings: Vec<_> = settings
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        settings.join(" ")
    }
}
