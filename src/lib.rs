//! Optimizer rules for training, each with its update on the CPU.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod cpu;
mod error;
pub mod hyperparameter;
mod layout;
mod rule;
pub mod rules;
pub mod schedule;

pub use error::Error;
pub use layout::{GROUP_ALIGNMENT, Group, Layout, TENSOR_ALIGNMENT, Tensor};
pub use rule::{Extent, Rule, Slot};
