//! How much a workgroup measures, and by how many threads.

use super::limits::{BLOCK, DispatchLimits, LEAST_BLOCKS};
use crate::format::{BINDING_ALIGNMENT, Formats, QUAD};

/// Threads of a workgroup that measures. With 256, lavapipe was slower by several per cent of a step.
pub(super) const MEASURING_THREADS: u64 = 64;

/// Elements that one workgroup measures: 64 loads of four by each of its threads.
pub(super) const SPAN: u64 = 64 * QUAD * MEASURING_THREADS;

/// Elements that one workgroup measures in tensors with their parameters and state.
pub(crate) fn measured_length(formats: &Formats, limits: &DispatchLimits) -> u64 {
    // A window holds one of these at any offset.
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
