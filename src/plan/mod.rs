//! Cuts a step into dispatches: pure functions of positions and limits, without a GPU.

use std::{collections::HashMap, ops::Range};

use crate::Error;

/// Elements that one workgroup updates.
pub(crate) const BLOCK: u64 = 1024;

/// Bytes of a block of f32.
const BLOCK_BYTES: u64 = 4 * BLOCK;

/// What bounds a dispatch. [`Options::limits`](crate::Options::limits) can set them below the
/// device's own, as tests do to have many seams in small buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DispatchLimits {
    /// Most bytes of one storage binding; at least 16 KiB.
    pub binding_bytes: u64,
    /// Bytes that a binding's offset must be a multiple of: a power of two, at most 256.
    pub offset_alignment: u64,
    /// Most workgroups along one dimension of a dispatch; at least 1.
    pub workgroups_per_dimension: u32,
}

impl DispatchLimits {
    /// The limits of a device.
    pub fn of(limits: &wgpu::Limits) -> Self {
        Self {
            binding_bytes: limits.max_storage_buffer_binding_size,
            offset_alignment: u64::from(limits.min_storage_buffer_offset_alignment),
            workgroups_per_dimension: limits.max_compute_workgroups_per_dimension,
        }
    }

    /// Refuses limits that no device has, or that exceed `device`.
    pub(crate) fn check(&self, device: &Self) -> Result<(), Error> {
        let refuse = |what: &str, needed: u64, limit, allowed: u64| {
            Err(Error::Limit {
                what: format!("Options::limits.{what}"),
                needed,
                limit,
                allowed,
            })
        };
        let size = "max_storage_buffer_binding_size";
        if self.binding_bytes > device.binding_bytes {
            return refuse(
                "binding_bytes",
                self.binding_bytes,
                size,
                device.binding_bytes,
            );
        }
        if self.binding_bytes < 4 * BLOCK_BYTES {
            return Err(Error::Limit {
                what: "one dispatch".to_owned(),
                needed: 4 * BLOCK_BYTES,
                limit: size,
                allowed: self.binding_bytes,
            });
        }
        let alignment = "min_storage_buffer_offset_alignment";
        let possible = self.offset_alignment.is_power_of_two()
            && (device.offset_alignment..=256).contains(&self.offset_alignment);
        if !possible {
            return refuse(
                "offset_alignment (a power of two up to 256)",
                self.offset_alignment,
                alignment,
                device.offset_alignment,
            );
        }
        let most = device.workgroups_per_dimension;
        if !(1..=most).contains(&self.workgroups_per_dimension) {
            let needed = u64::from(self.workgroups_per_dimension);
            let limit = "max_compute_workgroups_per_dimension";
            return refuse("workgroups_per_dimension", needed, limit, u64::from(most));
        }
        Ok(())
    }

    fn align_down(&self, byte: u64) -> u64 {
        byte - byte % self.offset_alignment
    }
}

/// A dispatch over neighbouring elements of an arena.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ArenaWindow {
    /// Elements, in whole blocks.
    pub elements: Range<u64>,
    /// Workgroups along x and y; their product is the window's number of blocks.
    pub grid: [u32; 2],
}

/// Cuts `elements` (whole blocks) into windows that fit a binding and whose workgroups fill their
/// grid, so that the shader needs no bounds check.
pub(crate) fn arena_windows(elements: Range<u64>, limits: &DispatchLimits) -> Vec<ArenaWindow> {
    let widest = u64::from(limits.workgroups_per_dimension);
    let most = (limits.binding_bytes / BLOCK_BYTES).min(widest * widest);
    let mut windows = Vec::new();
    let mut start = elements.start;
    while start < elements.end {
        let blocks = ((elements.end - start) / BLOCK).min(most);
        // Full rows of the grid; what does not fill a row is the next window.
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

/// One tensor in a caller's buffers. Buffers are known by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub param_buffer: usize,
    /// In bytes, a multiple of 4; so is `grad_offset`.
    pub param_offset: u64,
    pub grad_buffer: usize,
    pub grad_offset: u64,
    /// First element in the group's state, a multiple of 64.
    pub state: u64,
    /// Number of elements.
    pub count: u64,
}

/// How many elements a shader moves at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Width {
    Quads,
    Scalars,
}

/// Where a dispatch finds its gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum GradPlace {
    /// In a buffer of their own.
    OwnBuffer,
    /// In the parameters' buffer, but outside their binding.
    SameBuffer,
    /// Within the parameters' binding.
    InParams,
}

