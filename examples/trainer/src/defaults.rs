//! The learning rate, and hyperparameters where needed, that each optimizer gets unless the user
//! says otherwise.

use anyhow::Result;
use flags::RuleText;
use wgpu_optim::Rule;

/// What suits an optimizer on the digits with the example's other defaults.
#[derive(Debug)]
pub struct Defaults {
    pub optimizer: &'static str,
    pub lr: f64,
    /// Hyperparameters that differ from the library's own defaults.
    pub hyper: &'static [(&'static str, &'static str)],
    /// Whether gradients of small batches mislead it.
    pub whole_batches: bool,
}

impl Defaults {
    const fn with_whole_batches(self) -> Self {
        Self {
            whole_batches: true,
            ..self
        }
    }
}

/// Each of these reaches at least 93 % on the digits' test data. An optimizer that is not listed
/// gets the library's own defaults.
pub const DEFAULTS: &[Defaults] = &[
    suits("sgd", 0.03, &[("momentum", "0.9")]),
    suits("adagrad", 0.02, &[]),
    suits("rmsprop", 0.001, &[]),
    suits("adam", 0.003, &[]),
    suits("adamw", 0.003, &[]),
    suits("nadam", 0.003, &[]),
    suits("radam", 0.01, &[]),
    suits("adabelief", 0.003, &[]),
    suits("lion", 0.0005, &[]),
    suits("adadelta", 0.5, &[]),
    suits("rprop", 0.001, &[]).with_whole_batches(),
    suits("adamax", 0.003, &[]),
    suits("adabound", 0.003, &[]),
    suits("yogi", 0.01, &[]),
    suits("signsgd", 0.0005, &[]),
    suits("adan", 0.003, &[]),
    suits("adopt", 0.003, &[]),
    suits("ademamix", 0.001, &[]),
    suits("asgd", 0.1, &[]),
    suits("schedulefree_adamw", 0.01, &[]),
    suits("schedulefree_sgd", 0.3, &[]),
    suits("sophia", 0.001, &[]),
    suits("newton", 0.01, &[("damping", "0.1")]),
    suits("lars", 3.0, &[]),
    suits("lamb", 0.01, &[]),
    suits("novograd", 0.01, &[]),
    suits("adafactor", 0.1, &[]),
    suits("prodigy", 1.0, &[]),
    suits("gradient_agreement", 0.03, &[("factor", "0.001")]),
    // With --matrices.
    suits("muon", 0.02, &[]),
];

const fn suits(
    optimizer: &'static str,
    lr: f64,
    hyper: &'static [(&'static str, &'static str)],
) -> Defaults {
    Defaults {
        optimizer,
        lr,
        hyper,
        whole_batches: false,
    }
}

pub fn of(optimizer: &str) -> Option<&'static Defaults> {
    DEFAULTS
        .iter()
        .find(|defaults| defaults.optimizer == optimizer)
}

/// The rule of `text`, with the defaults for it.
pub fn rule(text: &RuleText) -> Result<Box<dyn Rule>> {
    let Some(of) = of(&text.name) else {
        return text.rule(&[]);
    };
    let lr = of.lr.to_string();
    text.rule(&[&[("lr", lr.as_str())], of.hyper].concat())
}

/// The table, for `--help`.
pub fn table() -> String {
    let mut table = String::from("Default learning rates:\n");
    for Defaults {
        optimizer,
        lr,
        hyper,
        whole_batches,
    } in DEFAULTS
    {
        table += &format!("  {optimizer:<18} {lr}");
        for (name, value) in *hyper {
            table += &format!("  {name}={value}");
        }
        if *whole_batches {
            table += "  --batch-size all";
        }
        table += "\n";
    }
    table
}

#[cfg(test)]
mod tests {
    use wgpu_optim::rules;

    use super::*;

    #[test]
    fn every_optimizer_takes_the_defaults_that_are_documented_for_it() {
        for name in rules::names() {
            let found = rule(&RuleText::named(name)).unwrap();
            let library = rules::by_name(name).unwrap().lr();
            let expected = of(name).map_or(library, |defaults| defaults.lr);
            assert_eq!(found.lr(), expected, "{name}");
        }
    }
}
