//! The file of finished trials, from which a search goes on after an interruption.

use std::fs::{self, File, OpenOptions};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use report::JsonLines;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::trial::Trial;

/// What a trial came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Null in the file, and not finite here, for a training that diverged.
    pub loss: f64,
    /// None where the targets are numbers.
    pub accuracy: Option<f64>,
    /// Of training.
    pub seconds: f64,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    optimizer: String,
    hyper: Map<String, Value>,
    seed: u64,
    /// What all trials of a search have in common.
    setting: String,
    validation_loss: Option<f64>,
    validation_accuracy: Option<f64>,
    seconds: f64,
}

/// The trials of a search, and what identifies them in a file.
pub struct Search<'a> {
    pub trials: &'a [Trial],
    pub seed: u64,
    pub setting: &'a str,
}

/// Where finished trials go; nowhere without a file.
pub struct Journal {
    lines: Option<JsonLines>,
}

impl Journal {
    /// Opens the file at `path`, and reads what it has of the search: the outcome of each trial, if it
    /// is there. A last line that was cut off by the end of a process is dropped.
    ///
    /// Fails for a file of anything else, which stays as it is.
    pub fn open(path: Option<&Path>, search: &Search) -> Result<(Self, Vec<Option<Outcome>>)> {
        let Some(path) = path else {
            return Ok((Self { lines: None }, vec![None; search.trials.len()]));
        };
        let name = || format!("--json {}", path.display());
        ensure!(
            !path.exists() || path.is_file(),
            "{} is no file: expected one to read finished trials from and to write new ones to.",
            name()
        );
        let contents = match fs::read(path) {
            Ok(contents) => contents,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).with_context(name),
        };
        let whole = contents
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        let outcomes = search.read(&contents[..whole]).with_context(name)?;
        if whole < contents.len() {
            search.check_torn(&contents[whole..]).with_context(name)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file: File = file.with_context(name)?;
        file.set_len(whole as u64).with_context(name)?;
        let lines = Some(JsonLines::over(file, path));
        Ok((Self { lines }, outcomes))
    }

    pub fn append(&mut self, search: &Search, trial: &Trial, outcome: &Outcome) -> Result<()> {
        let Some(lines) = &mut self.lines else {
            return Ok(());
        };
        lines.write(&search.line(trial, outcome))
    }
}

impl Search<'_> {
    fn line(&self, trial: &Trial, outcome: &Outcome) -> Line {
        Line {
            optimizer: trial.name().to_owned(),
            hyper: trial.hyper.clone(),
            seed: self.seed,
            setting: self.setting.to_owned(),
            validation_loss: outcome.loss.is_finite().then_some(outcome.loss),
            validation_accuracy: outcome.accuracy,
            seconds: outcome.seconds,
        }
    }

    /// The outcome of each trial that the lines have.
    fn read(&self, lines: &[u8]) -> Result<Vec<Option<Outcome>>> {
        let mut outcomes = vec![None; self.trials.len()];
        let lines = lines.strip_suffix(b"\n").unwrap_or(lines);
        if lines.is_empty() {
            return Ok(outcomes);
        }
        for (index, line) in lines.split(|byte| *byte == b'\n').enumerate() {
            let number = index + 1;
            let line: Line = serde_json::from_slice(line).with_context(|| {
                format!("line {number} is no trial of a search: expected a new FILE, or one that a search began")
            })?;
            self.check_setting(&line)
                .with_context(|| format!("line {number}"))?;
            let is_it = |trial: &Trial| trial.name() == line.optimizer && trial.hyper == line.hyper;
            let Some(place) = self.trials.iter().position(is_it) else {
                bail!(
                    "line {number} is a trial of {} with {} that this command does not ask for: expected a new FILE, or \
                     a command that asks for no less than the one that began it",
                    line.optimizer,
                    Value::Object(line.hyper)
                );
            };
            outcomes[place] = Some(Outcome {
                loss: line.validation_loss.unwrap_or(f64::NAN),
                accuracy: line.validation_accuracy,
                seconds: line.seconds,
            });
        }
        Ok(outcomes)
    }

    fn check_setting(&self, line: &Line) -> Result<()> {
        ensure!(
            line.setting == self.setting && line.seed == self.seed,
            "is of another search, with --seed {} and {}; this one has --seed {} and {}. Expected a new FILE, or the \
             command that began it",
            line.seed,
            line.setting,
            self.seed,
            self.setting
        );
        Ok(())
    }

    /// Fails unless the end of the file is the beginning of a line of this search.
    fn check_torn(&self, torn: &[u8]) -> Result<()> {
        let nothing = Outcome {
            loss: f64::NAN,
            accuracy: None,
            seconds: 0.0,
        };
        for trial in self.trials {
            let line = serde_json::to_string(&self.line(trial, &nothing))?;
            let outcome = line.find("\"validation_loss\"").unwrap_or(line.len());
            let head = &line.as_bytes()[..outcome];
            if torn.starts_with(head) || head.starts_with(torn) {
                return Ok(());
            }
        }
        bail!("the last line has no end and is no trial of this search: expected a new FILE")
    }
}
