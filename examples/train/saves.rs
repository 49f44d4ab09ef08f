//! When a run is saved, and what it goes on from.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use trainer::network::Network;
use trainer::progress::Progress;
use wgpu_optim::Checkpoint;

use crate::arguments::Checkpoints;
use crate::run::Run;
use crate::writer::Writer;

impl Checkpoints {
    /// Fails for files that cannot be written, before anything is done.
    pub fn check(&self) -> Result<()> {
        let files = [
            ("--save", &self.save),
            ("--export-weights", &self.export_weights),
        ];
        for (flag, path) in files {
            let Some(path) = path else { continue };
            ensure!(
                !path.is_dir() && path.file_name().is_some(),
                "{flag} {}: expected a file, and this is none.",
                path.display()
            );
            let folder = folder(path);
            ensure!(
                folder.is_dir(),
                "{flag} {}: there is no folder {}.",
                path.display(),
                folder.display()
            );
        }
        if let Some(path) = &self.save {
            ensure!(
                !path.exists() || self.resumes(path),
                "--save {0}: it is there already. Expected --resume {0} to go on with it, or another file.",
                path.display()
            );
        }
        Ok(())
    }

    fn resumes(&self, path: &Path) -> bool {
        let file = |path: &Path| path.canonicalize().ok();
        let resumed = self.resume.as_deref().and_then(file);
        resumed.is_some() && resumed == file(path)
    }

    /// The run to go on with.
    pub fn open(&self) -> Result<Option<Checkpoint>> {
        let open = |path: &PathBuf| Checkpoint::open(path).context("--resume");
        self.resume.as_ref().map(open).transpose()
    }

    /// How far it is: at the start, if there is none or if its weights alone are taken.
    pub fn progress(&self, run: &Run, checkpoint: Option<&Checkpoint>) -> Result<Progress> {
        match checkpoint.filter(|_| !self.fresh_optimizer) {
            Some(checkpoint) => run.progress(checkpoint).with_context(|| self.name()),
            None => Ok(Progress::default()),
        }
    }

    /// Brings what it has into `network`.
    pub fn load(&self, checkpoint: &Checkpoint, network: &mut dyn Network) -> Result<()> {
        let loaded = match self.fresh_optimizer {
            true => network.load_weights(checkpoint),
            false => network.load(checkpoint),
        };
        loaded.with_context(|| self.name())
    }

    fn name(&self) -> String {
        let path = self.resume.as_deref().unwrap_or(Path::new(""));
        format!("--resume {}", path.display())
    }
}

/// The folder that the file `path` is in.
pub fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Saves a run.
pub struct Saves<'a> {
    run: &'a Run<'a>,
    path: PathBuf,
    every: Option<u32>,
    epochs: u32,
    /// Where the run begins or goes on.
    start: Progress,
    writer: Writer,
    /// How many checkpoints were not written.
    failed: usize,
    /// Whether the last one was not.
    last_failed: bool,
}

impl<'a> Saves<'a> {
    /// None without `--save`. The run goes on from `start` to so many epochs.
    pub fn new(
        checkpoints: &Checkpoints,
        run: &'a Run<'a>,
        start: Progress,
        epochs: u32,
    ) -> Option<Self> {
        let path = checkpoints.save.clone()?;
        Some(Self {
            run,
            every: checkpoints.save_every,
            epochs,
            start,
            writer: Writer::to(&path),
            path,
            failed: 0,
            last_failed: false,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is anything to save where the run stops.
    pub fn has_moved(&self, progress: &Progress) -> bool {
        *progress != self.start
    }

    /// Has the run saved if that is due at `progress`, as it is wherever the run `stops`.
    pub fn reached(
        &self,
        progress: &Progress,
        network: &mut dyn Network,
        stops: bool,
    ) -> Result<()> {
        let every = self.every.unwrap_or(self.epochs);
        let is_due = progress.epochs.is_multiple_of(every) || progress.epochs == self.epochs;
        let is_due = match stops {
            true => self.has_moved(progress),
            false => is_due,
        };
        if is_due {
            self.writer.write(network.save(&self.run.save(progress)?)?);
        }
        Ok(())
    }

    /// What went wrong since this was called last, in words.
    pub fn failures(&mut self) -> Vec<String> {
        let mut failures = Vec::new();
        for outcome in self.writer.outcomes() {
            self.last_failed = outcome.is_err();
            failures.extend(outcome.err().map(|error| format!("not saved: {error}")));
        }
        self.failed += failures.len();
        failures
    }

    /// Waits for the last checkpoint. Fails if one was not written.
    pub fn finish(&mut self) -> Result<()> {
        self.writer.wait();
        let last = self.failures();
        ensure!(
            self.failed == 0,
            "--save {}: {} of the checkpoints could not be written; the last one {}{}",
            self.path.display(),
            self.failed,
            if self.last_failed {
                "is missing"
            } else {
                "is there"
            },
            last.last()
                .map_or_else(String::new, |reason| format!(". {reason}"))
        );
        Ok(())
    }
}
