//! What the command line asks for, checked before any work is done.

use std::collections::HashSet;

use anyhow::{Result, ensure};
use clap::{ArgMatches, FromArgMatches};
use flags::device::Device;
use report::facts;
use trainer::data::Dataset;
use trainer::flags::shared;
use trainer::network::Architecture;
use trainer::setting::Setting;

use crate::arguments::Arguments;
use crate::journal::Search;
use crate::trial::Trial;
use crate::{draw, grid};

pub struct Job {
    pub arguments: Arguments,
    pub trials: Vec<Trial>,
    /// Sentences about what was left out.
    pub remarks: Vec<String>,
    pub data: Dataset,
    /// Without the test data, and with validation data in their place.
    pub split: Dataset,
    pub architecture: Architecture,
    /// What trials must have in common to be of one search.
    identity: String,
    /// Flags that `train` has as well, as they were given.
    shared: Vec<String>,
    device: String,
}

impl Job {
    pub fn new(matches: &ArgMatches) -> Result<Self> {
        let arguments = Arguments::from_arg_matches(matches)?;
        arguments.check()?;
        if let Some(out) = &arguments.out {
            out.check_beside(arguments.json.as_deref())?;
        }
        let (trials, remarks) = trials(&arguments)?;
        let data = arguments.network.data()?;
        let fingerprint = data.train.fingerprint();
        let device = matches
            .get_raw("device")
            .and_then(|mut values| values.next());
        let device = device.map(|device| device.to_string_lossy().into_owned());
        let job = Self {
            identity: format!(
                "{} (data {fingerprint:016x})",
                shared(matches, true).join(" ")
            ),
            shared: shared(matches, false),
            device: device.unwrap_or_default(),
            split: data.validation_split()?,
            architecture: arguments.network.architecture(&data)?,
            arguments,
            trials,
            remarks,
            data,
        };
        for trial in &job.trials {
            let setting = job.setting(&Device::Cpu);
            setting.plan(&trial.candidate, job.arguments.seed)?;
        }
        Ok(job)
    }

    /// What all trials have in common.
    pub fn setting<'a>(&'a self, device: &'a Device) -> Setting<'a> {
        Setting {
            device,
            data: &self.split,
            architecture: &self.architecture,
            training: &self.arguments.training,
        }
    }

    pub fn search(&self) -> Search<'_> {
        Search {
            trials: &self.trials,
            seed: self.arguments.seed,
            setting: &self.identity,
        }
    }

    /// How many trials there are, and where they come from; `left` are still to be done.
    pub fn description(&self, left: u64) -> String {
        let mut text = self.trials.len().to_string();
        if self.arguments.random > 0 {
            text += &format!(
                ", {} of them drawn: lr, and where an optimizer has them {}",
                self.arguments.random,
                self.arguments.draw.join(", ")
            );
        }
        let done = self.trials.len() as u64 - left;
        if done > 0 {
            text += &format!("; {done} are in the file already");
        }
        text
    }

    /// The command that trains a trial with all training data, and scores the test data.
    pub fn train_command(&self, trial: &Trial) -> Result<String> {
        Ok(facts::command_of("train", &self.train_flags(trial)?))
    }

    pub fn train_flags(&self, trial: &Trial) -> Result<Vec<String>> {
        let mut flags = trial.candidate.train_flags()?;
        flags.extend(self.shared.iter().cloned());
        flags.extend(["--seed".to_owned(), self.arguments.seed.to_string()]);
        flags.extend(["--device".to_owned(), self.device.clone()]);
        Ok(flags)
    }
}

/// Those of the grid, then those that are drawn, each once; and sentences about what was left out.
fn trials(arguments: &Arguments) -> Result<(Vec<Trial>, Vec<String>)> {
    let (grid, remarks) = grid::trials(arguments)?;
    let mut trials: Vec<Trial> = grid.into_iter().chain(draw::trials(arguments)?).collect();
    let mut seen = HashSet::new();
    trials.retain(|trial| seen.insert(trial.key()));
    ensure!(
        !trials.is_empty(),
        "There is nothing to try: {}",
        remarks.join(" ")
    );
    Ok((trials, remarks))
}
