//! How many elements a workgroup measures, and with how many threads.

use super::limits::{BLOCK, DispatchLimits, LEAST_BLOCKS};
use crate::format::{BINDING_ALIGNMENT, Formats, QUAD};

/// Threads of a workgroup that measures. With 256, a step on lavapipe was several per cent slower.
pub(super) const MEASURING_THREADS: u64 = 64;

/// Elements that one workgroup measures. Each of its threads makes 64 loads of four elements.
pub(super) const SPAN: u64 = 64 * QUAD * MEASURING_THREADS;

/// Elements that one workgroup measures, if it also reads parameters and state.
pub(crate) fn measured_length(formats: &Formats, limits: &DispatchLimits) -> u64 {
    // A window can hold one such span at any offset.
    let least = limits.binding_bytes / LEAST_BLOCKS;
    match least >= formats.most_bytes(SPAN) + BINDING_ALIGNMENT {
        true => SPAN,
        false => BLOCK,
    }
}

/// Threads that measure `count` elements in one workgroup.
pub(crate) fn measuring_threads(count: u64) -> u64 {
    count.div_ceil(QUAD).min(MEASURING_THREADS)
}
