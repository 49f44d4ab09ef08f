//! Files of one JSON object a line, each line whole as soon as it is written.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

/// Where `--json` goes.
pub struct JsonLines {
    file: File,
    path: PathBuf,
}

impl JsonLines {
    /// An empty file, in place of what was there.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path);
        let file = file.with_context(|| format!("--json: cannot create {}", path.display()))?;
        Ok(Self::over(file, path))
    }

    /// Goes on where `file`, which is at `path`, is at.
    pub fn over(file: File, path: &Path) -> Self {
        Self {
            file,
            path: path.to_owned(),
        }
    }

    /// Writes one line, as a whole.
    pub fn write(&mut self, line: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(line)? + "\n";
        let written = self.file.write_all(line.as_bytes());
        written.with_context(|| format!("--json: cannot write {}", self.path.display()))
    }
}
