//! Optimizers that are tried beside others on the same training.

use anyhow::{Context, Result};
use flags::{Assignment, RuleText, Rules};
use wgpu_optim::{MatrixWork, Rule, rules};

use crate::defaults;
use crate::flags::check_suits;

/// What updates the biases where a candidate is for matrices alone.
const BESIDE_MATRICES: &str = "adamw";
/// SGD's learning rate without momentum: momentum μ makes steps 1/(1 − μ) as long, and its default is
/// for μ = 0.9.
const PLAIN_SGD_LR: &str = "0.3";

/// For those who wonder how SGD got its learning rate.
pub const SGD_NOTE: &str =
    "Plain SGD has 0.3 in place of momentum's 0.03: momentum 0.9 makes steps ten times as long.";

/// An optimizer that is tried beside others: with [`defaults`] where the user says nothing, but for
/// `sgd`, which has momentum only if the user says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// As the user wrote it.
    pub text: RuleText,
    /// The same with its learning rate, and with all in which it differs from the library's defaults.
    pub explicit: RuleText,
}

impl Candidate {
    /// Fails if the network cannot use it, or if a hyperparameter is wrong.
    pub fn new(text: RuleText) -> Result<Self> {
        let candidate = Self {
            explicit: explicit(&text),
            text,
        };
        let rule = candidate.rule()?;
        let flag = if is_for_matrices(&*rule) {
            "--matrices"
        } else {
            "--optimizers"
        };
        check_suits(flag, &*rule)?;
        Ok(candidate)
    }

    /// Whether both are the same training.
    pub fn is_same(&self, other: &Self) -> bool {
        let values = |candidate: &Self| {
            let rule = candidate.rule();
            rule.map(|mut rule| {
                let fields = rule.hyperparameters();
                fields.iter().map(|field| field.value()).collect::<Vec<_>>()
            })
        };
        let both = values(self).ok().zip(values(other).ok());
        self.text.name == other.text.name && both.is_some_and(|(ours, theirs)| ours == theirs)
    }

    /// All rules of the library that a network can use, each with its defaults.
    pub fn all() -> Vec<Self> {
        let all = rules::names().map(|name| Self::new(RuleText::named(name)));
        all.flatten().collect()
    }

    /// The rule by itself.
    pub fn rule(&self) -> Result<Box<dyn Rule>> {
        self.explicit
            .rule(&[])
            .with_context(|| format!("--optimizers {}", self.text))
    }

    pub fn lr(&self) -> Result<f64> {
        Ok(self.rule()?.lr())
    }

    /// What updates a network: the rule alone, or beside AdamW for the biases if it is for matrices.
    pub fn rules(&self) -> Result<Rules> {
        let rule = self.rule()?;
        Ok(match self.beside()? {
            Some(beside) => Rules {
                matrices: Some(rule),
                ..defaults::rule(&beside)?.into()
            },
            None => rule.into(),
        })
    }

    /// What updates the biases, if the candidate is for matrices alone.
    pub fn beside(&self) -> Result<Option<RuleText>> {
        let beside = is_for_matrices(&*self.rule()?);
        Ok(beside.then(|| RuleText::named(BESIDE_MATRICES)))
    }

    /// The flags with which `train` uses it.
    pub fn train_flags(&self) -> Result<Vec<String>> {
        let explicit = self.explicit.to_string();
        Ok(match self.beside()? {
            Some(beside) => vec![
                "--matrices".to_owned(),
                explicit,
                "--optimizer".to_owned(),
                beside.to_string(),
            ],
            None => vec!["--optimizer".to_owned(), explicit],
        })
    }

    /// What it is called in tables and pictures.
    pub fn title(&self) -> String {
        self.text.title()
    }
}

fn is_for_matrices(rule: &dyn Rule) -> bool {
    let work = rule.stages().matrix.map(|stage| stage.work);
    matches!(work, Some(MatrixWork::Orthogonalize { .. }))
}

