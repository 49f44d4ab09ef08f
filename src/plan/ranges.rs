//! Windows over a caller's own ranges.

use std::ops::Range;

use super::{
    grid::{fold, padded},
    limits::{BLOCK, DispatchLimits, LEAST_BLOCKS},
    pack::{Pack, grouped, join, length, pack},
    span::Span,
};
use crate::{
    format::{BINDING_ALIGNMENT, QUAD, Storage},
    layout::TENSOR_ALIGNMENT,
};

/// One tensor in a caller's buffers. Numbers stand for buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TensorRanges {
    pub param_buffer: usize,
    /// In bytes, a multiple of 4. The same holds for `grad_offset`.
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
    /// The bytes of the parameters' buffer that are bound.
    pub params: Range<u64>,
    pub grad_place: GradPlace,
    /// The bytes of the gradients' buffer that are bound. They are those of `params` if the
    /// gradients lie within.
    pub grads: Range<u64>,
    /// The elements of the group's state that are bound.
    pub state: Range<u64>,
    /// One span per workgroup. Empty ones fill the grid.
    pub spans: Vec<Span>,
    /// The index of each span's tensor. Empty spans have none.
    pub tensors: Vec<usize>,
    /// Workgroups along x and y. Their product is the number of spans.
    pub grid: [u32; 2],
}

/// Part of a [`TensorRanges`] that one workgroup updates.
#[derive(Debug, Clone, Copy)]
struct RangeBlock {
    param: u64,
    grad: u64,
    state: u64,
    count: u64,
    /// The index of its tensor.
    tensor: usize,
}

impl RangeBlock {
    fn params(&self, storage: &Storage) -> Range<u64> {
        self.param..self.param + storage.params.bytes(self.count)
    }
    fn grads(&self, storage: &Storage) -> Range<u64> {
        self.grad..self.grad + storage.grads.bytes(self.count)
    }
    /// State always moves by quads, because it is ours and padded.
    fn states(&self) -> Range<u64> {
        self.state..self.state + self.count.next_multiple_of(QUAD)
    }
}

/// Cuts one group's tensors into as few dispatches as the limits allow. Each workgroup has up to
/// `length` elements: a [`BLOCK`], or the [`measured_length`].
pub(crate) fn range_windows(
    tensors: &[TensorRanges],
    length: u64,
    storage: &Storage,
    limits: &DispatchLimits,
) -> Vec<RangeWindow> {
    let blocks = tensors.iter().enumerate().flat_map(|(index, tensor)| {
        let same_buffer = tensor.param_buffer == tensor.grad_buffer;
        by_width(tensor, storage).flat_map(move |(width, part)| {
            blocks(part, index, length, storage).map(move |block| {
                let together = same_buffer && fits_together(&block, storage, limits);
                let key = (width, tensor.param_buffer, tensor.grad_buffer, together);
                (key, block)
            })
        })
    });
    let mut windows = Vec::new();
    // Blocks with the same access and the same pair of buffers can share a dispatch.
    for (key, mut blocks) in grouped(blocks) {
        let (width, param_buffer, grad_buffer, together) = key;
        let place = match (param_buffer == grad_buffer, together) {
            (false, _) => GradPlace::OwnBuffer,
            (true, false) => GradPlace::SameBuffer,
            (true, true) => GradPlace::InParams,
        };
        // In address order, neighbours share a window as long as they fit.
        blocks.sort_by_key(|block| block.param);
        let packs = pack(
            blocks,
            |block| WindowBounds::of(block, place, storage, limits),
            WindowBounds::join,
            |bytes, count| bytes.fits(count, place, storage, limits),
        );
        windows.extend(packs.into_iter().map(|Pack { items, bound }| {
            let grid = fold(items.len() as u64, limits);
            RangeWindow {
                width,
                param_buffer,
                grad_buffer,
                grad_place: place,
                spans: padded(items.iter().map(|block| bound.span(block, storage)), grid),
                tensors: items.iter().map(|block| block.tensor).collect(),
                grid,
                params: bound.params,
                grads: bound.grads,
                state: bound.state,
            }
        }));
    }
    windows
}

