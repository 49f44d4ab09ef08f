//! The page of a comparison.

use anyhow::Result;
use clap::ValueEnum;
use report::number::{percent, seconds};
use report::{Page, Section, facts};
use trainer::data::{DIGITS, Dataset, Task};
use trainer::network::Architecture;

use crate::arguments::Arguments;
use crate::contest::{Entrant, Run};
use crate::curves;
use crate::standing::{self, Goal, Standing};
use crate::table;

/// All that there is to show.
pub struct View<'a> {
    pub arguments: &'a Arguments,
    /// Its name.
    pub device: &'a str,
    pub data: &'a Dataset,
    pub architecture: &'a Architecture,
    pub entrants: &'a [Entrant],
    pub runs: &'a [Run],
    /// Whether the user let it come to its end.
    pub is_complete: bool,
}

impl View<'_> {
    pub fn goal(&self) -> Goal {
        let target = self.arguments.target.map(|target| target.0);
        Goal::new(self.data.task, target)
    }

    pub fn standings(&self) -> Vec<Standing> {
        standing::standings(self.entrants, self.runs, self.data.task, self.goal())
    }
}

pub fn page(view: &View, standings: &[Standing]) -> Result<Page> {
    let result = Section {
        title: "The result".to_owned(),
        text: result_text(view),
        tables: vec![table::table(
            view.entrants,
            standings,
            view.data.task,
            view.goal(),
        )],
        ..Section::default()
    };
    let mut sections = vec![result];
    sections.extend(curves::sections(view, standings)?);
    Ok(Page {
        title: title(view),
        lead: lead(view, standings),
        command: facts::command("compare"),
        facts: facts(view),
        sections,
    })
}

fn title(view: &View) -> String {
    let count = view.entrants.len();
    format!("{count} optimizers on {}", view.data.name)
}

fn lead(view: &View, standings: &[Standing]) -> String {
    let title = |standing: &Standing| &view.entrants[standing.entrant].title;
    let mut sentences = Vec::new();
    if let Some(best) = standings.first() {
        let result = match view.data.task {
            Task::Classification => format!("a test accuracy of {}", percent(best.accuracy, 2)),
            Task::Regression => format!("a test loss of {:.4}", best.test_loss),
        };
        sentences.push(format!("{} ends best, at {result}.", title(best)));
    }
    let fast = standings
        .iter()
        .filter_map(|standing| Some((standing.seconds_to_goal?, standing)));
    if let Some((time, first)) = fast.min_by(|a, b| a.0.total_cmp(&b.0)) {
        sentences.push(format!(
            "{} is the first at {}, after {} of training.",
            title(first),
            table::goal_text(view.goal()),
            seconds(time)
        ));
    }
    if !view.is_complete {
        sentences.push("The comparison was interrupted: this is what was finished.".to_owned());
    }
    sentences.join(" ")
}

fn result_text(view: &View) -> String {
    let mut text = String::from(
        "All start from the same weights and meet the same batches in the same order. Each has the learning rate \
         that suits it on the digits with this program's other defaults, or the one that the command gives it, and \
         its schedule is the same part of it at every step. ",
    );
    text += trainer::candidate::SGD_NOTE;
    text += " Time is that of training alone: data are scored while the clock stands still.";
    if view.data.name != DIGITS {
        text += "\n\nLearning rates that the command does not give were not chosen for these data: the example search \
                 finds better ones.";
    }
    text
}

/// How long, in which batches, and how learning rates go on.
fn training(view: &View) -> String {
    let flags = &view.arguments.training;
    let schedule = flags.schedule.schedule.to_possible_value();
    let schedule = schedule.map_or_else(String::new, |value| value.get_name().to_owned());
    let batch = view.entrants.iter().map(|entrant| entrant.batch_size).min();
    format!(
        "{} epochs in batches of {}, schedule {schedule}, {} steps of warm-up",
        flags.epochs,
        batch.unwrap_or(0),
        flags.schedule.warmup
    )
}

fn facts(view: &View) -> Vec<(String, String)> {
    let arguments = view.arguments;
    let seeds: Vec<String> = arguments.seeds().map(|seed| seed.to_string()).collect();
    let own = [
        (
            "data",
            format!(
                "{}: {} to train on, {} to test",
                view.data.name, view.data.train.count, view.data.test.count
            ),
        ),
        (
            "network",
            format!(
                "{}, {} parameters",
                view.architecture,
                view.architecture.parameter_count()
            ),
        ),
        ("training", training(view)),
        ("seeds", seeds.join(", ")),
    ];
    let own = own.map(|(name, value)| (name.to_owned(), value));
    own.into_iter()
        .chain(facts::usual(view.device, None))
        .collect()
}
