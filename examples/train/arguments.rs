//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, ValueEnum};
use wgpu_optim::schedule::Schedule;
use wgpu_optim::{MOST_UNKNOWNS, MatrixWork, Rule, rules};

use crate::around::Around;
use crate::data::{Dataset, Source, Task};
use crate::defaults;
use crate::device::Choice;
use crate::network::{Activation, Architecture, Loss, Rules, batch_count};
use crate::training::Plan;

/// Trains a multi-layer perceptron with fused GPU optimizer steps.
///
/// Without any flag: AdamW learns the UCI handwritten digits on the best device there is.
#[derive(Clone, Debug, Parser)]
#[command(name = "train", after_help = defaults::table(), allow_negative_numbers = true)]
pub struct Arguments {
    /// digits, synthetic-regression, synthetic-classification, or a folder of MNIST-style IDX files
    /// (train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-…; plain or .gz)
    #[arg(long, value_name = "DATA", default_value = "digits")]
    pub data: String,

    /// How many classes the labels of an IDX folder may name [default: 10]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub classes: Option<u16>,

    /// Widths of the hidden layers, such as 128,64; "" for none
    #[arg(long, value_name = "WIDTHS", default_value = "256,128")]
    pub hidden: Widths,

    /// What follows each hidden layer
    #[arg(long, value_enum, default_value_t = Activation::Relu)]
    pub activation: Activation,

    /// What to minimise [default: cross-entropy for classes, mse for numbers]
    #[arg(long, value_enum)]
    pub loss: Option<Loss>,

    #[arg(long, value_name = "NAME", default_value = "adamw", help = optimizer_help())]
    pub optimizer: String,

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
    pub matrices: Option<String>,

    /// One of the hyperparameters of --matrices, such as lr=0.01; may be repeated
    #[arg(long, value_name = "KEY=VALUE", requires = "matrices")]
    pub matrices_hyper: Vec<Assignment>,

    /// How learning rates go on
    #[arg(long, value_enum, default_value_t = Decay::Cosine)]
    pub schedule: Decay,

    /// Steps in which learning rates first rise from zero
    #[arg(long, value_name = "STEPS", default_value_t = 0)]
    pub warmup: u32,

    /// With --schedule step: epochs from one drop to the next [default: a third of all epochs]
    #[arg(long, value_name = "EPOCHS", value_parser = clap::value_parser!(u32).range(1..))]
    pub decay_every: Option<u32>,

    /// Factor of each drop with --schedule step [default: 0.1], or per epoch with --schedule
    /// exponential [default: 0.9]
    #[arg(long, value_name = "FACTOR")]
    pub gamma: Option<PositiveNumber>,

    /// With --schedule cosine: the learning rate at the end [default: 0]
    #[arg(long, value_name = "LR")]
    pub floor: Option<PositiveNumber>,

    /// How often to go through the training data
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    pub epochs: u32,

    /// Samples per batch: 1 is stochastic gradient descent, `all` or 0 the whole training set
    /// [default: 32, but see below]
    #[arg(long, value_name = "SIZE")]
    pub batch_size: Option<BatchSize>,

    #[command(flatten)]
    pub around: Around,

    /// Seed of the starting weights and of the order of the samples
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// auto, gpu, cpu, or part of an adapter's name
    ///
    /// auto takes a GPU, else a software Vulkan driver, else the CPU twin; gpu takes software
    /// drivers too. Where there is no GPU, cpu is the fastest.
    #[arg(long, default_value = "auto")]
    pub device: Choice,

    /// Writes one JSON object per epoch to this file, one a line, and a summary as its last line
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

fn optimizer_help() -> String {
    let names: Vec<_> = rules::names().collect();
    format!(
        "The optimizer: {}. Muon goes with --matrices instead; newton_dense wants Hessians that this example \
         does not compute",
        names.join(", ")
    )
}

/// How the learning rate goes on after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Decay {
    Constant,
    Step,
    Cosine,
    Exponential,
}

impl Arguments {
    pub fn data(&self) -> Result<Dataset> {
        let source = Source::parse(&self.data);
        ensure!(
            self.classes.is_none() || matches!(source, Source::Folder(_)),
            "--classes has no meaning without a folder of IDX files."
        );
        source.load(self.classes.unwrap_or(10).into())
    }

