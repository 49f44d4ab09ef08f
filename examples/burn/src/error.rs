//! What can go wrong, and how a step that went wrong gives the module back.

use std::fmt;

/// What can go wrong. Every message says what was found and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// This crate does not know the wgpu device of a module.
    #[error(
        "the wgpu handles of {device} are unknown; open it with wgpu_optim_burn::init() before the \
         first tensor, or pass them to wgpu_optim_burn::share()"
    )]
    UnknownDevice {
        /// Burn's name of it.
        device: String,
    },

    /// Burn did not open its wgpu device.
    #[error("burn did not open its wgpu device: {message}")]
    Open {
        /// What burn says.
        message: String,
    },

    /// A parameter cannot be stepped.
    #[error("parameter {path:?}: {problem}")]
    Parameter {
        /// Its path in the module.
        path: String,
        /// What was found, and what was expected.
        problem: String,
    },

    /// An option that has no meaning over burn's buffers.
    #[error("{option} = {value} is not allowed with burn; expected {allowed}")]
    Option {
        /// The field's name.
        option: &'static str,
        /// What it was set to.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },

    /// Burn's runtime did not do what it was asked to do.
    #[error("burn's runtime failed at {during}: {message}")]
    Burn {
        /// What it was asked for.
        during: &'static str,
        /// What it says.
        message: String,
    },

    /// A record cannot be read, or is not one of this crate's.
    #[error("the record cannot be loaded: {problem}")]
    Record {
        /// What was found, and what was expected.
        problem: String,
    },

    /// The optimizer itself refused.
    #[error(transparent)]
    Optimizer(#[from] wgpu_optim::Error),
}

impl Error {
    pub(crate) fn parameter(path: &str, problem: impl Into<String>) -> Self {
        Self::Parameter {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }

    pub(crate) fn record(problem: impl fmt::Display) -> Self {
        Self::Record {
            problem: problem.to_string(),
        }
    }
}

/// A step that was not done, and the module as it was before it.
pub struct StepError<M> {
    /// With the same values in all parameters.
    pub module: M,
    /// Why.
    pub error: Error,
}

impl<M> fmt::Debug for StepError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepError")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl<M> fmt::Display for StepError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<M> std::error::Error for StepError<M> {}

impl<M> From<StepError<M>> for Error {
    /// Drops the module.
    fn from(error: StepError<M>) -> Self {
        error.error
    }
}
