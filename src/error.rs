//! The one error type of the crate.
// The messages say what the fields are.
#![allow(missing_docs)]

use crate::Rule;

/// What can go wrong; every message says what was found and what was expected.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No adapter fits what was asked for.
    #[error(
        "no GPU adapter {wanted}; found: {found}. A software Vulkan driver will do \
         (Debian, Ubuntu: apt-get install mesa-vulkan-drivers)"
    )]
    NoAdapter { wanted: String, found: String },

    /// wgpu was built without a backend.
    #[error(
        "wgpu has no backend; turn one on in your Cargo.toml, such as \
         wgpu = {{ version = \"30\", features = [\"vulkan\", \"metal\", \"dx12\"] }}"
    )]
    NoBackend,

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

    /// A hyperparameter is outside its range, or does not go with another one.
    #[error("{rule}: {name} = {value} is not allowed; expected {allowed}")]
    Hyperparameter {
        rule: String,
        name: String,
        value: String,
        allowed: String,
    },

    /// A user's rule whose stages and slots do not fit together.
    #[error("rule {rule} has {problem}")]
    Rule { rule: String, problem: String },

    /// Two tensors of one layout bear the same name.
    #[error("the layout already has a tensor named {name:?}; names must be unique")]
    DuplicateName { name: String },

    /// A tensor's shape holds no element, or more than can be counted.
    #[error("tensor {name:?} of shape {shape:?}: {reason}")]
    Shape {
        name: String,
        shape: Vec<usize>,
        reason: &'static str,
    },

    /// A `Group` or `Tensor` handle that this layout did not hand out.
    #[error(
        "{handle} is not one of this layout's {count}; handles go with the layout that gave them"
    )]
    UnknownHandle { handle: String, count: usize },

    /// The tensor's rule keeps no state of that name, or its flags leave it unused.
    #[error("rule {rule} keeps no state {slot:?} here; it keeps: {known}")]
    UnknownState {
        rule: String,
        slot: String,
        known: String,
    },

    /// There is nothing to optimize.
    #[error("the layout has no tensors; register at least one")]
    EmptyLayout,

    /// A buffer or binding would exceed a limit of the device.
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

    /// A list or slice of the wrong length.
    #[error("{what}: expected {expected}, got {actual}")]
    Length {
        what: String,
        expected: usize,
        actual: usize,
    },

    /// A caller's buffer range that cannot be used.
    #[error("{what}: {problem}")]
    BufferRange { what: String, problem: String },

    /// A step count that arithmetic on it would not survive.
    #[error("step count {count} is too large; at most {most}")]
    StepCount { count: u64, most: u64 },

    /// A learning-rate schedule that cannot be followed.
    #[error("the schedule has {problem}")]
    Schedule { problem: String },

    /// `step` was called after `evaluate`.
    #[error("the parameters are those to evaluate with; call train() before the next step")]
    Evaluating,

    /// `step` was called although the gradients are given per step.
    #[error("this optimizer was made without gradient buffers; pass them with step_with")]
    NoGradients,

    /// `step_with` in a browser, which compiles in its own time.
    #[error("these gradients are new; await prepare() with them before step_with()")]
    NotPrepared,

    /// A rule's WGSL did not compile. The location is one in the rule's own text; there is none
    /// where what is wrong shows only in the code around it, as a missing `State` would.
    #[error("the shader of rule {rule} does not compile, {place}: {message}")]
    Shader {
        rule: String,
        place: String,
        location: Option<ShaderLocation>,
        message: String,
    },

    /// The device, or the machine for the CPU twin, has no memory left for this.
    #[error("out of memory for {what}")]
    OutOfMemory { what: String },

    /// The device is gone (unplugged, reset, destroyed); open a new one.
    #[error("the device was lost while {during}")]
    DeviceLost { during: String },

    /// The device did not answer in time.
    #[error("the device did not finish {during} within {seconds} s")]
    Timeout { during: String, seconds: u64 },

    /// wgpu refused something that this crate did not foresee, such as a buffer of another device.
    #[error("wgpu refused {what}: {message}")]
    Wgpu { what: String, message: String },
}

/// A place in the WGSL text of a rule. Both count from 1.
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