    /// The optimizers with their defaults, and what the user says on top.
    pub fn rules(&self) -> Result<Rules> {
        let mut rest = rule(&self.optimizer, "--hyper", &self.hyper)?;
        if let Some(PositiveNumber(lr)) = self.lr {
            rest.set("lr", &lr.to_string())
                .with_context(|| format!("--lr {lr:e}"))?;
        }
        let matrices = self.matrices.as_ref();
        let matrices = matrices.map(|name| rule(name, "--matrices-hyper", &self.matrices_hyper));
        let mut rules = Rules {
            matrices: matrices.transpose()?,
            rest,
        };
        rules.rest.validate().context("--hyper")?;
        if let Some(rule) = &mut rules.matrices {
            rule.validate().context("--matrices-hyper")?;
        }
        for (flag, rule) in rules.by_flag() {
            check_suits(flag, rule)?;
        }
        Ok(rules)
    }

    /// Samples per batch, out of `count`.
    fn batch_size(&self, count: usize) -> usize {
        let mut names = self.matrices.iter().chain([&self.optimizer]);
        let whole = names.any(|name| defaults::of(name).is_some_and(|of| of.whole_batches));
        let default = if whole {
            BatchSize::All
        } else {
            BatchSize::Samples(32)
        };
        self.batch_size.unwrap_or(default).of(count)
    }

    /// The training with `rules` on `samples` samples.
    pub fn plan(&self, rules: &Rules, samples: usize) -> Result<Plan> {
        let (lr, batch_size) = (rules.rest.lr(), self.batch_size(samples));
        let batches = batch_count(samples, batch_size);
        let all_batches = u64::from(self.epochs) * batches as u64;
        let accumulate = self.around.accumulate;
        ensure!(
            u64::from(accumulate) <= all_batches,
            "--accumulate {accumulate} leaves no step to a training of {all_batches} batches: expected at most \
             that many."
        );
        Ok(Plan {
            epochs: self.epochs,
            batch_size,
            accumulate,
            poison: self.around.poison,
            samples,
            lr,
            schedule: self.schedule(lr, batches)?,
            seed: self.seed,
        })
    }

    pub fn architecture(&self, data: &Dataset) -> Result<Architecture> {
        let loss = self.loss.unwrap_or(match data.task {
            Task::Classification => Loss::CrossEntropy,
            Task::Regression => Loss::Mse,
        });
        ensure!(
            data.task == Task::Classification || loss == Loss::Mse,
            "The targets of {} are numbers, not classes: the loss must be mse.",
            data.name
        );
        let mut sizes = vec![data.features];
        sizes.extend(&self.hidden.0);
        sizes.push(data.outputs);
        Ok(Architecture {
            sizes,
            activation: self.activation,
            loss,
        })
    }

    /// The schedule of the part of each learning rate, where that of --optimizer starts at `lr`, with so
    /// many batches per epoch.
    fn schedule(&self, lr: f64, batches_per_epoch: usize) -> Result<Schedule> {
        let belongs = |flag: &str, given: bool, schedules: &[Decay], names: &str| {
            ensure!(
                !given || schedules.contains(&self.schedule),
                "{flag} has no meaning without --schedule {names}."
            );
            Ok(())
        };
        belongs(
            "--decay-every",
            self.decay_every.is_some(),
            &[Decay::Step],
            "step",
        )?;
        let drops = [Decay::Step, Decay::Exponential];
        belongs(
            "--gamma",
            self.gamma.is_some(),
            &drops,
            "step or exponential",
        )?;
        belongs("--floor", self.floor.is_some(), &[Decay::Cosine], "cosine")?;
        if let Some(PositiveNumber(gamma)) = self.gamma {
            ensure!(
                gamma <= 1.0,
                "--gamma {gamma:e} is no decay: expected at most 1."
            );
        }
        if let Some(PositiveNumber(floor)) = self.floor {
            ensure!(
                floor <= lr,
                "--floor {floor:e} is above the learning rate of {lr:e} that it is the floor of."
            );
        }

        let gamma = |default| self.gamma.map_or(default, |gamma| gamma.0);
        let epochs = u64::from(self.epochs);
        let batches_per_epoch = batches_per_epoch as u64;
        let accumulate = u64::from(self.around.accumulate);
        // Micro-batches count on across epochs.
        let steps_in = |epochs: u64| (epochs * batches_per_epoch / accumulate).max(1);
        let warmup = u64::from(self.warmup);
        let schedule = match self.schedule {
            Decay::Constant => Schedule::Constant,
            Decay::Step => {
                let every = self.decay_every.map_or((epochs / 3).max(1), u64::from);
                Schedule::Step {
                    every: steps_in(every),
                    gamma: gamma(0.1),
                }
            }
            Decay::Cosine => Schedule::Cosine {
                steps: steps_in(epochs).saturating_sub(warmup).max(1),
                floor: self.floor.map_or(0.0, |floor| floor.0 / lr),
            },
            Decay::Exponential => Schedule::Exponential {
                gamma: gamma(0.9).powf(accumulate as f64 / batches_per_epoch as f64),
            },
        };
        Ok(if warmup > 0 {
            schedule.with_warmup(warmup)
        } else {
            schedule
        })
    }
}

