//! What the user sees while the comparison is held: lines and progress, and JSON on request.

use anyhow::Result;
use report::number::{percent, seconds, significant};
use report::{JsonLines, Progress};
use serde::Serialize;
use trainer::data::Task;
use trainer::training::{End, Epoch};

use crate::contest::{Audience, Entrant, Run};

pub struct Live {
    pub task: Task,
    pub progress: Progress,
    pub json: Option<JsonLines>,
    pub is_quiet: bool,
}

/// A line of the JSON file. Losses are null where they are no finite numbers.
#[derive(Serialize)]
struct EpochLine<'a> {
    /// As the command line has it.
    optimizer: &'a str,
    seed: u64,
    epoch: u32,
    train_loss: f64,
    test_loss: f64,
    /// Null where the targets are numbers.
    test_accuracy: Option<f64>,
    /// Of training alone, since the start.
    seconds: f64,
}

impl Live {
    pub fn line(&mut self, text: &str) -> Result<()> {
        match self.is_quiet {
            true => Ok(()),
            false => self.progress.line(text),
        }
    }

    pub fn heading(&mut self) -> Result<()> {
        self.line("optimizer                 seed  accuracy  test loss  train loss   training")
    }
}

impl Audience for Live {
    fn advanced(&mut self, samples: u64) {
        self.progress.advance(samples);
    }

    fn epoch(&mut self, entrant: &Entrant, seed: u64, epoch: &Epoch) -> Result<()> {
        let Some(json) = &mut self.json else {
            return Ok(());
        };
        let is_classification = self.task == Task::Classification;
        json.write(&EpochLine {
            optimizer: &entrant.candidate.text.to_string(),
            seed,
            epoch: epoch.number,
            train_loss: epoch.train.loss,
            test_loss: epoch.test.loss,
            test_accuracy: is_classification.then_some(epoch.test.accuracy),
            seconds: epoch.seconds,
        })
    }

    fn run(&mut self, entrant: &Entrant, run: &Run) -> Result<()> {
        let Some(last) = run.epochs.last() else {
            return Ok(());
        };
        let accuracy = match self.task {
            Task::Classification => percent(last.test.accuracy, 2),
            Task::Regression => "–".to_owned(),
        };
        let remark = match run.end {
            End::Complete => String::new(),
            End::Diverged { epoch } => format!("  diverged at epoch {epoch}"),
            End::Stopped => format!("  stopped after epoch {}", last.number),
        };
        self.line(&format!(
            "{:<24}  {:>4}  {:>8}  {:>9}  {:>10}  {:>9}{remark}",
            entrant.title,
            run.seed,
            accuracy,
            significant(last.test.loss, 4),
            significant(last.train.loss, 4),
            seconds(last.seconds),
        ))
    }
}
