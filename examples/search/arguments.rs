//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Result, ensure};
use clap::Parser;
use flags::{Assignment, PositiveNumber, RuleText, device};
use report::Output;
use trainer::candidate;
use trainer::defaults;
use trainer::flags::{NetworkFlags, TrainingFlags};

/// Finds an optimizer and its hyperparameters by training with many, judged on a fifth of the training
/// data that none of them trains on. The test data are scored once, at the end, by the best.
///
/// Without any flag: five optimizers at eight learning rates each learn the UCI handwritten digits.
/// Ctrl-C keeps what was finished; with --json, the same command goes on there.
#[derive(Clone, Debug, Parser)]
#[command(name = "search", after_help = after_help(), allow_negative_numbers = true)]
pub struct Arguments {
    #[command(flatten)]
    pub network: NetworkFlags,

    /// What to search through, such as adam,sgd:momentum=0.9; what an item says stays as it is
    #[arg(
        long,
        value_name = "NAMES",
        default_value = "sgd,sgd:momentum=0.9,rmsprop,adam,adamw",
        value_delimiter = ','
    )]
    pub optimizers: Vec<RuleText>,

    /// Learning rates of the grid, such as 1e-3,1e-2 [default: without --grid and --random eight from
    /// 1e-4 to 3e-1, else each optimizer's own, see below]
    #[arg(long, value_name = "RATES", value_delimiter = ',')]
    pub lr: Vec<PositiveNumber>,

    /// Values of another hyperparameter in the grid, such as weight_decay=0,0.01; may be repeated
    ///
    /// An optimizer without it is searched without it.
    #[arg(long, value_name = "KEY=VALUES")]
    pub grid: Vec<GridKey>,

    /// How many trials to draw at random, with the optimizers in turn. They come after the grid, if --lr
    /// or --grid ask for one
    ///
    /// A learning rate is drawn log-uniformly from the least to the greatest of --lr where it has two or
    /// more, else from a tenth to ten times the optimizer's own; a hyperparameter of --grid is one of its
    /// values; what else is drawn is up to --draw.
    #[arg(long, value_name = "TRIALS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=100_000))]
    pub random: u32,

    /// Hyperparameters that random trials draw, where an optimizer has them, or `all` but maximize
    ///
    /// Numbers below one, such as beta1: one minus 0.001 to 0.5. weight_decay: 0, or 1e-5 to 0.1. eps: 1e-10
    /// to 1e-4. Others: a tenth to ten times their default. All log-uniform.
    #[arg(
        long,
        value_name = "KEYS",
        value_delimiter = ',',
        default_value = "momentum,beta1,beta2,alpha,weight_decay"
    )]
    pub draw: Vec<String>,

    #[command(flatten)]
    pub training: TrainingFlags,

    /// Seed of what is drawn, of the starting weights, of the order of the samples, and of rounding with
    /// --state
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// auto, gpu, cpu, or part of an adapter's name, as in `train`
    #[arg(long, default_value = "auto")]
    pub device: device::Choice,

    /// Appends one JSON object per trial to this file, one a line, as soon as it is finished; trials that
    /// the file has are not done again
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Writes a page with the ranking to FILE.html, or its pictures to FILE.svg or FILE.png
    #[arg(long, value_name = "FILE")]
    pub out: Option<Output>,

    /// Prints the ranking alone
    #[arg(long)]
    pub quiet: bool,
}

fn after_help() -> String {
    format!("{}\n{}\n", defaults::table(), candidate::SGD_NOTE)
}

/// `KEY=V1,V2`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GridKey {
    pub name: String,
    pub values: Vec<String>,
}

impl FromStr for GridKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = |_| "expected KEY=V1,V2, such as weight_decay=0,0.01".to_owned();
        let Assignment { name, value } = text.parse().map_err(expected)?;
        if name == "lr" {
            return Err("learning rates go to --lr".into());
        }
        let values: Vec<String> = value
            .split(',')
            .map(|value| value.trim().to_owned())
            .collect();
        match values.iter().any(String::is_empty) {
            true => Err(expected(String::new())),
            false => Ok(Self { name, values }),
        }
    }
}

impl Arguments {
    /// Whether the grid has trials beside those that are drawn.
    pub fn has_grid(&self) -> bool {
        self.random == 0 || !self.lr.is_empty() || !self.grid.is_empty()
    }

    /// Fails for flags that do not go together.
    pub fn check(&self) -> Result<()> {
        for (index, key) in self.grid.iter().enumerate() {
            ensure!(
                self.grid[..index]
                    .iter()
                    .all(|other| other.name != key.name),
                "--grid {0} is there twice: expected all values of {0} in one.",
                key.name
            );
        }
        ensure!(
            self.draw.iter().all(|name| name != "lr"),
            "--draw lr: learning rates are drawn anyway; --lr has their range."
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[&str]) -> Result<Arguments, String> {
        Arguments::try_parse_from([&["search"], line].concat()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_wrong_value_is_answered_with_what_was_expected() {
        for (line, expected) in [
            (["--optimizers", "addam"], "adamw, "),
            (["--lr", "1e-3,0"], "expected a finite number above 0"),
            (["--grid", "weight_decay"], "expected KEY=V1,V2"),
            (["--grid", "weight_decay=0,"], "expected KEY=V1,V2"),
            (["--grid", "lr=1"], "learning rates go to --lr"),
            (["--random", "-3"], "--random"),
            (["--random", "1000000"], "--random"),
        ] {
            let error = parse(&line).unwrap_err();
            assert!(error.contains(expected), "{line:?}: {error}");
        }
    }

    #[test]
    fn a_key_twice_and_a_drawn_learning_rate_are_refused() {
        let error = |line: &[&str]| parse(line).unwrap().check().unwrap_err().to_string();
        assert!(error(&["--grid", "beta1=0.9", "--grid", "beta1=0.8"]).contains("twice"));
        assert!(error(&["--draw", "lr"]).contains("--lr has their range"));
    }
}
