//! How many elements a workgroup measures, and with how many threads.

use super::limits::{BLOCK, DispatchLimits, LEAST_BLOCKS};
use crate::format::{BINDING_ALIGNMENT, QUAD, Storage};

/// Threads of a workgroup that measures. The shaders get the number from here.
pub(crate) const MEASURING_THREADS: u64 = 256;

/// Most and fewest loads of four elements that each of them makes in a whole span.
const MOST_LOADS: u64 = 64;
const FEWEST_LOADS: u64 = 8;

/// Spans that a group is cut into, if it has the elements for that.
const SPANS: u64 = 64;

/// Most elements that one thread measures alone, where a workgroup would have little to do.
pub(super) const MOST_ALONE: u64 = 256;

/// Elements that one workgroup measures, in a group of this many. Long spans leave few partial sums,
/// which a single workgroup adds up; short ones occupy more workgroups.
pub(super) fn span(elements: u64) -> u64 {
    let of_one_load = QUAD * MEASURING_THREADS;
    let loads = elements.div_ceil(SPANS * of_one_load).next_power_of_two();
    loads.clamp(FEWEST_LOADS, MOST_LOADS) * of_one_load
}

/// Elements that one workgroup measures, if it also reads parameters and state.
pub(crate) fn measured_length(elements: u64, storage: &Storage, limits: &DispatchLimits) -> u64 {
    // A window can hold one such span at any offset.
    let least = limits.binding_bytes / LEAST_BLOCKS;
    let span = span(elements);
    match least >= storage.most_bytes(span) + BINDING_ALIGNMENT {
        true => span,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_group_has_long_spans_and_a_small_one_has_many() {
        assert_eq!(span(1), 8 * 1024);
        assert_eq!(span(1 << 19), 8 * 1024);
        assert_eq!(span(1 << 20), 16 * 1024);
        assert_eq!(span((1 << 20) + 1), 32 * 1024);
        assert_eq!(span(1 << 22), 64 * 1024);
        assert_eq!(span(1 << 40), 64 * 1024);
    }
}
