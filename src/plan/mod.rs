//! Cuts a step into dispatches: pure functions of positions and limits, without a GPU.

mod arena;
mod grads;
mod grid;
mod limits;
mod measuring;
mod pack;
mod ranges;
#[cfg(test)]
mod samples;
mod size;
mod span;
mod tiles;

pub(crate) use arena::arena_windows;
pub(crate) use grads::{GradRange, GradSpan, GradWindow, grad_windows};
pub(crate) use grid::fold;
pub(crate) use limits::BLOCK;
pub use limits::DispatchLimits;
pub(crate) use measuring::{MEASURING_THREADS, measured_length, measuring_threads};
pub(crate) use pack::{Pack, join, length, pack};
pub(crate) use ranges::{
    CopyStart, GradPlace, RangeWindow, TensorRanges, Walk, Width, is_aligned, range_windows,
};
pub(crate) use size::{Size, by_size};
pub(crate) use span::{Span, as_one};
pub(crate) use tiles::{TILE_THREADS, has_tiles};