/// The defaults that hold for `text`, and what it says on top.
fn explicit(text: &RuleText) -> RuleText {
    let given = |name: &str| text.hyper.iter().rfind(|h| h.name == name);
    let mut hyper = Vec::new();
    if text.name == "sgd" && given("momentum").is_none_or(|h| h.value.parse() == Ok(0.0)) {
        hyper.push(Assignment::new("lr", PLAIN_SGD_LR));
        hyper.push(Assignment::new("momentum", "0"));
    } else if let Some(of) = defaults::of(&text.name) {
        hyper.push(Assignment::new("lr", &of.lr.to_string()));
        let more = of.hyper.iter();
        hyper.extend(more.map(|(name, value)| Assignment::new(name, value)));
    }
    for assignment in &text.hyper {
        match hyper.iter_mut().find(|h| h.name == assignment.name) {
            Some(default) => default.value.clone_from(&assignment.value),
            None => hyper.push(assignment.clone()),
        }
    }
    RuleText {
        name: text.name.clone(),
        hyper,
    }
}

#[cfg(test)]
mod tests {
    use wgpu_optim::Extent;

    use super::*;

    fn candidate(text: &str) -> Result<Candidate> {
        Candidate::new(text.parse().unwrap())
    }

    fn explicit_text(text: &str) -> String {
        candidate(text).unwrap().explicit.to_string()
    }

    #[test]
    fn sgd_has_momentum_only_if_the_user_says_so() {
        assert_eq!(explicit_text("sgd"), "sgd:lr=0.3:momentum=0");
        assert_eq!(explicit_text("sgd:momentum=0.0"), "sgd:lr=0.3:momentum=0.0");
        assert_eq!(
            explicit_text("sgd:momentum=0.9"),
            "sgd:lr=0.03:momentum=0.9"
        );
        assert_eq!(explicit_text("sgd:lr=0.1"), "sgd:lr=0.1:momentum=0");
    }

    /// The rules that take no Hessian of a whole tensor, which the network does not compute.
    fn usable() -> impl Iterator<Item = &'static str> {
        rules::names().filter(|name| {
            let slots = rules::by_name(name).unwrap().slots();
            slots.iter().all(|slot| slot.extent != Extent::Pair)
        })
    }

    #[test]
    fn other_optimizers_have_the_defaults_of_train() {
        // All but SGD, which is the plain one here.
        for name in usable().filter(|name| *name != "sgd") {
            let mut ours = candidate(name).unwrap().rule().unwrap();
            let mut theirs = defaults::rule(&RuleText::named(name)).unwrap();
            let all = |rule: &mut Box<dyn Rule>| {
                let fields = rule.hyperparameters();
                fields.iter().map(|field| field.value()).collect::<Vec<_>>()
            };
            assert_eq!(all(&mut ours), all(&mut theirs), "{name}");
        }
    }

    #[test]
    fn all_are_all_that_the_network_can_use() {
        let all = Candidate::all();
        let names: Vec<_> = all.iter().map(|c| &*c.text.name).collect();
        assert_eq!(names, usable().collect::<Vec<_>>());
    }

    #[test]
    fn muon_updates_the_matrices_and_adamw_the_biases() {
        let muon = candidate("muon:momentum=0.9").unwrap();
        let rules = muon.rules().unwrap();
        assert_eq!(rules.matrices.unwrap().name(), "muon");
        assert_eq!(rules.rest.name(), "adamw");
        assert_eq!(
            muon.train_flags().unwrap(),
            [
                "--matrices",
                "muon:lr=0.02:momentum=0.9",
                "--optimizer",
                "adamw"
            ]
        );
    }

    #[test]
    fn what_the_network_cannot_use_is_refused() {
        let error = candidate("newton_dense").unwrap_err().to_string();
        assert!(error.contains("--optimizers newton_dense"), "{error}");
        let error = format!("{:#}", candidate("adam:momentum=0.9").unwrap_err());
        assert!(
            error.contains("adam:") && error.contains("beta1"),
            "{error}"
        );
    }
}