/// A dispatch over ranges of one pair of buffers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RangeWindow {
    pub width: Width,
    pub param_buffer: usize,
    pub grad_buffer: usize,
    /// Bytes of the parameters' buffer that are bound.
    pub params: Range<u64>,
    pub grad_place: GradPlace,
    /// Bytes of the gradients' buffer that are bound: those of `params` if they lie within.
    pub grads: Range<u64>,
    /// Bytes of the group's state that are bound.
    pub state: Range<u64>,
    /// For each workgroup the first element within the bindings of params, grads and state, and
    /// the number of elements; 0 to fill the grid.
    pub spans: Vec<[u32; 4]>,
    /// For each of the spans that have elements, the position of its piece.
    pub pieces: Vec<usize>,
    /// Workgroups along x and y; their product is the number of spans.
    pub grid: [u32; 2],
}

/// Part of a [`Piece`] that one workgroup updates.
#[derive(Debug, Clone, Copy)]
struct RangeBlock {
    param: u64,
    grad: u64,
    state: u64,
    count: u64,
    /// Which piece it is part of.
    piece: usize,
}

impl RangeBlock {
    fn params(&self) -> Range<u64> {
        self.param..self.param + 4 * self.count
    }
    fn grads(&self) -> Range<u64> {
        self.grad..self.grad + 4 * self.count
    }
    /// State is moved by quads always: it is ours and padded.
    fn states(&self) -> Range<u64> {
        4 * self.state..4 * (self.state + self.count.next_multiple_of(4))
    }
}

/// Cuts one group's tensors into as few dispatches as the limits allow, of workgroups with up to
/// `length` elements: a [`BLOCK`], or what [`measured_length`] says.
pub(crate) fn range_windows(
    pieces: &[Piece],
    length: u64,
    limits: &DispatchLimits,
) -> Vec<RangeWindow> {
    // What can share a dispatch: one way of access to one pair of buffers, in order of appearance.
    let mut order = Vec::new();
    let mut blocks: HashMap<_, Vec<RangeBlock>> = HashMap::new();
    for (index, piece) in pieces.iter().enumerate() {
        for (width, part) in parts(piece) {
            let same_buffer = piece.param_buffer == piece.grad_buffer;
            for block in cut(part, index, length) {
                let together = same_buffer && fits_together(&block, limits);
                let key = (width, piece.param_buffer, piece.grad_buffer, together);
                blocks
                    .entry(key)
                    .or_insert_with(|| {
                        order.push(key);
                        Vec::new()
                    })
                    .push(block);
            }
        }
    }
    let mut windows = Vec::new();
    for key in order {
        let (width, param_buffer, grad_buffer, together) = key;
        let place = match (param_buffer == grad_buffer, together) {
            (false, _) => GradPlace::OwnBuffer,
            (true, false) => GradPlace::SameBuffer,
            (true, true) => GradPlace::InParams,
        };
        // In address order, neighbours share a window as long as they can.
        let mut blocks = blocks.remove(&key).unwrap_or_default();
        blocks.sort_by_key(|block| block.param);
        let mut rest = blocks.as_slice();
        while let [first, ..] = rest {
            let mut extent = Extent::of(first, place, limits);
            let mut count = 1;
            while let Some(next) = rest.get(count) {
                let grown = extent.join(&Extent::of(next, place, limits));
                if !grown.fits(count as u64 + 1, place, limits) {
                    break;
                }
                extent = grown;
                count += 1;
            }
            let (inside, outside) = rest.split_at(count);
            let grid = fold(count as u64, limits);
            rest = outside;
            windows.push(RangeWindow {
                width,
                param_buffer,
                grad_buffer,
                grad_place: place,
                spans: padded(inside.iter().map(|block| extent.span(block)), grid),
                pieces: inside.iter().map(|block| block.piece).collect(),
                grid,
                params: extent.params,
                grads: extent.grads,
                state: extent.state,
            });
        }
    }
    windows
}

/// The smallest grid of at least `blocks` workgroups.
pub(crate) fn fold(blocks: u64, limits: &DispatchLimits) -> [u32; 2] {
    let y = blocks.div_ceil(u64::from(limits.workgroups_per_dimension));
    [blocks.div_ceil(y) as u32, y as u32]
}

/// One span per workgroup; those beyond the last block have nothing to do.
fn padded(spans: impl Iterator<Item = [u32; 4]>, [x, y]: [u32; 2]) -> Vec<[u32; 4]> {
    let count = x as usize * y as usize;
    spans.chain(std::iter::repeat([0; 4])).take(count).collect()
}

