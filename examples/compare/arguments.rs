//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Result, ensure};
use clap::Parser;
use flags::{RuleText, device};
use report::Output;
use trainer::candidate::{self, Candidate};
use trainer::data::Task;
use trainer::defaults;
use trainer::flags::{NetworkFlags, TrainingFlags};

/// What is compared unless the user says otherwise.
const DEFAULT: &str = "sgd,sgd:momentum=0.9,sgd:momentum=0.9:nesterov=true,adagrad,rmsprop,adam,adamw,nadam,radam,\
                       adabelief,adam:amsgrad=max_raw,lion";
/// What stands beside all that the user names.
pub const BASELINES: [&str; 2] = ["sgd", "adam"];

/// Trains the same network on the same data, from the same weights and with the same batches, with
/// several optimizers.
///
/// Without any flag: SGD, momentum, Nesterov, AdaGrad, RMSprop, Adam, AdamW, NAdam, RAdam, AdaBelief,
/// AMSGrad and Lion learn the UCI handwritten digits on the best device there is.
#[derive(Clone, Debug, Parser)]
#[command(name = "compare", after_help = after_help(), allow_negative_numbers = true)]
pub struct Arguments {
    #[command(flatten)]
    pub network: NetworkFlags,

    /// What to compare, such as adamw,lion:lr=1e-4,sgd:momentum=0.9, or `all` for every optimizer of the
    /// library that the network can use
    ///
    /// Muon is for the weight matrices, and AdamW updates the biases beside it. Rprop takes the whole
    /// training set for a batch unless --batch-size says otherwise.
    #[arg(long, value_name = "NAMES", default_value = DEFAULT, value_delimiter = ',', hide_default_value = true)]
    pub optimizers: Vec<Entry>,

    /// Leaves out SGD and Adam where --optimizers does not name them: else they stand beside what it
    /// names
    #[arg(long)]
    pub no_baselines: bool,

    #[command(flatten)]
    pub training: TrainingFlags,

    /// Seed of the starting weights, of the order of the samples, and of rounding with --state
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// How many seeds to train with, from --seed on: pictures then have medians, with bands from the
    /// lowest to the highest
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub seeds: u32,

    /// Test accuracy whose time is taken, such as 0.95 or 95%, or test loss where the targets are numbers
    /// [default: 95%, or a hundredth of the loss before training]
    #[arg(long)]
    pub target: Option<Target>,

    /// auto, gpu, cpu, or part of an adapter's name, as in `train`
    #[arg(long, default_value = "auto")]
    pub device: device::Choice,

    /// Writes one JSON object per optimizer, seed and epoch to this file, one a line
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Writes a page with all curves to FILE.html, or the curves alone to FILE.svg or FILE.png
    #[arg(long, value_name = "FILE")]
    pub out: Option<Output>,

    /// Prints the final table alone
    #[arg(long)]
    pub quiet: bool,
}

fn after_help() -> String {
    format!(
        "{}\nThese suit the digits; for other data, find them with the example search. {}\n",
        defaults::table(),
        candidate::SGD_NOTE
    )
}

/// One of `--optimizers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    All,
    One(RuleText),
}

impl FromStr for Entry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "all" => Ok(Self::All),
            text => text
                .parse()
                .map(Self::One)
                .map_err(|error| format!("{error}, or all")),
        }
    }
}

/// A test accuracy from 0 to 1, or a test loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target(pub f64);

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = match text.strip_suffix('%') {
            Some(percent) => (percent.trim_end(), 0.01),
            None => (text, 1.0),
        };
        match number.parse::<f64>() {
            Ok(number) if number.is_finite() && number > 0.0 => Ok(Self(unit * number)),
            _ => Err("expected a number above 0, such as 0.95 or 95%".into()),
        }
    }
}

impl Arguments {
    /// Whom to compare, in the order of the command line, after the baselines that it does not name.
    pub fn candidates(&self) -> Result<Vec<Candidate>> {
        let named = self.named()?;
        let missing = self.missing_baselines(&named);
        let mut all: Vec<Candidate> = missing
            .into_iter()
            .map(|name| Candidate::new(RuleText::named(name)))
            .collect::<Result<_>>()?;
        for candidate in named {
            if let Some(same) = all.iter().find(|other| other.is_same(&candidate)) {
                ensure!(
                    self.optimizers.contains(&Entry::All),
                    "--optimizers: {} and {} are the same training: expected each once.",
                    same.text,
                    candidate.text
                );
                continue;
            }
            all.push(candidate);
        }
        Ok(all)
    }

