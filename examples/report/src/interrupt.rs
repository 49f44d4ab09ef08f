//! Ctrl-C and SIGTERM: programs finish what they are at and write what they have.

use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

/// Whether the user wants the program to end.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    flag: Arc<AtomicBool>,
}

impl Interrupt {
    /// The exit status of a program that was interrupted.
    const STATUS: u8 = 130;

    /// From now on the first Ctrl-C is noted here, and a second one ends the process at once.
    ///
    /// # Errors
    /// If it is called twice.
    pub fn watch() -> Result<Self> {
        let interrupt = Self::default();
        let flag = interrupt.flag.clone();
        ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::Relaxed) {
                process::exit(i32::from(Self::STATUS));
            }
        })
        .context("Ctrl-C cannot be watched for")?;
        Ok(interrupt)
    }

    /// As if Ctrl-C had come.
    pub fn request(&self) {
        self.flag.store(true, Ordering::Relaxed);
    }

    /// Whether Ctrl-C or SIGTERM came. Never for `Interrupt::default()`.
    pub fn is_requested(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// The exit status of a program that has done what it could.
    pub fn exit_code(&self) -> ExitCode {
        match self.is_requested() {
            true => ExitCode::from(Self::STATUS),
            false => ExitCode::SUCCESS,
        }
    }
}