/// The part of a tensor that moves by quads, and the rest.
fn by_width(
    tensor: &TensorRanges,
    storage: &Storage,
) -> impl Iterator<Item = (Width, TensorRanges)> {
    let aligned = tensor
        .param_offset
        .is_multiple_of(storage.params.quad_bytes())
        && tensor
            .grad_offset
            .is_multiple_of(storage.grads.quad_bytes());
    // The two parts are two dispatches, which may not share a block of the state.
    let whole = storage.slot_block().max(QUAD);
    let in_quads = if aligned {
        tensor.count / whole * whole
    } else {
        0
    };
    let body = TensorRanges {
        count: in_quads,
        ..*tensor
    };
    let rest = TensorRanges {
        param_offset: tensor.param_offset + storage.params.bytes(in_quads),
        grad_offset: tensor.grad_offset + storage.grads.bytes(in_quads),
        state: tensor.state + in_quads,
        count: tensor.count - in_quads,
        ..*tensor
    };
    [(Width::Quads, body), (Width::Scalars, rest)]
        .into_iter()
        .filter(|(_, part)| part.count > 0)
}

fn blocks(
    part: TensorRanges,
    tensor: usize,
    length: u64,
    storage: &Storage,
) -> impl Iterator<Item = RangeBlock> {
    (0..part.count)
        .step_by(length as usize)
        .map(move |first| RangeBlock {
            param: part.param_offset + storage.params.bytes(first),
            grad: part.grad_offset + storage.grads.bytes(first),
            state: part.state + first,
            count: length.min(part.count - first),
            tensor,
        })
}

/// Whether one binding can hold a block's parameters and gradients, if both are in one buffer.
fn fits_together(block: &RangeBlock, storage: &Storage, limits: &DispatchLimits) -> bool {
    let both = join(&block.params(storage), &block.grads(storage));
    let fits = length(&limits.binding_of(&both)) <= limits.binding_bytes;
    // One binding has one type. Two formats in one buffer would need two bindings.
    fits && storage.params == storage.grads
}

/// What a window binds, in bytes, and in elements of the state. Each begins where a binding can.
#[derive(Debug, Clone)]
struct WindowBounds {
    params: Range<u64>,
    /// The same as `params` if the gradients lie within.
    grads: Range<u64>,
    state: Range<u64>,
}

