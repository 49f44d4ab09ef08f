//! Windows over gradients alone, to measure or to zero them.

use std::ops::Range;

use super::{
    grid::{fold, padded},
    limits::DispatchLimits,
    measuring::{SPAN, measuring_threads},
    pack::{Pack, grouped, join, length, pack},
    ranges::Width,
};

/// Gradients that lie together. Buffers are known by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GradPiece {
    pub buffer: usize,
    /// In bytes, a multiple of 4.
    pub offset: u64,
    pub count: u64,
    /// Whose norm they count towards.
    pub run: usize,
}

/// A dispatch over gradients in one buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GradWindow {
    pub width: Width,
    pub buffer: usize,
    /// Bytes that are bound.
    pub grads: Range<u64>,
    /// For each workgroup: first element in the binding, number of elements, first partial sum, run.
    pub spans: Vec<[u32; 4]>,
    pub grid: [u32; 2],
    /// The group that all of it belongs to.
    pub group: usize,
}

/// Cuts the gradients of one group into dispatches. `partials` is the number of partial sums so far;
/// each run's are contiguous if its pieces are, and `on_span` hears of each span's run and number.
pub(crate) fn grad_windows(
    group: usize,
    pieces: &[GradPiece],
    limits: &DispatchLimits,
    partials: &mut u64,
    mut on_span: impl FnMut(usize, u64),
) -> Vec<GradWindow> {
    struct Span {
        bytes: Range<u64>,
        partial: u64,
        run: usize,
    }
    let mut spans = Vec::new();
    // What a binding holds wherever it begins.
    let most = (limits.binding_bytes - limits.offset_alignment) / 16 * 4;
    let most = SPAN.min(most);
    for piece in pieces {
        let in_quads = if piece.offset.is_multiple_of(16) {
            piece.count / 4 * 4
        } else {
            0
        };
        for (width, elements) in [
            (Width::Quads, 0..in_quads),
            (Width::Scalars, in_quads..piece.count),
        ] {
            for first in elements.clone().step_by(most as usize) {
                let count = most.min(elements.end - first);
                let span = Span {
                    bytes: piece.offset + 4 * first..piece.offset + 4 * (first + count),
                    partial: *partials,
                    run: piece.run,
                };
                spans.push(((piece.buffer, width), span));
                let threads = measuring_threads(count);
                *partials += threads;
                on_span(piece.run, threads);
            }
        }
    }
    let widest = u64::from(limits.workgroups_per_dimension);
    // The span table is bound too.
    let most_spans = (widest * widest).min(limits.binding_bytes / 16);
    let mut windows = Vec::new();
    for ((buffer, width), mut spans) in grouped(spans) {
        spans.sort_by_key(|span| span.bytes.start);
        let packs = pack(
            spans,
            |span| limits.align_down(span.bytes.start)..span.bytes.end,
            join,
            |bytes, count| length(bytes) <= limits.binding_bytes && count <= most_spans,
        );
        windows.extend(packs.into_iter().map(|Pack { items, bound }| {
            let grid = fold(items.len() as u64, limits);
            let row = |span: &Span| {
                [
                    ((span.bytes.start - bound.start) / 4) as u32,
                    (length(&span.bytes) / 4) as u32,
                    span.partial as u32,
                    span.run as u32,
                ]
            };
            GradWindow {
                width,
                buffer,
                spans: padded(items.iter().map(row), grid),
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
    use super::super::{
        measuring::MEASURING_THREADS,
        samples::{COUNTS, TINY, WIDE},
    };
    use super::*;

    #[test]
    fn every_gradient_is_measured_once_by_a_thread_of_its_runs() {
        for limits in [WIDE, TINY] {
            for start in [0, 4, 16, 252, 260] {
                let mut offset = start;
                let mut pieces = Vec::new();
                for (run, count) in COUNTS.into_iter().chain([200_000]).enumerate() {
                    pieces.push(GradPiece {
                        buffer: run % 2,
                        offset,
                        count,
                        run: run / 3,
                    });
                    offset += 4 * count;
                }
                let mut partials = 7;
                let mut of_runs = [0; 5];
                let count = |run: usize, threads| of_runs[run] += threads;
                let windows = grad_windows(0, &pieces, &limits, &mut partials, count);
                assert_eq!(partials, 7 + of_runs.iter().sum::<u64>());
                let mut expected = Vec::new();
                for piece in &pieces {
                    let element = |i| (piece.buffer, piece.offset + 4 * i, piece.run as u32);
                    expected.extend((0..piece.count).map(element));
                }
                let mut found = Vec::new();
                let mut sums = Vec::new();
                for window in &windows {
                    assert_eq!(window.grads.start % limits.offset_alignment, 0);
                    assert!(length(&window.grads) <= limits.binding_bytes);
                    let [x, y] = window.grid;
                    assert!(x.max(y) <= limits.workgroups_per_dimension);
                    assert_eq!(window.spans.len() as u64, u64::from(x) * u64::from(y));
                    assert!(16 * window.spans.len() as u64 <= limits.binding_bytes);
                    for &[first, count, partial, run] in &window.spans {
                        if window.width == Width::Quads {
                            assert_eq!((first % 4, count % 4), (0, 0));
                        }
                        for i in 0..u64::from(count) {
                            let byte = window.grads.start + 4 * (u64::from(first) + i);
                            assert!(byte < window.grads.end);
                            found.push((window.buffer, byte, run));
                        }
                        sums.extend(
                            (0..count.div_ceil(4).min(MEASURING_THREADS as u32))
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
