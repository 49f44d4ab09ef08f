//! The command line.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use flags::{Around, Assignment, PositiveNumber, RuleText, Rules, device};
use trainer::defaults;
use trainer::flags::{NetworkFlags, TrainingFlags, check_suits};
use trainer::training::Plan;
use wgpu_optim::{Rule, rules};

/// Trains a multi-layer perceptron, or a convolutional network, with fused GPU optimizer steps.
///
/// Without any flag: AdamW learns the UCI handwritten digits on the best device there is.
#[derive(Clone, Debug, Parser)]
#[command(name = "train", after_help = defaults::table(), allow_negative_numbers = true)]
pub struct Arguments {
    #[command(flatten)]
    pub network: NetworkFlags,

    #[arg(long, value_name = "NAME", default_value = "adamw", help = optimizer_help())]
    pub optimizer: RuleText,

    /// One of the optimizer's hyperparameters, such as beta1=0.95; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub hyper: Vec<Assignment>,

    /// Learning rate of --optimizer [default: the optimizer's, see below]
    #[arg(long)]
    pub lr: Option<PositiveNumber>,

    /// Another optimizer for the weight matrices, such as muon, which takes nothing else; the rest, the
    /// biases, keeps --optimizer
    ///
    /// Each has its own learning rate. Warm-up and schedule apply to both alike: --floor is that of
    /// --optimizer, and the other ends at the same part of its own. Epochs are printed with the rate of
    /// --optimizer.
    #[arg(long, value_name = "NAME")]
    pub matrices: Option<RuleText>,

    /// One of the hyperparameters of --matrices, such as lr=0.01; may be repeated
    #[arg(long, value_name = "KEY=VALUE", requires = "matrices")]
    pub matrices_hyper: Vec<Assignment>,

    #[command(flatten)]
    pub training: TrainingFlags,

    #[command(flatten)]
    pub around: Around,

    /// Seed of the starting weights, of the order of the samples, and of rounding with --state and --params
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// auto, gpu, cpu, or part of an adapter's name
    ///
    /// auto takes a GPU, else a software Vulkan driver, else the CPU twin; gpu takes software
    /// drivers too. Where there is no GPU, cpu is the fastest.
    #[arg(long, default_value = "auto")]
    pub device: device::Choice,

    #[command(flatten)]
    pub checkpoints: Checkpoints,

    /// Writes one JSON object per epoch to this file, one a line, and a summary as its last line. A
    /// resumed run goes on at the file's end
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Lines in place of a progress bar
    #[arg(long)]
    pub quiet: bool,
}

fn optimizer_help() -> String {
    let names: Vec<_> = rules::names().collect();
    format!(
        "The optimizer, such as adamw or adamw:beta1=0.95: {}. Muon goes with --matrices instead; newton_dense \
         wants Hessians that this example does not compute",
        names.join(", ")
    )
}

/// Which files a run is saved to, goes on from and is exported to.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Checkpoints {
    /// Saves the run to this file at its end, and where Ctrl-C or SIGTERM stops it: weights, optimizer,
    /// and how far it is. The file may be there already if --resume goes on with it
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,

    /// Saves after every so many epochs too, while training goes on
    #[arg(long, value_name = "EPOCHS", requires = "save", value_parser = clap::value_parser!(u32).range(1..))]
    pub save_every: Option<u32>,

    /// Goes on with the run that was saved to this file, to the bit. --epochs counts all of its epochs.
    /// Data, network, optimizer, --params, --state, seed and batches must be the same, on either device
    #[arg(long, value_name = "FILE")]
    pub resume: Option<PathBuf>,

    /// Takes nothing but the weights from --resume, and begins a new run with them
    #[arg(long, requires = "resume")]
    pub fresh_optimizer: bool,

    /// Writes the weights that the tests were made with, as safetensors with PyTorch's names and layout
    #[arg(long, value_name = "FILE")]
    pub export_weights: Option<PathBuf>,
}

impl Arguments {
    /// The optimizers with their defaults, and what the user says on top.
    pub fn rules(&self) -> Result<Rules> {
        let mut rest = rule(&self.optimizer, "--hyper", &self.hyper)?;
        if let Some(PositiveNumber(lr)) = self.lr {
            rest.set("lr", &lr.to_string())
                .with_context(|| format!("--lr {lr:e}"))?;
        }
        let matrices = self.matrices.as_ref();
        let matrices = matrices.map(|name| rule(name, "--matrices-hyper", &self.matrices_hyper));
        let rules = Rules {
            formats: self.training.formats(self.seed),
            matrices: matrices.transpose()?,
            rest,
        };
        for (flag, rule) in rules.by_flag() {
            check_suits(flag, rule)?;
        }
        Ok(rules)
    }

    /// The training with `rules` on `samples` samples.
    pub fn plan(&self, rules: &Rules, samples: usize) -> Result<Plan> {
        let training = &self.training;
        let plan = training.plan(rules, samples, self.around.accumulate, self.seed)?;
        Ok(Plan {
            poison: self.around.poison,
            ..plan
        })
    }
}