    /// Whom the user names.
    pub fn named(&self) -> Result<Vec<Candidate>> {
        let mut named = Vec::new();
        for entry in &self.optimizers {
            match entry {
                Entry::All => named.extend(Candidate::all()),
                Entry::One(text) => named.push(Candidate::new(text.clone())?),
            }
        }
        Ok(named)
    }

    /// The baselines that the user does not name.
    pub fn missing_baselines(&self, named: &[Candidate]) -> Vec<&'static str> {
        let is_missing = |name: &&str| named.iter().all(|candidate| candidate.text.name != **name);
        let missing = BASELINES.into_iter().filter(is_missing);
        missing.filter(|_| !self.no_baselines).collect()
    }

    /// Fails for a target that no test of these data can reach.
    pub fn check_target(&self, task: Task) -> Result<()> {
        if let (Task::Classification, Some(Target(target))) = (task, self.target) {
            ensure!(
                target <= 1.0,
                "--target {target} is no test accuracy: expected at most 1, or 100%."
            );
        }
        Ok(())
    }

    pub fn seeds(&self) -> impl Iterator<Item = u64> + use<> {
        let first = self.seed;
        (0..u64::from(self.seeds)).map(move |index| first.wrapping_add(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[&str]) -> Result<Arguments, String> {
        Arguments::try_parse_from([&["compare"], line].concat()).map_err(|error| error.to_string())
    }

    fn titles(line: &[&str]) -> Vec<String> {
        let candidates = parse(line).unwrap().candidates().unwrap();
        candidates.iter().map(Candidate::title).collect()
    }

    #[test]
    fn twelve_optimizers_are_compared_unless_the_user_says_otherwise() {
        let expected = [
            "SGD",
            "Momentum 0.9",
            "Nesterov 0.9",
            "AdaGrad",
            "RMSprop",
            "Adam",
            "AdamW",
            "NAdam",
            "RAdam",
            "AdaBelief",
            "AMSGrad",
            "Lion",
        ];
        assert_eq!(titles(&[]), expected);
    }

    #[test]
    fn sgd_and_adam_stand_beside_what_the_user_names_unless_told_not_to() {
        assert_eq!(titles(&["--optimizers", "lion"]), ["SGD", "Adam", "Lion"]);
        let alone = ["--optimizers", "lion", "--no-baselines"];
        assert_eq!(titles(&alone), ["Lion"]);
        let named = ["--optimizers", "adam:lr=0.01,lion,sgd:momentum=0.5"];
        assert_eq!(titles(&named), ["Adam lr=0.01", "Lion", "Momentum 0.5"]);
    }

    #[test]
    fn all_is_every_rule_that_the_network_can_use_and_more_may_be_added() {
        let all = titles(&["--optimizers", "all"]);
        assert_eq!(all.len(), trainer::candidate::Candidate::all().len());
        let more = titles(&["--optimizers", "all,sgd:momentum=0.9"]);
        assert_eq!(more.len(), all.len() + 1);
    }

    #[test]
    fn the_same_optimizer_twice_is_refused_with_both_texts() {
        let twice = parse(&["--optimizers", "adam,adam:lr=3e-3"]).unwrap();
        let error = twice.candidates().unwrap_err().to_string();
        assert!(error.contains("adam and adam:lr=3e-3"), "{error}");
    }

    #[test]
    fn a_wrong_value_is_answered_with_what_was_expected() {
        for (line, expected) in [
            (["--optimizers", "addam"], "adamw, "),
            (["--optimizers", "adam:lr"], "expected KEY=VALUE"),
            (["--seeds", "0"], "--seeds"),
            (["--target", "much"], "such as 0.95 or 95%"),
            (["--target", "-1"], "such as 0.95 or 95%"),
            (["--out", "page.pdf"], "FILE.html"),
        ] {
            let error = parse(&line).unwrap_err();
            assert!(error.contains(expected), "{line:?}: {error}");
        }
        let error = parse(&["--optimizers", "adam:momentum=1"]).unwrap();
        let error = format!("{:#}", error.candidates().unwrap_err());
        assert!(error.contains("adam:momentum=1"), "{error}");
    }

    #[test]
    fn an_accuracy_beyond_one_is_refused_and_such_a_loss_is_not() {
        let beyond = parse(&["--target", "95"]).unwrap();
        let error = beyond.check_target(Task::Classification).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("--target 95 is no test accuracy")
        );
        assert!(beyond.check_target(Task::Regression).is_ok());
    }

    #[test]
    fn a_target_is_a_part_of_one_or_a_percentage() {
        let target = |text: &str| text.parse::<Target>().unwrap().0;
        assert_eq!(target("0.9"), 0.9);
        assert_eq!(target("90%"), 0.9);
        assert_eq!(target("90 %"), 0.9);
    }
}