/// The part of a tensor that quads fit, and the rest.
fn parts(piece: &Piece) -> impl Iterator<Item = (Width, Piece)> {
    let aligned = piece.param_offset.is_multiple_of(16) && piece.grad_offset.is_multiple_of(16);
    let in_quads = if aligned { piece.count / 4 * 4 } else { 0 };
    let body = Piece {
        count: in_quads,
        ..*piece
    };
    let rest = Piece {
        param_offset: piece.param_offset + 4 * in_quads,
        grad_offset: piece.grad_offset + 4 * in_quads,
        state: piece.state + in_quads,
        count: piece.count - in_quads,
        ..*piece
    };
    [(Width::Quads, body), (Width::Scalars, rest)]
        .into_iter()
        .filter(|(_, part)| part.count > 0)
}

fn cut(part: Piece, piece: usize, length: u64) -> impl Iterator<Item = RangeBlock> {
    (0..part.count)
        .step_by(length as usize)
        .map(move |first| RangeBlock {
            param: part.param_offset + 4 * first,
            grad: part.grad_offset + 4 * first,
            state: part.state + first,
            count: length.min(part.count - first),
            piece,
        })
}

/// Whether one binding can hold a block's parameters and gradients, both in one buffer.
fn fits_together(block: &RangeBlock, limits: &DispatchLimits) -> bool {
    let both = join(&block.params(), &block.grads());
    both.end - limits.align_down(both.start) <= limits.binding_bytes
}

fn join(a: &Range<u64>, b: &Range<u64>) -> Range<u64> {
    a.start.min(b.start)..a.end.max(b.end)
}

/// The bytes that a window binds; both ends as the bindings need them.
#[derive(Debug, Clone)]
struct Extent {
    params: Range<u64>,
    /// The same as `params` where gradients lie within them.
    grads: Range<u64>,
    state: Range<u64>,
}

impl Extent {
    fn of(block: &RangeBlock, place: GradPlace, limits: &DispatchLimits) -> Self {
        let aligned = |range: Range<u64>| limits.align_down(range.start)..range.end;
        // To the start of a tensor's unit of 64 elements, by which factors of tensors are counted.
        let states = block.states();
        let state = states.start / 256 * 256..states.end;
        if place == GradPlace::InParams {
            let both = aligned(join(&block.params(), &block.grads()));
            return Self {
                params: both.clone(),
                grads: both,
                state,
            };
        }
        Self {
            params: aligned(block.params()),
            grads: aligned(block.grads()),
            state,
        }
    }

    fn join(&self, other: &Self) -> Self {
        Self {
            params: join(&self.params, &other.params),
            grads: join(&self.grads, &other.grads),
            state: join(&self.state, &other.state),
        }
    }

    fn fits(&self, blocks: u64, place: GradPlace, limits: &DispatchLimits) -> bool {
        let most = limits.binding_bytes;
        // Two bindings of one buffer must not overlap. Its blocks are here because parameters and
        // gradients lie almost `most` apart, so windows of a quarter of that stay apart.
        let most_of_buffer = match place {
            GradPlace::SameBuffer => (most / 4).max(BLOCK_BYTES + 255),
            _ => most,
        };
        let widest = u64::from(limits.workgroups_per_dimension);
        // The span table fits where the state does: blocks lie at least 256 bytes apart in it.
        length(&self.params) <= most_of_buffer
            && length(&self.grads) <= most_of_buffer
            && length(&self.state) <= most
            && blocks <= widest * widest
    }

    fn span(&self, block: &RangeBlock) -> [u32; 4] {
        // Bindings hold less than 2³² elements, so every position within one fits.
        [
            ((block.param - self.params.start) / 4) as u32,
            ((block.grad - self.grads.start) / 4) as u32,
            (block.state - self.state.start / 4) as u32,
            block.count as u32,
        ]
    }
}

/// Threads of a workgroup that measures. With 256, lavapipe was slower by several per cent of a step.
const MEASURING_THREADS: u64 = 64;

