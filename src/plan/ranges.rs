//! Windows over a caller's own ranges.

mod copies;

use std::ops::Range;

use copies::copy_bytes;
pub(crate) use copies::{CopyStart, CopyWindow};

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
    /// Where its copy in 16 bits begins, if that is bound too.
    pub copy: Option<CopyStart>,
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

/// A dispatch over ranges of one pair of buffers, and of one buffer of copies.
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
    pub copies: Option<CopyWindow>,
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
    copy: Option<CopyStart>,
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
    /// Of the copy, if there is one.
    fn copies(&self, storage: &Storage) -> Option<Range<u64>> {
        let bytes = copy_bytes(storage, self.count);
        self.copy.map(|copy| copy.offset..copy.offset + bytes)
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
                let buffers = (tensor.param_buffer, tensor.grad_buffer);
                let key = (width, buffers, block.copy.map(|copy| copy.buffer), together);
                (key, block)
            })
        })
    });
    let mut windows = Vec::new();
    // Blocks with the same access and the same buffers can share a dispatch.
    for (key, mut blocks) in grouped(blocks) {
        let (width, (param_buffer, grad_buffer), copy_buffer, together) = key;
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
            let copies = copy_buffer.zip(bound.copies.clone());
            let copies = copies.map(|(buffer, bytes)| {
                let blocks = items.iter().filter_map(|block| block.copy);
                let first = |copy: CopyStart| copy.first_in(&bytes, storage);
                CopyWindow {
                    buffer,
                    firsts: padded(blocks.map(first), grid),
                    bytes,
                }
            });
            RangeWindow {
                copies,
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
            .is_multiple_of(storage.grads.quad_bytes())
        && tensor
            .copy
            .is_none_or(|copy| copy.offset.is_multiple_of(copy_bytes(storage, QUAD)));
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
        copy: tensor.copy.map(|copy| copy.after(in_quads, storage)),
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
            copy: part.copy.map(|copy| copy.after(first, storage)),
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
    copies: Option<Range<u64>>,
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
        let copies = block.copies(storage);
        let copies = copies.map(|bytes| limits.binding_of(&bytes));
        if place == GradPlace::InParams {
            let both = join(&block.params(storage), &block.grads(storage));
            let both = limits.binding_of(&both);
            return Self {
                params: both.clone(),
                grads: both,
                copies,
                state,
            };
        }
        Self {
            params: limits.binding_of(&block.params(storage)),
            grads: limits.binding_of(&block.grads(storage)),
            copies,
            state,
        }
    }

    fn join(&self, other: &Self) -> Self {
        Self {
            params: join(&self.params, &other.params),
            grads: join(&self.grads, &other.grads),
            // Either both have some or neither.
            copies: self
                .copies
                .as_ref()
                .zip(other.copies.as_ref())
                .map(|(one, other)| join(one, other)),
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
            && self
                .copies
                .as_ref()
                .is_none_or(|copies| length(copies) <= most)
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
mod tests;