/// The rule of that name with its defaults, and what the user says with `flag` on top.
fn rule(name: &str, flag: &str, hyper: &[Assignment]) -> Result<Box<dyn Rule>> {
    let mut rule = rules::by_name(name)?;
    if let Some(defaults) = defaults::of(name) {
        rule.set("lr", &defaults.lr.to_string())?;
        for (name, value) in defaults.hyper {
            rule.set(name, value)?;
        }
    }
    for Assignment { name, value } in hyper {
        rule.set(name, value)
            .with_context(|| format!("{flag} {name}={value}"))?;
    }
    Ok(rule)
}

/// Fails for a rule that is not for the tensors that `flag` gives it.
fn check_suits(flag: &str, rule: &dyn Rule) -> Result<()> {
    let name = rule.name();
    match rule.stages().matrix.map(|stage| stage.work) {
        Some(MatrixWork::Orthogonalize { .. }) if flag != "--matrices" => bail!(
            "{flag} {name} is for matrices alone, and biases are none: use --matrices {name}, and --optimizer \
             for the rest."
        ),
        Some(MatrixWork::Solve { .. }) => bail!(
            "{flag} {name} takes the whole Hessian of each tensor, of at most {MOST_UNKNOWNS} parameters: a layer \
             has more, and this example computes none. Expected another optimizer."
        ),
        _ => Ok(()),
    }
}

/// Widths of the hidden layers, separated by commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Widths(pub Vec<usize>);

const WIDEST: usize = 65_536;

impl FromStr for Widths {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self(Vec::new()));
        }
        let width = |part: &str| match part.trim().parse() {
            Ok(width) if (1..=WIDEST).contains(&width) => Ok(width),
            _ => Err(format!(
                "'{part}' is no width: expected whole numbers from 1 to {WIDEST}, such as 128,64"
            )),
        };
        text.split(',')
            .map(width)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// `key=value`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub name: String,
    pub value: String,
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

/// A number above 0 that an f32 can hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PositiveNumber(pub f64);

impl FromStr for PositiveNumber {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number) if (number as f32).is_normal() && number > 0.0 => Ok(Self(number)),
            _ => Err("expected a finite number above 0, as an f32 holds it".into()),
        }
    }
}

/// Samples per step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchSize {
    Samples(usize),
    All,
}

impl FromStr for BatchSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("all", _) | (_, Ok(0)) => Ok(Self::All),
            (_, Ok(samples)) => Ok(Self::Samples(samples)),
            _ => Err("expected a whole number, or 'all' (or 0) for the whole training set".into()),
        }
    }
}

