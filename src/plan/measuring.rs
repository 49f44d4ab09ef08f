//! How much a workgroup measures, and by how many threads.

use super::limits::{BLOCK, DispatchLimits};

/// Threads of a workgroup that measures. With 256, lavapipe was slower by several per cent of a step.
pub(super) const MEASURING_THREADS: u64 = 64;

/// Elements that one workgroup measures: 64 loads of four by each of its threads.
pub(super) const SPAN: u64 = 64 * 4 * MEASURING_THREADS;

/// Elements that one workgroup measures in tensors with their parameters and state.
pub(crate) fn measured_length(limits: &DispatchLimits) -> u64 {
    // A window is no less than a quarter of a binding, and holds one of these at any offset.
    match limits.binding_bytes / 4 > 4 * SPAN + 255 {
        true => SPAN,
        false => BLOCK,
    }
}

/// Threads that measure `count` elements in one workgroup.
pub(crate) fn measuring_threads(count: u64) -> u64 {
    count.div_ceil(4).min(MEASURING_THREADS)
}
