//! The flags of every example that trains: which data, which network, how long and how.

use std::str::FromStr;

use ::flags::{Length, Rules, ScheduleFlags};
use anyhow::{Result, bail, ensure};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command};
use wgpu_optim::{Format, Formats, MOST_UNKNOWNS, MatrixWork, Rule};

use crate::data::{Dataset, Embedded, Source, Task};
use crate::defaults;
use crate::network::{Activation, Architecture, Layer, Loss, Shape, batch_count};
use crate::training::Plan;

/// Which data, and the network that learns them.
#[derive(Clone, Debug, clap::Args)]
pub struct NetworkFlags {
    /// digits, linear-regression, synthetic-regression, synthetic-classification, or a folder of MNIST-style IDX files
    /// (train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-…; plain or .gz)
    #[arg(long, value_name = "DATA", default_value = "digits")]
    pub data: String,

    /// How many classes the labels of an IDX folder may name [default: 10]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub classes: Option<u16>,

    /// Convolutions before the hidden layers, such as 8x3,16x3: 8 filters of 3×3 pixels, then 16. The
    /// data must be images, which keep their size: beyond their edges are zeros
    #[arg(long, value_name = "FILTERSxSIZE")]
    pub conv: Option<Convolutions>,

    /// Max pooling after each convolution: one pixel in place of SIZE × SIZE
    #[arg(long, value_name = "SIZE", requires = "conv")]
    pub pool: Option<usize>,

    /// Widths of the hidden layers, such as 128,64; "" for none
    /// [default: 256,128, but 64 after --conv and none for linear-regression]
    #[arg(long, value_name = "WIDTHS")]
    pub hidden: Option<Widths>,

    /// What follows each hidden layer and each convolution
    #[arg(long, value_enum, default_value_t = Activation::Relu)]
    pub activation: Activation,

    /// What to minimise [default: cross-entropy for classes, mse for numbers]
    #[arg(long, value_enum)]
    pub loss: Option<Loss>,
}

impl NetworkFlags {
    pub fn data(&self) -> Result<Dataset> {
        let source = Source::parse(&self.data);
        ensure!(
            self.classes.is_none() || matches!(source, Source::Folder(_)),
            "--classes has no meaning without a folder of IDX files."
        );
        source.load(self.classes.unwrap_or(10).into())
    }

    /// Widths of the hidden layers.
    fn hidden_widths(&self) -> &[usize] {
        let linear = Source::Embedded(Embedded::LinearRegression);
        match &self.hidden {
            Some(Widths(widths)) => widths,
            None if Source::parse(&self.data) == linear => &[],
            None if self.conv.is_some() => &[64],
            None => &[256, 128],
        }
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
        let mut layers = Vec::new();
        let input = match (&self.conv, data.image) {
            (None, _) => Shape::vector(data.features),
            (Some(convolutions), Some(image)) => {
                for &convolution in &convolutions.0 {
                    layers.push(convolution);
                    layers.extend(self.pool.map(|size| Layer::MaxPool { size }));
                }
                Shape {
                    height: image.height,
                    width: image.width,
                    channels: 1,
                }
            }
            (Some(_), None) => bail!(
                "--conv is for images, and {} has none: expected --data digits or a folder of IDX files.",
                data.name
            ),
        };
        let widths = self.hidden_widths().iter().chain([&data.outputs]);
        layers.extend(widths.map(|&outputs| Layer::Linear { outputs }));
        Architecture::new(input, &layers, self.activation, loss)
    }
}

/// How long to train, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct TrainingFlags {
    #[command(flatten)]
    pub schedule: ScheduleFlags,

    /// How often to go through the training data
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    pub epochs: u32,

    /// Samples per batch: 1 is stochastic gradient descent, `all` or 0 the whole training set
    /// [default: 32, but `all` for rprop]
    #[arg(long, value_name = "SIZE")]
    pub batch_size: Option<BatchSize>,

    /// How parameters are stored: f32, bf16, bf16+8 or bf16+16. In bf16 they are rounded at each step, by
    /// chance. The others have 8 and 16 more bits, which the optimizer keeps: the network reads the bf16
    #[arg(long, value_name = "FORMAT", default_value_t, value_parser = flags::format::of_params)]
    pub params: Format,

    /// How gradients are stored: f32, f16 or bf16, rounded to the nearest. f16 goes with --loss-scale
    #[arg(long, value_name = "FORMAT", default_value_t, value_parser = flags::format::of_grads)]
    pub grads: Format,

    /// How optimizers keep their state: f32, bf16 or int8. What they average is rounded at each step, by
    /// chance and to the same bits for the same --seed; what must be exact stays f32
    #[arg(long, value_name = "FORMAT", default_value_t, value_parser = flags::format::of_state)]
    pub state: Format,

    /// How optimizers keep copies of parameters and gradients, and step sizes: f32 or bf16
    #[arg(long, value_name = "FORMAT", default_value_t, value_parser = flags::format::of_sensitive)]
    pub sensitive: Format,
}