/// Elements that one workgroup measures: 64 loads of four by each of its threads.
const SPAN: u64 = 64 * 4 * MEASURING_THREADS;

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
    let mut order = Vec::new();
    let mut spans: HashMap<_, Vec<Span>> = HashMap::new();
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
                let of_key = spans.entry((piece.buffer, width)).or_insert_with(|| {
                    order.push((piece.buffer, width));
                    Vec::new()
                });
                of_key.push(Span {
                    bytes: piece.offset + 4 * first..piece.offset + 4 * (first + count),
                    partial: *partials,
                    run: piece.run,
                });
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
    for key in order {
        let mut rest = spans.remove(&key).unwrap_or_default();
        rest.sort_by_key(|span| span.bytes.start);
        let mut rest = &rest[..];
        while let Some(first) = rest.first() {
            let start = limits.align_down(first.bytes.start);
            let mut end = first.bytes.end;
            let mut count = 0;
            for span in rest {
                let wider = end.max(span.bytes.end);
                if wider - start > limits.binding_bytes || count as u64 == most_spans {
                    break;
                }
                end = wider;
                count += 1;
            }
            let (inside, outside) = rest.split_at(count);
            rest = outside;
            let grid = fold(count as u64, limits);
            let row = |span: &Span| {
                [
                    ((span.bytes.start - start) / 4) as u32,
                    (length(&span.bytes) / 4) as u32,
                    span.partial as u32,
                    span.run as u32,
                ]
            };
            windows.push(GradWindow {
                width: key.1,
                buffer: key.0,
                grads: start..end,
                spans: padded(inside.iter().map(row), grid),
                grid,
                group,
            });
        }
    }
    windows
}

