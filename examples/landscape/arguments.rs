//! The command line.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use clap::{CommandFactory, FromArgMatches, Parser};
use flags::schedule::Decay;
use flags::{Length, PositiveNumber, ScheduleFlags, ScheduledRule, device};
use report::{Output, facts};
use wgpu_optim::schedule::Schedule;

use crate::contenders::{self, Contender};
use crate::descent::Noise;
use crate::functions::{self, Function, Point};

/// Shows how optimizers descend: paths over contours, values over steps, basins of attraction.
///
/// Without any flag: the gallery, all functions on one page, landscape.html.
#[derive(Clone, Debug, Parser)]
#[command(name = "landscape", after_help = functions_help(), allow_negative_numbers = true)]
pub struct Arguments {
    /// What to descend, see below
    #[arg(long, value_name = "NAME")]
    pub function: Option<String>,

    /// Optimizers by name, such as adam,adamw:weight_decay=0.1,lion:lr=1e-4: what is not said has the
    /// library's default; adam:schedule=cosine has a schedule of its own, in place of --schedule [default:
    /// SGD, Adam and others that show what the function is about]
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        requires = "function"
    )]
    pub rules: Vec<ScheduledRule>,

    /// Where to begin, such as --start=-1.5,2; may be repeated [default: the function's]
    #[arg(long, value_name = "X,Y", requires = "function")]
    pub start: Vec<Coordinates>,

    /// How many steps each takes [default: what suits the function]
    #[arg(long, requires = "function", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub steps: Option<u64>,

    /// Ratio of the largest curvature to the smallest, of `quadratic` [default: 10]
    #[arg(long, value_name = "K", requires = "function")]
    pub condition: Option<PositiveNumber>,

    /// Adds normal noise of this standard deviation to each element of the gradient, the same for all
    /// rules
    #[arg(long, value_name = "SIGMA", requires = "function")]
    pub noise: Option<PositiveNumber>,

    /// Seed of the noise and of the search
    #[arg(long, default_value_t = 1)]
    pub seed: u32,

    /// Descends from N × N starts all over the domain, and shows which minimum each ends in and how fast
    #[arg(long, value_name = "N", requires = "function", value_parser = clap::value_parser!(u32).range(2..=512), conflicts_with_all = ["tune", "start"])]
    pub basins: Option<u32>,

    /// Finds hyperparameters first, for each rule by itself, and shows the best
    #[arg(long, requires = "function")]
    pub tune: bool,

    /// How many sets of hyperparameters --tune tries for each rule
    #[arg(long, value_name = "COUNT", default_value_t = 256, requires = "tune", value_parser = clap::value_parser!(u32).range(8..=65_536))]
    pub candidates: u32,

    /// auto, gpu, cpu, or part of an adapter's name
    ///
    /// auto takes a GPU, else a software Vulkan driver, else the CPU twin; gpu takes software
    /// drivers too.
    #[arg(long, default_value = "auto")]
    pub device: device::Choice,

    /// Writes a page with pictures, or the pictures alone [default without --function: landscape.html]
    #[arg(long, value_name = "FILE.html|.svg|.png")]
    pub out: Option<Output>,

    /// Writes one JSON object for each step to this file, one a line
    #[arg(long, value_name = "FILE", requires = "function")]
    pub json: Option<PathBuf>,

    /// Keeps each Kth step alone, and the last
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub every: u64,

    /// No bar
    #[arg(long)]
    pub quiet: bool,

    #[command(
        flatten,
        next_help_heading = "Learning rates over time; an epoch is one step"
    )]
    pub schedule: ScheduleFlags,
}

fn functions_help() -> String {
    let mut help = String::from("Functions:\n");
    for function in functions::names().filter_map(|name| functions::by_name(name).ok()) {
        let (name, formula) = (function.name(), function.formula());
        help += &format!("  {name:<16} {formula}\n");
    }
    help
}

/// `1.5,2`, or `1.5` for a function of one variable.
#[derive(Clone, Debug, PartialEq)]
pub struct Coordinates(Vec<f64>);

impl FromStr for Coordinates {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split(',').map(|part| part.trim().parse());
        match numbers.collect::<Result<Vec<f64>, _>>() {
            Ok(numbers) if numbers.iter().all(|x| x.is_finite()) => Ok(Self(numbers)),
            _ => Err("expected finite numbers, such as 1.5,2".into()),
        }
    }
}

impl fmt::Display for Coordinates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = self.0.iter().map(f64::to_string);
        f.write_str(&numbers.collect::<Vec<_>>().join(","))
    }
}

/// What one function is descended with.
pub struct Task {
    pub function: Box<dyn Function>,
    pub starts: Vec<Point>,
    pub steps: u64,
    pub noise: Option<Noise>,
}

