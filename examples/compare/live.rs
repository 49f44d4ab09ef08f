//! What the user sees while the comparison is held: lines and progress, and JSON on request.

use anyhow::Result;
use report::number::{percent, seconds, significant};
use report::{JsonLines, Progress};
use trainer::data::Task;
use trainer::training::{End, Epoch};

use crate::contest::{Audience, Entrant, Run};
use crate::line::EpochLine;

pub struct Live {
    pub task: Task,
    pub progress: Progress,
    pub json: Option<JsonLines>,
    pub is_quiet: bool,
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
        let optimizer = entrant.candidate.text.to_string();
        json.write(&EpochLine::new(&optimizer, seed, epoch, self.task))
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
