//! Windows over this crate's own arenas.

use std::ops::Range;

use super::limits::{BLOCK, DispatchLimits};
use crate::format::Storage;

/// A dispatch over neighbouring elements of an arena.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ArenaWindow {
    /// The elements, in whole blocks.
    pub elements: Range<u64>,
    /// Workgroups along x and y. Their product is the window's number of blocks.
    pub grid: [u32; 2],
}

/// Cuts `elements` (whole blocks) into windows. Each fits a binding, and its workgroups fill their
/// grid, so the shader needs no bounds check.
pub(crate) fn arena_windows(
    elements: Range<u64>,
    storage: &Storage,
    limits: &DispatchLimits,
) -> Vec<ArenaWindow> {
    let widest = u64::from(limits.workgroups_per_dimension);
    let most = (limits.binding_bytes / storage.most_bytes(BLOCK)).min(widest * widest);
    let mut windows = Vec::new();
    let mut start = elements.start;
    while start < elements.end {
        let blocks = ((elements.end - start) / BLOCK).min(most);
        // A window has full rows of the grid. What does not fill a row becomes the next window.
        let x = blocks.min(widest);
        let y = blocks / x;
        let end = start + x * y * BLOCK;
        windows.push(ArenaWindow {
            elements: start..end,
            grid: [x as u32, y as u32],
        });
        start = end;
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::super::{
        pack::length,
        samples::{TINY, WIDE},
    };
    use super::*;

    #[test]
    fn an_arena_within_the_limits_is_one_dispatch() {
        let windows = arena_windows(2048..2048 + 32_768 * BLOCK, &Storage::default(), &WIDE);
        assert_eq!(windows.len(), 1);
        assert_eq!(windows[0].grid, [32_768, 1]);
    }

    #[test]
    fn arena_windows_cover_every_block_once_and_fit_their_limits() {
        for widest in [1, 2, 3, 7, 65_535] {
            for blocks in 0..40 {
                let limits = DispatchLimits {
                    workgroups_per_dimension: widest,
                    ..TINY
                };
                let mut next = 5 * BLOCK;
                let end = next + blocks * BLOCK;
                for window in arena_windows(next..end, &Storage::default(), &limits) {
                    assert_eq!(window.elements.start, next);
                    let [x, y] = window.grid;
                    assert!(x <= widest && y <= widest);
                    let elements = length(&window.elements);
                    assert_eq!(u64::from(x) * u64::from(y) * BLOCK, elements);
                    assert!(4 * elements <= limits.binding_bytes);
                    next = window.elements.end;
                }
                assert_eq!(next, end);
            }
        }
    }
}