fn length(range: &Range<u64>) -> u64 {
    range.end - range.start
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: DispatchLimits = DispatchLimits {
        binding_bytes: 16 * 1024,
        offset_alignment: 256,
        workgroups_per_dimension: 3,
    };

    const WIDE: DispatchLimits = DispatchLimits {
        binding_bytes: 128 << 20,
        offset_alignment: 256,
        workgroups_per_dimension: 65_535,
    };

    #[test]
    fn an_arena_within_the_limits_is_one_dispatch() {
        let windows = arena_windows(2048..2048 + 32_768 * BLOCK, &WIDE);
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
                for window in arena_windows(next..end, &limits) {
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

    /// Every element of every piece is in exactly one span, at its own place, and every binding
    /// is one that wgpu accepts.
    fn check(pieces: &[Piece], limits: &DispatchLimits) -> Vec<RangeWindow> {
        let windows = range_windows(pieces, BLOCK, limits);
        let mut expected = Vec::new();
        for piece in pieces {
            for i in 0..piece.count {
                expected.push((
                    piece.param_buffer,
                    piece.param_offset + 4 * i,
                    piece.grad_buffer,
                    piece.grad_offset + 4 * i,
                    piece.state + i,
                ));
            }
        }
        let mut found = Vec::new();
        for window in &windows {
            for range in [&window.params, &window.grads, &window.state] {
                assert_eq!(range.start % limits.offset_alignment, 0);
                assert_eq!(range.end % 4, 0);
                assert!(length(range) <= limits.binding_bytes);
            }
            match window.grad_place {
                GradPlace::OwnBuffer => assert_ne!(window.param_buffer, window.grad_buffer),
                GradPlace::SameBuffer => {
                    assert_eq!(window.param_buffer, window.grad_buffer);
                    let (p, g) = (&window.params, &window.grads);
                    assert!(p.end <= g.start || g.end <= p.start, "{p:?} overlaps {g:?}");
                }
                GradPlace::InParams => assert_eq!(window.params, window.grads),
            }
            let [x, y] = window.grid;
            assert!(x.max(y) <= limits.workgroups_per_dimension);
            assert_eq!(window.spans.len() as u64, u64::from(x) * u64::from(y));
            let spans = window.spans.iter().filter(|span| **span != [0; 4]);
            assert!(16 * window.spans.len() as u64 <= limits.binding_bytes);
            for &[param, grad, state, count] in spans {
                assert!(0 < count && u64::from(count) <= BLOCK);
                assert_eq!(state % 4, 0);
                if window.width == Width::Quads {
                    assert_eq!((param % 4, grad % 4, count % 4), (0, 0, 0));
                }
                for i in 0..u64::from(count) {
                    let param = window.params.start + 4 * (u64::from(param) + i);
                    let grad = window.grads.start + 4 * (u64::from(grad) + i);
                    let state = window.state.start / 4 + u64::from(state) + i;
                    assert!(param < window.params.end && grad < window.grads.end);
                    assert!(4 * state < window.state.end);
                    found.push((window.param_buffer, param, window.grad_buffer, grad, state));
                }
            }
        }
        expected.sort_unstable();
        found.sort_unstable();
        assert!(expected == found, "not every element exactly once");
        windows
    }

    /// Pieces of these counts packed without gaps, params in buffer 0 and grads as given.
    fn packed(counts: &[u64], start: u64, grad_buffer: usize, grad_start: u64) -> Vec<Piece> {
        let mut offset = 0;
        let mut state = 0;
        counts
            .iter()
            .map(|&count| {
                let piece = Piece {
                    param_buffer: 0,
                    param_offset: start + offset,
                    grad_buffer,
                    grad_offset: grad_start + offset,
                    state,
                    count,
                };
                offset += 4 * count;
                state += count.next_multiple_of(64);
                piece
            })
            .collect()
    }

    const COUNTS: [u64; 11] = [1, 3, 4, 5, 255, 256, 257, 1023, 1024, 1025, 9001];

    #[test]
    fn ranges_in_one_pair_of_buffers_share_a_dispatch_per_width() {
        let windows = check(&packed(&[64; 500], 0, 1, 0), &WIDE);
        assert_eq!(windows.len(), 1);
        assert_eq!(windows[0].width, Width::Quads);
        // The odd sizes push all after the first off the 16-byte grid.
        let windows = check(&packed(&COUNTS, 0, 1, 0), &WIDE);
        assert_eq!(windows.len(), 2);
    }

    #[test]
    fn a_large_aligned_tensor_moves_by_quads_but_for_its_last_elements() {
        let windows = check(&packed(&[1_000_003], 0, 1, 16), &WIDE);
        let scalars: u32 = windows
            .iter()
            .filter(|window| window.width == Width::Scalars)
            .flat_map(|window| &window.spans)
            .map(|span| span[3])
            .sum();
        assert_eq!(scalars, 3);
    }

    #[test]
    fn every_element_is_stepped_once_whatever_the_offsets_and_limits() {
        let folded = DispatchLimits {
            workgroups_per_dimension: 2,
            ..WIDE
        };
        let unaligned = DispatchLimits {
            offset_alignment: 32,
            ..TINY
        };
        for limits in [WIDE, TINY, folded, unaligned] {
            for start in [0, 4, 12, 16, 100, 252, 256, 260] {
                for grad_start in [0, 8, 16, 300] {
                    check(&packed(&COUNTS, start, 1, grad_start), &limits);
                }
                // One allocation: right behind each other, and too far apart for one binding.
                let bytes: u64 = start + 4 * COUNTS.iter().sum::<u64>();
                for gap in [0, 4, 16, 4000, 14_000, 16_384, 40_000, 1 << 20] {
                    check(&packed(&COUNTS, start, 0, bytes + gap), &limits);
                    // Gradients first.
                    let grad_start = start;
                    check(&packed(&COUNTS, bytes + gap, 0, grad_start), &limits);
                }
            }
        }
    }

    #[test]
    fn a_gradient_right_behind_its_parameters_never_shares_a_byte_with_their_binding() {
        // Around the distance at which one binding no longer holds both.
        for count in 3000..3300 {
            for start in [0, 100, 252] {
                let end = start + 4 * count;
                check(&packed(&[count], start, 0, end), &TINY);
                check(&packed(&[count], end, 0, start), &TINY);
            }
        }
    }

    #[test]
    fn params_and_grads_interleaved_in_one_buffer_are_covered() {
        let pieces: Vec<_> = (0..60)
            .map(|i| Piece {
                param_buffer: 0,
                param_offset: i * 2 * 400,
                grad_buffer: 0,
                grad_offset: i * 2 * 400 + 400,
                state: i * 128,
                count: 100,
            })
            .collect();
        let windows = check(&pieces, &WIDE);
        assert_eq!(windows.len(), 1);
        check(&pieces, &TINY);
        // Gradients in the opposite order.
        let turned: Vec<_> = pieces
            .iter()
            .zip(pieces.iter().rev())
            .map(|(piece, other)| Piece {
                grad_offset: other.grad_offset,
                ..*piece
            })
            .collect();
        check(&turned, &WIDE);
        check(&turned, &TINY);
    }

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

    #[test]
    fn limits_that_cannot_work_are_refused() {
        assert_eq!(TINY.check(&WIDE), Ok(()));
        assert_eq!(WIDE.check(&WIDE), Ok(()));
        let wrong = [
            DispatchLimits {
                binding_bytes: 256 << 20,
                ..WIDE
            },
            DispatchLimits {
                binding_bytes: 4096,
                ..WIDE
            },
            DispatchLimits {
                offset_alignment: 128,
                ..WIDE
            },
            DispatchLimits {
                offset_alignment: 0,
                ..WIDE
            },
            DispatchLimits {
                offset_alignment: 512,
                ..WIDE
            },
            DispatchLimits {
                workgroups_per_dimension: 0,
                ..WIDE
            },
            DispatchLimits {
                workgroups_per_dimension: 65_536,
                ..WIDE
            },
        ];
        for limits in wrong {
            assert!(
                matches!(limits.check(&WIDE), Err(Error::Limit { .. })),
                "{limits:?}"
            );
        }
    }
}
