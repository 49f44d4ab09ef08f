//! The crate's only error type.
// The messages explain the fields.
#![allow(missing_docs)]

use crate::{Format, Rule};

/// What can go wrong. Every message says what was found and what was expected.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No adapter fits the request.
    #[error("no GPU adapter {wanted}; found: {found}. {advice}")]
    NoAdapter {
        wanted: String,
        found: String,
        /// What to do about it, on this platform.
        advice: &'static str,
    },

    /// wgpu was built without a backend.
    #[error(
        "wgpu has no backend; turn one on in your Cargo.toml, such as \
         wgpu = {{ version = \"30\", features = [\"vulkan\", \"metal\", \"dx12\"] }}"
    )]
    NoBackend,

    /// The environment variable `WGPU_BACKEND` names a backend that there is not.
    #[error("WGPU_BACKEND names {name:?}; expected some of: {known}")]
    UnknownBackend { name: String, known: String },

    /// The adapter refused to open a device.
    #[error("adapter {adapter:?} did not open a device: {message}")]
    DeviceRequest { adapter: String, message: String },

    /// The registry has no rule of that name.
    #[error("unknown rule {name:?}; expected one of: {known}")]
    UnknownRule { name: String, known: String },

    /// The rule has no hyperparameter of that name.
    #[error("rule {rule} has no hyperparameter {name:?}; expected one of: {known}")]
    UnknownHyperparameter {
        rule: String,
        name: String,
        known: String,
    },

    /// A format cannot be had for what it was chosen for.
    #[error("{what} cannot be in {format}; expected one of: {allowed}")]
    Format {
        what: String,
        format: Format,
        allowed: String,
    },

    /// State that is kept in fewer bits than it is read in cannot be borrowed for writing.
    #[error("the state {slot:?} is kept in {encoding}; replace it by write_state")]
    Coded { slot: String, encoding: String },

    /// A tensor has no copy in 16 bits.
    #[error("{tensor:?} has no copy; choose Formats::copy for its group")]
    NoCopy { tensor: String },

    /// There is no format of that name.
    #[error("unknown format {name:?}; expected one of: {known}")]
    UnknownFormat { name: String, known: String },

    /// A hyperparameter is out of range, or conflicts with another one.
    #[error("{rule}: {name} = {value} is not allowed; expected {allowed}")]
    Hyperparameter {
        rule: String,
        name: String,
        value: String,
        allowed: String,
    },

    /// The declaration of a user's rule contradicts itself.
    #[error("rule {rule} contradicts itself: {problem}")]
    Rule { rule: String, problem: String },

    /// Two tensors of one layout have the same name.
    #[error("the layout already has a tensor named {name:?}; names must be unique")]
    DuplicateName { name: String },

    /// A tensor's shape has no elements, has too many, or is one that the rule does not take.
    #[error("tensor {name:?} of shape {shape:?}: {reason}")]
    Shape {
        name: String,
        shape: Vec<usize>,
        reason: &'static str,
    },

    /// A `Group` or `Tensor` handle belongs to another layout.
    #[error(
        "{handle} is not one of this layout's {count}; handles go with the layout that gave them"
    )]
    UnknownHandle { handle: String, count: usize },

    /// The tensor's rule has no state with that name, or its flags leave that state unused.
    #[error("rule {rule} keeps no state {slot:?} here; it keeps: {known}")]
    UnknownState {
        rule: String,
        slot: String,
        known: String,
    },

    /// The layout has no tensors, so there is nothing to optimize.
    #[error("the layout has no tensors; register at least one")]
    EmptyLayout,

    /// A buffer, a binding or a shader would exceed a limit of the device.
    #[error(
        "{what} needs {needed}, over the device's {limit} of {allowed}; \
         see required_limits() for what to ask the adapter for"
    )]
    Limit {
        what: String,
        needed: u64,
        limit: &'static str,
        allowed: u64,
    },

    /// A list or slice has the wrong length.
    #[error("{what}: expected {expected}, got {actual}")]
    Length {
        what: String,
        expected: usize,
        actual: usize,
    },

    /// A caller's buffer range cannot be used.
    #[error("{what}: {problem}")]
    BufferRange { what: String, problem: String },

    /// A step count is too large for exact arithmetic.
    #[error("step count {count} is too large; at most {most}")]
    StepCount { count: u64, most: u64 },

    /// A learning-rate schedule cannot be followed.
    #[error("the schedule cannot be followed: {problem}")]
    Schedule { problem: String },

    /// `step`, or what replaces a part of the parameters, state and counts, was called after `evaluate`.
    #[error("the parameters are those to evaluate with; expected a call of train() before this")]
    Evaluating,

    /// `step` was called although gradients are passed at each step.
    #[error("this optimizer was made without gradient buffers; pass them with step_with")]
    NoGradients,

    /// `step_with` was called in a browser before its shaders were compiled.
    #[error("these gradients are new; await prepare() with them before step_with()")]
    NotPrepared,

    /// A rule's WGSL did not compile. The location is in the rule's own text. There is none if the
    /// fault shows only in the code around that text, such as a missing `State`.
    #[error("the shader of rule {rule} does not compile, {place}: {message}")]
    Shader {
        rule: String,
        place: String,
        location: Option<ShaderLocation>,
        message: String,
    },

    /// The device has no memory left for this. For the CPU twin, the machine has none.
    #[error("out of memory for {what}")]
    OutOfMemory { what: String },

    /// The device is gone: unplugged, reset or destroyed. Open a new one.
    #[error("the device was lost while {during}")]
    DeviceLost { during: String },

    /// The device did not answer in time.
    #[error("the device did not finish {during} within {seconds} s")]
    Timeout { during: String, seconds: u64 },

    /// A queue or a buffer is of another device than what it is used with.
    #[error("{what} is of another device; queues and buffers go with the device that made them")]
    OtherDevice { what: String },

    /// A file cannot be opened, created or replaced. What was there before is still there.
    #[error("file {}: {message}", path.display())]
    File {
        path: std::path::PathBuf,
        message: String,
    },

    /// A checkpoint is damaged, or does not belong to this optimizer. The optimizer is as it was.
    #[error("checkpoint: {what}: {problem}")]
    Checkpoint { what: String, problem: String },

    /// wgpu refused something that this crate did not foresee.
    #[error("wgpu refused {what}: {message}")]
    Wgpu { what: String, message: String },
}

/// A place in the WGSL text of a rule. Line and column count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShaderLocation {
    pub line: usize,
    /// In characters.
    pub column: usize,
}

impl Error {
    pub(crate) fn unknown_state(
        rule: &dyn Rule,
        slot: &str,
        known: impl Iterator<Item = &'static str>,
    ) -> Self {
        let known: Vec<_> = known.collect();
        Self::UnknownState {
            rule: rule.name().to_owned(),
            slot: slot.to_owned(),
            known: match known.is_empty() {
                true => "nothing".to_owned(),
                false => known.join(", "),
            },
        }
    }

    pub(crate) fn range(what: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::BufferRange {
            what: what.into(),
            problem: problem.into(),
        }
    }
}

/// Refuses another number of `what`.
pub(crate) fn check_length(what: &str, expected: usize, actual: usize) -> Result<(), Error> {
    match actual == expected {
        true => Ok(()),
        false => Err(Error::Length {
            what: what.to_owned(),
            expected,
            actual,
        }),
    }
}
