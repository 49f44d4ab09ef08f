//! What the user gets to see: a table, a progress bar on a terminal, and a JSON file on request.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use ::report::Progress;
use anyhow::{Context, Result};
use serde::Serialize;
use trainer::data::Task;
use trainer::network::Score;
use trainer::progress::{Best, Progress as Reached};
use trainer::training::{Epoch, Observer, Outcome, Plan};
use wgpu_optim::{Formats, Options};

use crate::arguments::Checkpoints;

pub struct Report {
    task: Task,
    progress: Progress,
    json: Option<File>,
}

/// A line of the JSON file per epoch.
#[derive(Serialize)]
struct EpochLine {
    epoch: u32,
    train_loss: f64,
    test_loss: f64,
    test_accuracy: Option<f64>,
    lr: f64,
    samples_per_second: f64,
}

/// The last line of the JSON file.
#[derive(Serialize)]
struct SummaryLine<'a> {
    device: &'a str,
    parameters: usize,
    /// The formats of parameters, of gradients, of the optimizer's state and of its sensitive state.
    params: &'a str,
    grads: &'a str,
    state: &'a str,
    sensitive: &'a str,
    seconds: f64,
    /// From the start of the program to the end of the first step; null if there was none.
    first_step_seconds: Option<f64>,
    test_accuracy: Option<f64>,
    /// The epoch after which the test loss was smallest.
    best_epoch: Option<u32>,
    best_test_loss: Option<f64>,
    /// Null unless steps look at the gradients.
    skipped_steps: Option<u64>,
    /// The next step's; null if there is none.
    loss_scale: Option<f64>,
}

impl Report {
    /// A report on `samples` samples in all. Creates the JSON file, or goes on at its end if the run
    /// `goes_on`.
    pub fn new(
        task: Task,
        samples: u64,
        json: Option<&Path>,
        goes_on: bool,
        is_quiet: bool,
    ) -> Result<Self> {
        let create = |path: &Path| {
            let mut options = OpenOptions::new();
            let options = match goes_on {
                true => options.append(true),
                false => options.write(true).truncate(true),
            };
            options
                .create(true)
                .open(path)
                .with_context(|| format!("--json: cannot create {}", path.display()))
        };
        let json = json.map(create).transpose()?;
        let progress = Progress::new(samples, "samples", is_quiet)?;
        Ok(Self {
            task,
            progress,
            json,
        })
    }

    pub fn line(&mut self, text: &str) -> Result<()> {
        self.progress.line(text)
    }

    /// The run goes on from `progress`, or its weights begin a new one.
    pub fn resumed(
        &mut self,
        checkpoints: &Checkpoints,
        progress: &Reached,
        plan: &Plan,
    ) -> Result<()> {
        let path = checkpoints.resume.as_deref().unwrap_or(Path::new(""));
        let path = path.display();
        self.progress.advance(progress.samples(plan));
        self.line(&match checkpoints.fresh_optimizer {
            true => format!("resumed    the weights of {path}, with a fresh optimizer"),
            false => format!(
                "resumed    {path}, after {} epochs and {} batches",
                progress.epochs, progress.batches
            ),
        })
    }

    pub fn heading(&mut self) -> Result<()> {
        self.line("epoch  train loss   test loss  accuracy          lr  samples/s")
    }

    pub fn summary(
        &mut self,
        device: &str,
        parameters: usize,
        formats: &Formats,
        options: &Options,
        start: Instant,
        outcome: &Outcome,
    ) -> Result<()> {
        self.progress.finish();
        let Outcome {
            test,
            time,
            first_step,
            stats,
            progress: Reached { best, .. },
            ..
        } = outcome;
        let accuracy = self.accuracy(*test);
        let seconds = time.as_secs_f64();
        let first_step_seconds = first_step.map(|first| (first - start).as_secs_f64());
        let first = first_step_seconds.map_or_else(String::new, |seconds| {
            format!(", first step after {seconds:.2} s")
        });
        let skipped_steps = options.skips().then_some(stats.skipped);
        let loss_scale = options.loss_scale.map(|_| stats.loss_scale);
        let skipped = skipped_steps.map_or_else(String::new, |skipped| {
            let steps = stats.performed + skipped;
            format!(", {skipped} of {steps} steps skipped")
        });
        let scale = loss_scale.map_or_else(String::new, |scale| {
            if scale < 1.0 {
                format!(", loss scale {scale:e}")
            } else {
                format!(", loss scale {scale}")
            }
        });
        let reached = match accuracy {
            Some(accuracy) => format!("test accuracy {}", percent(accuracy)),
            None => format!("test loss {:.6}", test.loss),
        };
        self.line(&format!(
            "{reached} after {seconds:.1} s on {device}, {parameters} parameters{first}{skipped}{scale}"
        ))?;
        if let Some(Best { epoch, test }) = best {
            let loss = test.loss;
            self.line(&format!("smallest test loss {loss:.6} after epoch {epoch}"))?;
        }
        self.json(&SummaryLine {
            device,
            parameters,
            params: formats.params.name(),
            grads: formats.grads.name(),
            state: formats.state.name(),
            sensitive: formats.sensitive.name(),
            seconds,
            first_step_seconds,
            test_accuracy: accuracy,
            best_epoch: best.map(|best| best.epoch),
            best_test_loss: best.map(|best| best.test.loss),
            skipped_steps,
            loss_scale,
        })
    }

    /// Numbers are neither right nor wrong.
    fn accuracy(&self, score: Score) -> Option<f64> {
        (self.task == Task::Classification).then_some(score.accuracy)
    }

    fn json(&mut self, line: &impl Serialize) -> Result<()> {
        if let Some(file) = &mut self.json {
            writeln!(file, "{}", serde_json::to_string(line)?).context("--json: cannot write")?;
        }
        Ok(())
    }
}

fn percent(accuracy: f64) -> String {
    format!("{:.2} %", 100.0 * accuracy)
}

impl Observer for Report {
    fn advanced(&mut self, samples: usize) {
        self.progress.advance(samples as u64);
    }

    fn finished(&mut self, epoch: &Epoch) -> Result<()> {
        let accuracy = self.accuracy(epoch.test);
        self.line(&format!(
            "{:>5}  {:>10.6}  {:>10.6}  {:>8}  {:>10.3e}  {:>9.0}",
            epoch.number,
            epoch.train.loss,
            epoch.test.loss,
            accuracy.map_or_else(|| "–".into(), percent),
            epoch.lr,
            epoch.samples_per_second,
        ))?;
        self.json(&EpochLine {
            epoch: epoch.number,
            train_loss: epoch.train.loss,
            test_loss: epoch.test.loss,
            test_accuracy: accuracy,
            lr: epoch.lr,
            samples_per_second: epoch.samples_per_second,
        })
    }
}