impl TrainingFlags {
    /// Samples per batch, out of `count`.
    pub fn batch_size(&self, rules: &Rules, count: usize) -> usize {
        let mut names = rules.by_flag().map(|(_, rule)| rule.name());
        let whole = names.any(|name| defaults::of(name).is_some_and(|of| of.whole_batches));
        let default = if whole {
            BatchSize::All
        } else {
            BatchSize::Samples(32)
        };
        self.batch_size.unwrap_or(default).of(count)
    }

    /// How state is stored in the training with `seed`.
    pub fn formats(&self, seed: u64) -> Formats {
        Formats {
            params: self.params,
            grads: self.grads,
            state: self.state,
            sensitive: self.sensitive,
            // Beyond 32 bits, seeds differ in their weights and batches alone.
            seed: seed as u32,
            ..Formats::default()
        }
    }

    /// The training with `rules` on `samples` samples, with a step for every `accumulate` batches.
    pub fn plan(&self, rules: &Rules, samples: usize, accumulate: u32, seed: u64) -> Result<Plan> {
        let (lr, batch_size) = (rules.rest.lr(), self.batch_size(rules, samples));
        let batches = batch_count(samples, batch_size);
        let all_batches = u64::from(self.epochs) * batches as u64;
        ensure!(
            u64::from(accumulate) <= all_batches,
            "--accumulate {accumulate} leaves no step to a training of {all_batches} batches: expected at most \
             that many."
        );
        let length = Length {
            epochs: self.epochs.into(),
            batches_per_epoch: batches as u64,
            accumulate: accumulate.into(),
        };
        Ok(Plan {
            epochs: self.epochs,
            batch_size,
            accumulate,
            poison: None,
            samples,
            lr,
            schedule: self.schedule.schedule(lr, length)?,
            seed,
        })
    }
}

/// The flags of [`NetworkFlags`] and [`TrainingFlags`] on a command line that has both, such as
/// `--epochs 10`: those that the user gave, or those with a default as well.
pub fn shared(matches: &ArgMatches, with_defaults: bool) -> Vec<String> {
    let own = TrainingFlags::augment_args(NetworkFlags::augment_args(Command::new("shared")));
    let mut flags = Vec::new();
    for argument in own.get_arguments() {
        let id = argument.get_id().as_str();
        let is_given = matches.value_source(id) == Some(ValueSource::CommandLine);
        let values = matches.get_raw(id).filter(|_| is_given || with_defaults);
        let (Some(name), Some(values)) = (argument.get_long(), values) else {
            continue;
        };
        flags.push(format!("--{name}"));
        if argument.get_action().takes_values() {
            let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
            flags.push(values.join(","));
        }
    }
    flags
}

