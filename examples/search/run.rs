//! Trials, one after the other.

use anyhow::Result;
use report::number::{percent, significant};
use report::{Interrupt, Progress};
use trainer::candidate::Candidate;
use trainer::data::Task;
use trainer::network::Score;
use trainer::setting::Setting;
use trainer::training::{self, End, Epoch, Observer};

use crate::journal::{Journal, Outcome, Search};
use crate::trial::Trial;

/// Does what is left to do, until the user interrupts it.
pub fn trials(
    setting: &Setting,
    search: &Search,
    outcomes: &mut [Option<Outcome>],
    journal: &mut Journal,
    observer: &mut Watch,
) -> Result<()> {
    let count = search.trials.len();
    for (index, (trial, outcome)) in search.trials.iter().zip(outcomes).enumerate() {
        if outcome.is_some() {
            continue;
        }
        let Some((score, seconds)) = observer.train(setting, &trial.candidate, search.seed)? else {
            return Ok(());
        };
        let is_classification = setting.data.task == Task::Classification;
        let finished = Outcome {
            loss: score.loss,
            accuracy: is_classification.then_some(score.accuracy),
            seconds,
        };
        journal.append(search, trial, &finished)?;
        *outcome = Some(finished);
        observer.line(&line(index + 1, count, trial, &finished)?)?;
    }
    Ok(())
}

fn line(number: usize, count: usize, trial: &Trial, outcome: &Outcome) -> Result<String> {
    let accuracy = outcome
        .accuracy
        .map_or_else(String::new, |part| percent(part, 2));
    let loss = match outcome.loss.is_finite() {
        true => significant(outcome.loss, 4),
        false => "diverged".to_owned(),
    };
    let rest = trial.rest();
    let name = trial.name();
    let lr = significant(trial.lr()?, 4);
    Ok(
        format!("{number:>4}/{count}  {accuracy:>8}  {loss:>9}  {name} lr={lr} {rest}")
            .trim_end()
            .to_owned(),
    )
}

/// Shows progress, and watches for an interruption.
pub struct Watch {
    pub progress: Progress,
    pub interrupt: Interrupt,
    pub is_quiet: bool,
    /// Of training.
    seconds: f64,
    /// Samples of the present training that are still to come.
    left: u64,
}

impl Watch {
    pub fn new(progress: Progress, interrupt: Interrupt, is_quiet: bool) -> Self {
        Self {
            progress,
            interrupt,
            is_quiet,
            seconds: 0.0,
            left: 0,
        }
    }

    pub fn line(&mut self, text: &str) -> Result<()> {
        match self.is_quiet {
            true => Ok(()),
            false => self.progress.line(text),
        }
    }

    /// The score after the last epoch, and the seconds of training; None if it was interrupted. The
    /// loss of a training that diverged is NaN.
    pub fn train(
        &mut self,
        setting: &Setting,
        candidate: &Candidate,
        seed: u64,
    ) -> Result<Option<(Score, f64)>> {
        if self.interrupt.is_requested() {
            return Ok(None);
        }
        let plan = setting.plan(candidate, seed)?;
        self.left = u64::from(plan.epochs) * plan.samples as u64;
        let mut network = setting.network(candidate, &plan)?;
        let outcome = training::train(network.as_mut(), &plan, self)?;
        let test = match outcome.end {
            End::Stopped => return Ok(None),
            End::Complete => outcome.test,
            End::Diverged { .. } => Score {
                loss: f64::NAN,
                ..outcome.test
            },
        };
        self.progress.advance(self.left);
        Ok(Some((test, self.seconds)))
    }
}

impl Observer for Watch {
    fn advanced(&mut self, samples: usize) {
        self.left = self.left.saturating_sub(samples as u64);
        self.progress.advance(samples as u64);
    }

    fn finished(&mut self, epoch: &Epoch) -> Result<()> {
        self.seconds = epoch.seconds;
        Ok(())
    }

    fn stops(&self) -> bool {
        self.interrupt.is_requested()
    }
}