impl BatchSize {
    /// At most the whole training set of `count` samples.
    pub fn of(self, count: usize) -> usize {
        match self {
            Self::Samples(samples) => samples.min(count),
            Self::All => count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[&str]) -> Result<Arguments, String> {
        Arguments::try_parse_from([&["train"], line].concat()).map_err(|error| error.to_string())
    }

    #[test]
    fn hidden_widths_may_be_none_one_or_many() {
        let widths = |text| parse(&["--hidden", text]).unwrap().hidden.0;
        assert_eq!(widths(""), Vec::<usize>::new());
        assert_eq!(widths("7"), [7]);
        assert_eq!(widths("128, 64"), [128, 64]);
    }

    #[test]
    fn a_wrong_value_is_answered_with_what_was_expected() {
        for (line, expected) in [
            (
                ["--hidden", "12,x"],
                "'x' is no width: expected whole numbers",
            ),
            (["--hidden", "0"], "expected whole numbers from 1"),
            (["--lr", "-1"], "expected a finite number above 0"),
            (["--lr", "nan"], "expected a finite number above 0"),
            (["--lr", "1e300"], "as an f32 holds it"),
            (["--device", " "], "part of an adapter's name"),
            (
                ["--batch-size", "many"],
                "expected a whole number, or 'all'",
            ),
            (["--hyper", "beta1"], "expected KEY=VALUE"),
            (["--epochs", "0"], "--epochs"),
            (
                ["--schedule", "linear"],
                "constant, step, cosine, exponential",
            ),
            (["--activation", "swish"], "relu, tanh, sigmoid, gelu"),
        ] {
            let error = parse(&line).unwrap_err();
            assert!(error.contains(expected), "{line:?}: {error}");
        }
    }

    #[test]
    fn unknown_optimizers_and_hyperparameters_are_errors() {
        let rules = |line: &[&str]| parse(line).unwrap().rules();
        assert!(rules(&["--optimizer", "adamm"]).is_err());
        assert!(rules(&["--hyper", "momentun=0.9"]).is_err());
        assert!(rules(&["--hyper", "beta1=0.95"]).is_ok());
        assert!(rules(&["--matrices", "muun"]).is_err());
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
    fn every_optimizer_takes_the_defaults_that_are_documented_for_it() {
        for name in rules::names() {
            let rule = rule(name, "--hyper", &[]).unwrap();
            let library = rules::by_name(name).unwrap().lr();
            let expected = defaults::of(name).map_or(library, |defaults| defaults.lr);
            assert_eq!(rule.lr(), expected, "{name}");
        }
    }

    #[test]
    fn the_users_learning_rate_wins_over_the_default() {
        let arguments = parse(&["--hyper", "lr=0.5", "--lr", "0.25"]).unwrap();
        assert_eq!(arguments.rules().unwrap().rest.lr(), 0.25);
    }

    #[test]
    fn batch_size_zero_and_all_mean_the_whole_set() {
        for text in ["0", "all", "5000"] {
            assert_eq!(
                parse(&["--batch-size", text]).unwrap().batch_size(1437),
                1437
            );
        }
        assert_eq!(parse(&["--batch-size", "1"]).unwrap().batch_size(1437), 1);
    }

    #[test]
    fn a_flag_of_another_schedule_is_refused() {
        let error = |line: &[&str]| {
            parse(line)
                .unwrap()
                .schedule(1.0, 10)
                .unwrap_err()
                .to_string()
        };
        assert!(error(&["--gamma", "0.5"]).contains("--schedule step or exponential"));
        assert!(error(&["--schedule", "step", "--floor", "0.1"]).contains("--schedule cosine"));
        assert!(error(&["--decay-every", "3"]).contains("--schedule step"));
    }

    #[test]
    fn a_schedule_that_would_raise_the_rate_is_refused() {
        let error = |line: &[&str]| {
            let schedule = parse(line).unwrap().schedule(0.1, 10);
            schedule.unwrap_err().to_string()
        };
        assert!(error(&["--floor", "0.2"]).contains("--floor 2e-1"));
        assert!(error(&["--schedule", "step", "--gamma", "1.5"]).contains("--gamma 1.5e0"));
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

    #[test]
    fn classes_are_those_of_a_folder() {
        let error = parse(&["--classes", "5"]).unwrap().data().unwrap_err();
        assert!(error.to_string().contains("--classes"));
    }

    #[test]
    fn schedules_end_where_they_should() {
        let at = |line: &[&str], k| parse(line).unwrap().schedule(1.0, 10).unwrap().at(1.0, k);
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} instead of {b}");
        near(at(&["--epochs", "4"], 40), 0.0);
        near(
            at(&["--epochs", "4", "--warmup", "10", "--floor", "0.25"], 40),
            0.25,
        );
        near(at(&["--epochs", "4", "--warmup", "10"], 10), 1.0);
        near(at(&["--schedule", "step", "--epochs", "9"], 29), 1.0);
        near(at(&["--schedule", "step", "--epochs", "9"], 30), 0.1);
        near(
            at(&["--schedule", "exponential", "--gamma", "0.5"], 20),
            0.25,
        );
        near(at(&["--schedule", "constant", "--warmup", "3"], 1000), 1.0);
    }

    #[test]
    fn schedules_count_steps_and_not_micro_batches() {
        let at = |line: &[&str], k| {
            let arguments = parse(&[&["--accumulate", "4"], line].concat()).unwrap();
            arguments.schedule(1.0, 10).unwrap().at(1.0, k)
        };
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} instead of {b}");
        // 40 batches are 10 steps, although no epoch is a whole number of them.
        near(at(&["--epochs", "4"], 5), 0.5);
        near(at(&["--epochs", "4"], 10), 0.0);
        near(at(&["--schedule", "step", "--decay-every", "2"], 4), 1.0);
        near(at(&["--schedule", "step", "--decay-every", "2"], 5), 0.1);
        near(
            at(&["--schedule", "exponential", "--gamma", "0.5"], 5),
            0.25,
        );
    }

    #[test]
    fn more_micro_batches_than_the_training_has_are_refused() {
        let plan = |accumulate| {
            let line = [
                "--epochs",
                "2",
                "--batch-size",
                "10",
                "--accumulate",
                accumulate,
            ];
            let arguments = parse(&line).unwrap();
            arguments.plan(&arguments.rules().unwrap(), 95)
        };
        assert!(plan("20").is_ok());
        let error = plan("21").err().unwrap().to_string();
        assert!(
            error.contains("--accumulate 21") && error.contains("20 batches"),
            "{error}"
        );
    }
}
