//! Cuts a step into dispatches: pure functions of positions and limits, without a GPU.

mod arena;
mod grads;
mod limits;
mod pack;
mod ranges;
#[cfg(test)]
mod samples;

pub(crate) use arena::arena_windows;
pub(crate) use grads::{GradPiece, GradWindow, grad_windows};
pub use limits::DispatchLimits;
pub(crate) use limits::{BLOCK, Width, fold, join, length, measured_length, measuring_threads};
pub(crate) use pack::{Pack, pack};
pub(crate) use ranges::{GradPlace, Piece, RangeWindow, range_windows};