impl Arguments {
    pub fn read() -> Self {
        let matches = Self::command_line().get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// A learning rate that stays is what a fixed function asks for.
    pub fn command_line() -> clap::Command {
        Self::command().mut_arg("schedule", |flag| flag.default_value("constant"))
    }

    /// Where the gallery goes.
    pub fn gallery_out(&self) -> Result<Output> {
        match &self.out {
            Some(out) => Ok(out.clone()),
            None => "landscape.html".parse().map_err(anyhow::Error::msg),
        }
    }

    /// What --function and its flags say.
    pub fn task(&self) -> Result<Task> {
        let name = self.function.as_deref().context("--function is missing.")?;
        let function = self.function(name)?;
        let mut starts = self
            .start
            .iter()
            .map(|start| start_in(&*function, start))
            .collect::<Result<Vec<_>>>()?;
        if starts.is_empty() {
            starts.push(function.start());
        }
        let steps = self.steps.unwrap_or(function.showcase().steps);
        Ok(Task {
            starts,
            steps,
            noise: self.noise.map(|PositiveNumber(sigma)| Noise {
                sigma,
                seed: self.seed,
            }),
            function,
        })
    }

    fn function(&self, name: &str) -> Result<Box<dyn Function>> {
        let function = functions::by_name(name).context("--function")?;
        let Some(PositiveNumber(condition)) = self.condition else {
            return Ok(function);
        };
        function.with_condition(condition).with_context(|| {
            format!("--condition has no meaning for {name}: expected --function quadratic.")
        })
    }

    /// Of the part of each rule's learning rate: an epoch is a step.
    fn schedules(&self, rules: &[ScheduledRule], steps: u64) -> Result<Vec<Schedule>> {
        // A floor is a learning rate, and rules have different ones.
        ensure!(
            self.schedule.floor.is_none(),
            "--floor has no meaning here, where each rule has its own learning rate."
        );
        let own = rules.iter().map(|rule| rule.schedule);
        let schedules = self.schedule.schedules(own, 1.0, Length::of_steps(steps))?;
        schedules.iter().try_for_each(Schedule::validate)?;
        Ok(schedules)
    }

    /// The command that shows the paths of `contenders` in place of those that were asked for.
    pub fn command_with(&self, task: &Task, contenders: &[Contender]) -> String {
        let rules: Vec<_> = contenders.iter().map(Contender::written).collect();
        let mut arguments = vec!["--function".into(), task.function.name().to_owned()];
        let mut add = |flag: &str, value: Option<String>| {
            if let Some(value) = value {
                arguments.extend([flag.to_owned(), value]);
            }
        };
        let number = |number: Option<PositiveNumber>| number.map(|number| number.0.to_string());
        add("--rules", Some(rules.join(",")));
        add("--steps", Some(task.steps.to_string()));
        add("--condition", number(self.condition));
        add("--noise", number(self.noise));
        add("--seed", self.noise.map(|_| self.seed.to_string()));
        let schedule = &self.schedule;
        let decay = Some(schedule.schedule).filter(|decay| *decay != Decay::Constant);
        add("--schedule", decay.map(|decay| decay.to_string()));
        let steps = |steps: u32| (steps > 0).then(|| steps.to_string());
        add("--warmup", steps(schedule.warmup));
        add("--decay-every", schedule.decay_every.and_then(steps));
        add("--gamma", number(schedule.gamma));
        for start in &self.start {
            // A minus sign must not be taken for a flag.
            arguments.push(format!("--start={start}"));
        }
        facts::command_of("landscape", &arguments)
    }

    /// The rules that the user lists, and no others; else those that suit the function.
    pub fn contenders(&self, task: &Task) -> Result<Vec<Contender>> {
        let rules = match self.rules.is_empty() {
            true => contenders::showcase(&*task.function)?,
            false => self.rules.clone(),
        };
        let schedules = self.schedules(&rules, task.steps)?;
        let contenders = rules.iter().zip(schedules).map(|(rule, schedule)| {
            let decay = rule.schedule.unwrap_or(self.schedule.schedule);
            Contender::new(rule, decay, schedule)
        });
        contenders.collect::<Result<_>>().context("--rules")
    }
}

/// Fails for a start that is not in the function's domain.
fn start_in(function: &dyn Function, text: &Coordinates) -> Result<Point> {
    let name = function.name();
    let point = match (function.dimensions(), &text.0[..]) {
        (1, &[x]) => [x, 0.0],
        (2, &[x, y]) => [x, y],
        (count, _) => anyhow::bail!(
            "--start={text} is no place for {name}, which has {count} variable{}: expected {}.",
            if count == 1 { "" } else { "s" },
            function.domain_text()
        ),
    };
    ensure!(
        function.admits(point),
        "--start={text} is outside the domain of {name}: expected {}.",
        function.domain_text()
    );
    Ok(point)
}