/// The rule of `text` with its defaults, and what the user says with `flag` on top.
fn rule(text: &RuleText, flag: &str, hyper: &[Assignment]) -> Result<Box<dyn Rule>> {
    let mut rule = defaults::rule(text)?;
    for assignment in hyper {
        rule.set(&assignment.name, &assignment.value)
            .with_context(|| format!("{flag} {assignment}"))?;
    }
    rule.validate().context(flag.to_owned())?;
    Ok(rule)
}

#[cfg(test)]
mod tests {
    use wgpu_optim::{Format, Formats};

    use super::*;

    fn parse(line: &[&str]) -> Result<Arguments, String> {
        Arguments::try_parse_from([&["train"], line].concat()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_wrong_value_is_answered_with_what_was_expected() {
        for (line, expected) in [
            (["--lr", "-1"], "expected a finite number above 0"),
            (["--lr", "nan"], "expected a finite number above 0"),
            (["--lr", "1e300"], "as an f32 holds it"),
            (["--device", " "], "part of an adapter's name"),
            (["--hyper", "beta1"], "expected KEY=VALUE"),
            (["--optimizer", "adamm"], "adamw, "),
            (["--matrices", "muun"], "muon, "),
            (["--state", "fp8"], "f32, bf16, int8"),
            (["--params", "f16"], "f32, bf16, bf16+8"),
            (["--grads", "int8"], "f32, f16, bf16"),
        ] {
            let error = parse(&line).unwrap_err();
            assert!(error.contains(expected), "{line:?}: {error}");
        }
    }

    #[test]
    fn unknown_optimizers_and_hyperparameters_are_errors() {
        let rules = |line: &[&str]| parse(line).unwrap().rules();
        assert!(rules(&["--hyper", "momentun=0.9"]).is_err());
        assert!(rules(&["--hyper", "beta1=0.95"]).is_ok());
        let muon = |hyper| rules(&["--matrices", "muon", "--matrices-hyper", hyper]);
        assert!(muon("momentum=0.9").is_ok());
        for wrong in ["momentun=0.9", "momentum=1.5", "ns_steps=2.5"] {
            let error = format!("{:#}", muon(wrong).unwrap_err());
            assert!(error.contains("--matrices-hyper"), "{error}");
        }
    }

    #[test]
    fn hyperparameters_of_matrices_want_a_rule_for_them() {
        let error = parse(&["--matrices-hyper", "lr=0.01"]).unwrap_err();
        assert!(error.contains("--matrices <NAME>"), "{error}");
    }

    #[test]
    fn a_rule_for_other_tensors_is_refused_with_the_remedy() {
        let error = |line: &[&str]| parse(line).unwrap().rules().unwrap_err().to_string();
        let muon = error(&["--optimizer", "muon"]);
        assert!(muon.contains("use --matrices muon"), "{muon}");
        for flag in ["--optimizer", "--matrices"] {
            let newton = error(&[flag, "newton_dense"]);
            assert!(
                newton.contains(&format!("{flag} newton_dense")) && newton.contains("at most 256"),
                "{newton}"
            );
        }
    }

    #[test]
    fn each_group_starts_at_its_own_learning_rate() {
        let lr = |line: &[&str]| {
            let rules = parse(&[&["--matrices", "muon"], line].concat()).unwrap();
            let rules = rules.rules().unwrap();
            (rules.matrices.unwrap().lr(), rules.rest.lr())
        };
        let (muon, adamw) = lr(&[]);
        assert_eq!(lr(&["--lr", "0.5"]), (muon, 0.5));
        assert_eq!(lr(&["--matrices-hyper", "lr=0.5"]), (0.5, adamw));
    }

    #[test]
    fn all_is_f32_unless_the_user_says_otherwise_and_rounded_with_the_runs_seed() {
        let formats = |line: &[&str]| parse(line).unwrap().rules().unwrap().formats;
        assert_eq!(
            formats(&[]),
            Formats {
                seed: 1,
                ..Formats::default()
            }
        );
        let line = [
            "--state",
            "int8",
            "--params",
            "bf16+8",
            "--grads",
            "f16",
            "--seed",
            "7",
            "--sensitive",
            "bf16",
            "--matrices",
            "muon",
        ];
        let expected = Formats {
            params: Format::Bf16Plus8,
            grads: Format::F16,
            state: Format::Int8,
            sensitive: Format::Bf16,
            seed: 7,
            copy: None,
        };
        assert_eq!(formats(&line), expected);
    }

    #[test]
    fn the_users_learning_rate_wins_over_the_default() {
        let arguments = parse(&["--hyper", "lr=0.5", "--lr", "0.25"]).unwrap();
        assert_eq!(arguments.rules().unwrap().rest.lr(), 0.25);
    }

    #[test]
    fn hyperparameters_that_do_not_go_together_are_refused_before_anything_is_done() {
        let line = [
            "--optimizer",
            "sgd",
            "--hyper",
            "momentum=0",
            "--hyper",
            "nesterov=true",
        ];
        let error = format!("{:#}", parse(&line).unwrap().rules().unwrap_err());
        assert!(
            error.contains("--hyper") && error.contains("nesterov"),
            "{error}"
        );
    }
}