impl WindowBounds {
    fn of(
        block: &RangeBlock,
        place: GradPlace,
        storage: &Storage,
        limits: &DispatchLimits,
    ) -> Self {
        // Every slot can be bound from here. It is also the start of a unit, and shaders look up
        // tensors by unit.
        let unit = storage.slot_unit().max(TENSOR_ALIGNMENT as u64);
        let states = block.states();
        let state = states.start / unit * unit..states.end;
        if place == GradPlace::InParams {
            let both = join(&block.params(storage), &block.grads(storage));
            let both = limits.binding_of(&both);
            return Self {
                params: both.clone(),
                grads: both,
                state,
            };
        }
        Self {
            params: limits.binding_of(&block.params(storage)),
            grads: limits.binding_of(&block.grads(storage)),
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

    fn fits(
        &self,
        blocks: u64,
        place: GradPlace,
        storage: &Storage,
        limits: &DispatchLimits,
    ) -> bool {
        let most = limits.binding_bytes;
        // Two bindings of one buffer must not overlap. The parameters and gradients of these blocks
        // lie almost `most` apart, so windows of a quarter of that do not overlap.
        let most_of_buffer = match place {
            GradPlace::SameBuffer => {
                let block = storage.most_bytes(BLOCK) + BINDING_ALIGNMENT - 1;
                (most / LEAST_BLOCKS).max(block)
            }
            _ => most,
        };
        let widest = u64::from(limits.workgroups_per_dimension);
        // The table of spans fits if the state does. Tensors lie at least a unit apart in the
        // state, and a row of the table takes less than a unit.
        length(&self.params) <= most_of_buffer
            && length(&self.grads) <= most_of_buffer
            && storage.slot_bytes(length(&self.state)) <= most
            && blocks <= widest * widest
    }

    fn span(&self, block: &RangeBlock, storage: &Storage) -> Span {
        // A binding holds fewer than 2³² elements, so every position within one fits a u32.
        Span {
            param: storage.params.elements(block.param - self.params.start) as u32,
            grad: storage.grads.elements(block.grad - self.grads.start) as u32,
            state: (block.state - self.state.start) as u32,
            count: block.count as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        limits::BLOCK,
        samples::{COUNTS, TINY, WIDE},
        span::as_one,
    };
    use super::*;
    use crate::{
        Precision,
        format::{Encoding, Format},
    };

    /// Checks that every element of every tensor is in exactly one span, at its own place, and that
    /// wgpu accepts every binding.
    fn check(tensors: &[TensorRanges], limits: &DispatchLimits) -> Vec<RangeWindow> {
        check_in(&Storage::default(), tensors, limits)
    }

    fn check_in(
        storage: &Storage,
        tensors: &[TensorRanges],
        limits: &DispatchLimits,
    ) -> Vec<RangeWindow> {
        let windows = range_windows(tensors, BLOCK, storage, limits);
        let [of_param, of_grad] = [storage.params, storage.grads].map(|encoding| encoding.bytes(1));
        let mut expected = Vec::new();
        for tensor in tensors {
            for i in 0..tensor.count {
                expected.push((
                    tensor.param_buffer,
                    tensor.param_offset + of_param * i,
                    tensor.grad_buffer,
                    tensor.grad_offset + of_grad * i,
                    tensor.state + i,
                ));
            }
        }
        let mut found = Vec::new();
        for window in &windows {
            for encoding in storage.slots() {
                let start = encoding.bytes(window.state.start);
                assert_eq!(start % limits.offset_alignment, 0);
                assert!(encoding.bytes(length(&window.state)) <= limits.binding_bytes);
            }
            assert_eq!(window.state.start % TENSOR_ALIGNMENT as u64, 0);
            assert_eq!(window.state.end % QUAD, 0);
            for range in [&window.params, &window.grads] {
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
            let spans = window.spans.iter().filter(|span| **span != Span::default());
            // What runs as one span has the same elements in each workgroup.
            if let Some(one) = as_one(&window.spans) {
                let parts = (0..one.count).step_by(BLOCK as usize);
                let parts = parts.map(|first| one.part(first, BLOCK as u32));
                assert!(parts.eq(spans.clone().copied()), "{one:?}");
            }
            assert!(16 * window.spans.len() as u64 <= limits.binding_bytes);
            for &Span {
                param,
                grad,
                state,
                count,
            } in spans
            {
                assert!(0 < count && u64::from(count) <= BLOCK);
                assert_eq!(state % 4, 0);
                if window.width == Width::Quads {
                    assert_eq!((param % 4, grad % 4, count % 4), (0, 0, 0));
                }
                for i in 0..u64::from(count) {
                    let param = window.params.start + of_param * (u64::from(param) + i);
                    let grad = window.grads.start + of_grad * (u64::from(grad) + i);
                    let state = window.state.start + u64::from(state) + i;
                    assert!(param < window.params.end && grad < window.grads.end);
                    assert!(state < window.state.end);
                    found.push((window.param_buffer, param, window.grad_buffer, grad, state));
                }
            }
        }
        expected.sort_unstable();
        found.sort_unstable();
        assert!(expected == found, "not every element exactly once");
        windows
    }

    /// Tensors of these sizes, packed without gaps. Parameters are in buffer 0, and gradients as
    /// given.
    fn packed(
        counts: &[u64],
        start: u64,
        grad_buffer: usize,
        grad_start: u64,
    ) -> Vec<TensorRanges> {
        let mut offset = 0;
        let mut state = 0;
        counts
            .iter()
            .map(|&count| {
                let tensor = TensorRanges {
                    param_buffer: 0,
                    param_offset: start + offset,
                    grad_buffer,
                    grad_offset: grad_start + offset,
                    state,
                    count,
                };
                offset += 4 * count;
                state += count.next_multiple_of(64);
                tensor
            })
            .collect()
    }

    #[test]
    fn ranges_in_one_pair_of_buffers_share_a_dispatch_per_width() {
        let windows = check(&packed(&[64; 500], 0, 1, 0), &WIDE);
        assert_eq!(windows.len(), 1);
        assert_eq!(windows[0].width, Width::Quads);
        // The odd sizes move all tensors after the first off the 16-byte grid.
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
            .map(|span| span.count)
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
                // All lie in one allocation: right behind each other, or too far apart for one
                // binding.
                let bytes: u64 = start + 4 * COUNTS.iter().sum::<u64>();
                for gap in [0, 4, 16, 4000, 14_000, 16_384, 40_000, 1 << 20] {
                    check(&packed(&COUNTS, start, 0, bytes + gap), &limits);
                    // Here the gradients come first.
                    let grad_start = start;
                    check(&packed(&COUNTS, bytes + gap, 0, grad_start), &limits);
                }
            }
        }
    }

    #[test]
    fn a_gradient_right_behind_its_parameters_never_shares_a_byte_with_their_binding() {
        // These sizes lie around the distance beyond which one binding cannot hold both.
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
        let tensors: Vec<_> = (0..60)
            .map(|i| TensorRanges {
                param_buffer: 0,
                param_offset: i * 2 * 400,
                grad_buffer: 0,
                grad_offset: i * 2 * 400 + 400,
                state: i * 128,
                count: 100,
            })
            .collect();
        let windows = check(&tensors, &WIDE);
        assert_eq!(windows.len(), 1);
        check(&tensors, &TINY);
        // Here the gradients are in the opposite order.
        let turned: Vec<_> = tensors
            .iter()
            .zip(tensors.iter().rev())
            .map(|(tensor, other)| TensorRanges {
                grad_offset: other.grad_offset,
                ..*tensor
            })
            .collect();
        check(&turned, &WIDE);
        check(&turned, &TINY);
    }

    #[test]
    fn every_element_is_stepped_once_whatever_the_formats() {
        let bf16 = Format::Bf16.encoding(Precision::Signed);
        let f32 = Storage::default();
        let all = Storage {
            params: bf16,
            grads: bf16,
            state: Format::Bf16,
            ..f32
        };
        let int8 = Storage {
            state: Format::Int8,
            ..f32
        };
        let [params, grads, state] = [
            Storage {
                params: bf16,
                ..f32
            },
            Storage { grads: bf16, ..f32 },
            Storage {
                state: Format::Bf16,
                ..f32
            },
        ];
        for storage in [all, params, grads, state, int8] {
            for limits in [WIDE, TINY] {
                for start in [0, 4, 16, 256, 260] {
                    let mut offsets = [start, start + 8];
                    let mut state = 0;
                    let tensor = |&count: &u64| {
                        let tensor = TensorRanges {
                            param_buffer: 0,
                            param_offset: offsets[0],
                            grad_buffer: 1,
                            grad_offset: offsets[1],
                            state,
                            count,
                        };
                        // Elements of fewer than four bytes begin and end at multiples of four
                        // bytes.
                        let next = |encoding: Encoding| encoding.bytes(count).next_multiple_of(4);
                        offsets[0] += next(storage.params);
                        offsets[1] += next(storage.grads);
                        state += count.next_multiple_of(TENSOR_ALIGNMENT as u64);
                        tensor
                    };
                    let tensors: Vec<_> = COUNTS.iter().map(tensor).collect();
                    check_in(&storage, &tensors, &limits);
                }
            }
        }
    }
}
