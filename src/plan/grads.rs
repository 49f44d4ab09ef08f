//! Windows over gradients alone, for measuring or zeroing them.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::{
    grid::{fold, padded},
    limits::DispatchLimits,
    measuring::{measuring_threads, span},
    pack::{Pack, grouped, join, length, pack},
    ranges::Width,
    size::{Size, by_size},
};
use crate::format::{Encoding, QUAD};

/// Gradients that lie together. Numbers stand for buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GradRange {
    pub buffer: usize,
    /// In bytes, a multiple of 4.
    pub offset: u64,
    pub count: u64,
    /// The run whose norm they count towards.
    pub run: usize,
}

/// A dispatch over gradients in one buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GradWindow {
    pub width: Width,
    pub buffer: usize,
    /// The bytes that are bound.
    pub grads: Range<u64>,
    /// One span per workgroup. Empty ones fill the grid.
    pub spans: Vec<GradSpan>,
    pub grid: [u32; 2],
    /// The group that the whole window belongs to.
    pub group: usize,
}

impl GradWindow {
    /// The spans that are not empty, by how many threads measure each.
    pub fn by_size(&self) -> impl Iterator<Item = (Size, Vec<GradSpan>)> {
        let spans = self.spans.iter().filter(|span| span.count > 0);
        by_size(spans.copied(), |span| Size::of_span(span.count.into()))
    }
}

/// The gradients of one workgroup, as the shaders read them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct GradSpan {
    /// First element, counted from the start of the binding.
    pub grad: u32,
    pub count: u32,
    /// Index of the first partial sum.
    pub partial: u32,
    pub run: u32,
}

/// Part of a [`GradRange`] that one workgroup measures.
struct GradBlock {
    bytes: Range<u64>,
    partial: u64,
    run: usize,
}

/// Cuts the gradients of one group into dispatches. `partials` counts the partial sums so far. A
/// run whose ranges are contiguous has contiguous partial sums. `on_span` is called with the run
/// and the number of partial sums of each span.
pub(crate) fn grad_windows(
    group: usize,
    ranges: &[GradRange],
    encoding: Encoding,
    limits: &DispatchLimits,
    partials: &mut u64,
    mut on_span: impl FnMut(usize, u64),
) -> Vec<GradWindow> {
    let mut blocks = Vec::new();
    // A binding holds at least this much, wherever it begins.
    let most = (limits.binding_bytes - limits.offset_alignment) / encoding.quad_bytes() * QUAD;
    let elements = ranges.iter().map(|range| range.count).sum();
    let most = span(elements).min(most);
    for range in ranges {
        let in_quads = if range.offset.is_multiple_of(encoding.quad_bytes()) {
            range.count / QUAD * QUAD
        } else {
            0
        };
        for (width, elements) in [
            (Width::Quads, 0..in_quads),
            (Width::Scalars, in_quads..range.count),
        ] {
            for first in elements.clone().step_by(most as usize) {
                let count = most.min(elements.end - first);
                let block = GradBlock {
                    bytes: range.offset + encoding.bytes(first)
                        ..range.offset + encoding.bytes(first + count),
                    partial: *partials,
                    run: range.run,
                };
                blocks.push(((range.buffer, width), block));
                let threads = measuring_threads(count);
                *partials += threads;
                on_span(range.run, threads);
            }
        }
    }
    let widest = u64::from(limits.workgroups_per_dimension);
    // The table of spans must fit a binding too.
    let most_spans = (widest * widest).min(limits.binding_bytes / size_of::<GradSpan>() as u64);
    let mut windows = Vec::new();
    for ((buffer, width), mut blocks) in grouped(blocks) {
        blocks.sort_by_key(|block| block.bytes.start);
        let packs = pack(
            blocks,
            |block| limits.binding_of(&block.bytes),
            join,
            |bytes, count| length(bytes) <= limits.binding_bytes && count <= most_spans,
        );
        windows.extend(packs.into_iter().map(|Pack { items, bound }| {
            let grid = fold(items.len() as u64, limits);
            let of_block = |block: &GradBlock| GradSpan {
                grad: encoding.elements(block.bytes.start - bound.start) as u32,
                count: encoding.elements(length(&block.bytes)) as u32,
                partial: block.partial as u32,
                run: block.run as u32,
            };
            GradWindow {
                width,
                buffer,
                spans: padded(items.iter().map(of_block), grid),
                grads: bound,
                grid,
                group,
            }
        }));
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::super::samples::{COUNTS, TINY, WIDE};
    use super::*;
    use crate::format::BINDING_STEP;

    #[test]
    fn every_gradient_is_measured_once_by_a_thread_of_its_runs() {
        let encodings = Encoding::ALL.iter().copied();
        let encodings = encodings.filter(|encoding| !encoding.is_in_blocks());
        for (encoding, limits) in
            encodings.flat_map(|encoding| [(encoding, WIDE), (encoding, TINY)])
        {
            for start in [0, 4, 16, 252, 260] {
                let mut offset = start;
                let mut ranges = Vec::new();
                for (run, count) in COUNTS.into_iter().chain([200_000]).enumerate() {
                    ranges.push(GradRange {
                        buffer: run % 2,
                        offset,
                        count,
                        run: run / 3,
                    });
                    offset += encoding.bytes(count);
                }
                let mut partials = 7;
                let mut of_runs = [0; 5];
                let count = |run: usize, threads| of_runs[run] += threads;
                let windows = grad_windows(0, &ranges, encoding, &limits, &mut partials, count);
                assert_eq!(partials, 7 + of_runs.iter().sum::<u64>());
                let mut expected = Vec::new();
                for range in &ranges {
                    let element = |i| {
                        (
                            range.buffer,
                            range.offset + encoding.bytes(i),
                            range.run as u32,
                        )
                    };
                    expected.extend((0..range.count).map(element));
                }
                let mut found = Vec::new();
                let mut sums = Vec::new();
                for window in &windows {
                    assert_eq!(window.grads.start % limits.offset_alignment, 0);
                    assert_eq!(length(&window.grads) % BINDING_STEP, 0);
                    assert!(length(&window.grads) <= limits.binding_bytes);
                    let [x, y] = window.grid;
                    assert!(x.max(y) <= limits.workgroups_per_dimension);
                    assert_eq!(window.spans.len() as u64, u64::from(x) * u64::from(y));
                    assert!(16 * window.spans.len() as u64 <= limits.binding_bytes);
                    for &GradSpan {
                        grad,
                        count,
                        partial,
                        run,
                    } in &window.spans
                    {
                        if window.width == Width::Quads {
                            assert_eq!((grad % 4, count % 4), (0, 0));
                        }
                        for i in 0..u64::from(count) {
                            let byte = window.grads.start + encoding.bytes(u64::from(grad) + i);
                            assert!(byte < window.grads.end);
                            found.push((window.buffer, byte, run));
                        }
                        sums.extend(
                            (0..measuring_threads(count.into()) as u32)
                                .take(count as usize)
                                .map(|lane| partial + lane),
                        );
                    }
                }
                expected.sort_unstable();
                found.sort_unstable();
                assert!(expected == found, "not every element exactly once");
                sums.sort_unstable();
                assert!(sums.into_iter().map(u64::from).eq(7..partials));
            }
        }
    }
}
