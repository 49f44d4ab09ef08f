//! How many elements a workgroup measures, and with how many threads.

use super::limits::{BLOCK, DispatchLimits, LEAST_BLOCKS};
use crate::format::{BINDING_ALIGNMENT, QUAD, Storage};

/// Threads of a workgroup that measures. The shaders get the number from here.
pub(crate) const MEASURING_THREADS: u64 = 256;

/// Loads of four elements that each of them makes in a whole span.
const LOADS: u64 = 32;

/// Most elements that one thread measures alone, where a workgroup would have little to do.
pub(super) const MOST_ALONE: u64 = 256;

/// Elements that one workgroup measures.
pub(super) const SPAN: u64 = LOADS * QUAD * MEASURING_THREADS;

/// Elements that one workgroup measures, if it also reads parameters and state.
pub(crate) fn measured_length(storage: &Storage, limits: &DispatchLimits) -> u64 {
    // A window can hold one such span at any offset.
    let least = limits.binding_bytes / LEAST_BLOCKS;
    match least >= storage.most_bytes(SPAN) + BINDING_ALIGNMENT {
        true => SPAN,
        false => BLOCK,
    }
}

/// Threads that measure a span of `count` elements. Each of them has a partial sum.
pub(crate) fn measuring_threads(count: u64) -> u64 {
    match count <= MOST_ALONE {
        true => 1,
        false => count.div_ceil(QUAD).min(MEASURING_THREADS),
    }
}
