//! The fused optimizer steps of [wgpu_optim] as an optimizer of burn modules.
//!
//! [`FusedOptimizer`] has the calls of burn's `ModuleOptimizer`, for every rule of [`rules`]. It
//! records its steps on burn's own device and queue, over the buffers in which burn keeps parameters
//! and gradients. Nothing is copied or read back in a step.
//!
//! Open burn's device with [`init`], before the first tensor: burn gives its queue to nobody later.
//!
//! Use this crate's feature `fusion` as you use burn's, which both have on by default.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod bridge;
mod context;
mod device;
mod error;
mod evaluation;
mod groups;
mod optimizer;
mod record;
mod report;
mod roster;
mod state;
mod storage;
mod thread;
mod walk;

pub use device::{handles, init, init_with, share};
pub use error::{Error, StepError};
pub use optimizer::FusedOptimizer;
pub use report::{Copied, Counts, Operand, Reason};
pub use wgpu_optim::{
    self, Average, Clip, Format, Formats, LossScale, Options, Rule, presets, rules, schedule,
};