/// Fails for a rule that is not for the tensors that `flag` gives it.
pub fn check_suits(flag: &str, rule: &dyn Rule) -> Result<()> {
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

/// Convolutions, separated by commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Convolutions(pub Vec<Layer>);

impl FromStr for Convolutions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let convolution = |part: &str| {
            let numbers = part.trim().split_once('x').map(|(filters, kernel)| {
                let number = |text: &str| {
                    text.parse()
                        .ok()
                        .filter(|number| (1..=WIDEST).contains(number))
                };
                number(filters).zip(number(kernel))
            });
            match numbers.flatten() {
                Some((filters, kernel)) => Ok(Layer::Convolution { filters, kernel }),
                None => Err(format!(
                    "'{part}' is no convolution: expected filters and size, such as 8x3 for 8 filters of 3×3 pixels"
                )),
            }
        };
        text.split(',')
            .map(convolution)
            .collect::<Result<_, _>>()
            .map(Self)
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
    use ::flags::RuleText;
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        network: NetworkFlags,
        #[command(flatten)]
        training: TrainingFlags,
    }

    fn parse(line: &[&str]) -> Result<Line, String> {
        Line::try_parse_from([&["test"], line].concat()).map_err(|error| error.to_string())
    }

    fn adamw() -> Rules {
        RuleText::named("adamw").rule(&[]).unwrap().into()
    }

    #[test]
    fn hidden_widths_may_be_none_one_or_many() {
        let widths = |text| {
            let line = parse(&["--hidden", text]).unwrap();
            line.network.hidden_widths().to_vec()
        };
        assert_eq!(widths(""), Vec::<usize>::new());
        assert_eq!(widths("7"), [7]);
        assert_eq!(widths("128, 64"), [128, 64]);
    }

    #[test]
    fn linear_regression_is_linear_unless_the_user_says_otherwise() {
        let widths = |line: &[&str]| {
            let line = parse(&[&["--data", "linear-regression"], line].concat()).unwrap();
            line.network.hidden_widths().to_vec()
        };
        assert_eq!(widths(&[]), Vec::<usize>::new());
        assert_eq!(widths(&["--hidden", "8"]), [8]);
        assert_eq!(parse(&[]).unwrap().network.hidden_widths(), [256, 128]);
    }

    #[test]
    fn after_convolutions_one_narrow_layer_is_enough_unless_the_user_says_otherwise() {
        let widths = |line: &[&str]| {
            let line = parse(&[&["--conv", "8x3"], line].concat()).unwrap();
            line.network.hidden_widths().to_vec()
        };
        assert_eq!(widths(&[]), [64]);
        assert_eq!(widths(&["--hidden", "32,16"]), [32, 16]);
    }

    #[test]
    fn a_wrong_value_is_answered_with_what_was_expected() {
        for (line, expected) in [
            (
                ["--hidden", "12,x"],
                "'x' is no width: expected whole numbers",
            ),
            (["--hidden", "0"], "expected whole numbers from 1"),
            (
                ["--batch-size", "many"],
                "expected a whole number, or 'all'",
            ),
            (["--epochs", "0"], "--epochs"),
            (
                ["--schedule", "linear"],
                "constant, step, cosine, exponential",
            ),
            (["--activation", "swish"], "relu, tanh, sigmoid, gelu"),
            (["--conv", "8"], "'8' is no convolution: expected filters"),
            (["--conv", "8x3,0x3"], "'0x3' is no convolution"),
            (["--conv", ""], "'' is no convolution"),
            (["--pool", "2"], "--conv <FILTERSxSIZE>"),
        ] {
            let error = parse(&line).unwrap_err();
            assert!(error.contains(expected), "{line:?}: {error}");
        }
    }

    #[test]
    fn batch_size_zero_and_all_mean_the_whole_set() {
        let of = |text| {
            let line = parse(&["--batch-size", text]).unwrap();
            line.training.batch_size(&adamw(), 1437)
        };
        for text in ["0", "all", "5000"] {
            assert_eq!(of(text), 1437);
        }
        assert_eq!(of("1"), 1);
    }

    fn architecture(line: &[&str]) -> Result<Architecture> {
        let network = parse(line).unwrap().network;
        network.architecture(&network.data().unwrap())
    }

    #[test]
    fn pooling_follows_each_convolution_and_the_hidden_layers_both() {
        for (line, expected) in [
            (
                &["--conv", "8x3, 16x5", "--pool", "2"][..],
                "8×8×1 → conv 8x3 → pool 2 → conv 16x5 → pool 2 → 64 → 10",
            ),
            (&["--conv", "8x3", "--hidden", ""], "8×8×1 → conv 8x3 → 10"),
            (&[], "64 → 256 → 128 → 10"),
        ] {
            assert_eq!(architecture(line).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn convolutions_of_data_that_are_no_images_are_refused() {
        let line = ["--conv", "8x3", "--data", "synthetic-classification"];
        let error = architecture(&line).unwrap_err().to_string();
        assert!(
            error.contains("--conv is for images") && error.contains("synthetic classification"),
            "{error}"
        );
    }

    #[test]
    fn classes_are_those_of_a_folder() {
        let error = parse(&["--classes", "5"]).unwrap().network.data();
        assert!(error.unwrap_err().to_string().contains("--classes"));
    }

    #[test]
    fn shared_flags_are_those_of_the_network_and_the_training_as_they_were_given() {
        let line = [
            "test",
            "--epochs",
            "7",
            "--hidden",
            "",
            "--batch-size",
            "all",
        ];
        let matches = Line::command().get_matches_from(line);
        let given = shared(&matches, false);
        assert_eq!(
            given,
            ["--hidden", "", "--epochs", "7", "--batch-size", "all"]
        );
        let all = shared(&matches, true);
        assert!(
            all.windows(2).any(|pair| pair == ["--activation", "relu"]),
            "{all:?}"
        );
        assert!(
            all.windows(2).any(|pair| pair == ["--epochs", "7"]),
            "{all:?}"
        );
        Line::try_parse_from([&["test".to_owned()], &all[..]].concat()).unwrap();
    }

    #[test]
    fn more_micro_batches_than_the_training_has_are_refused() {
        let plan = |accumulate| {
            let line = parse(&["--epochs", "2", "--batch-size", "10"]).unwrap();
            line.training.plan(&adamw(), 95, accumulate, 1)
        };
        assert!(plan(20).is_ok());
        let error = plan(21).err().unwrap().to_string();
        assert!(
            error.contains("--accumulate 21") && error.contains("20 batches"),
            "{error}"
        );
    }
}
