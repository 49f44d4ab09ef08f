//! Windows over a caller's own ranges.

mod blocks;
mod copies;

use std::ops::Range;

use blocks::{RangeBlock, blocks};
pub(crate) use blocks::{TensorRanges, Walk, Width, is_aligned};
pub(crate) use copies::{CopyStart, CopyWindow};

use super::{
    grid::{fold, padded},
    limits::{BLOCK, DispatchLimits, LEAST_BLOCKS},
    pack::{Pack, grouped, join, length, pack},
    span::Span,
    tiles::{TILES_PER_WORKGROUP, most_in_tile},
};
use crate::{
    format::{BINDING_ALIGNMENT, Storage},
    layout::TENSOR_ALIGNMENT,
};

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
    pub walk: Walk,
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
    /// One span per workgroup, of which empty ones fill the grid. Or one per tile, from its first
    /// element to its last.
    pub spans: Vec<Span>,
    /// The index of each span's tensor. Empty spans have none.
    pub tensors: Vec<usize>,
    /// Workgroups along x and y.
    pub grid: [u32; 2],
}

/// Cuts one group's tensors into as few dispatches as the limits allow. Each workgroup has up to
/// `length` elements: a [`BLOCK`], or the [`measured_length`].
pub(crate) fn range_windows(
    tensors: &[TensorRanges],
    length: u64,
    storage: &Storage,
    limits: &DispatchLimits,
) -> Vec<RangeWindow> {
    let most_in_tile = most_in_tile(tensors.iter().map(|tensor| tensor.count).sum());
    let blocks = tensors.iter().enumerate().flat_map(|(index, tensor)| {
        let same_buffer = tensor.param_buffer == tensor.grad_buffer;
        let parts = blocks(tensor, index, length, most_in_tile, storage, limits);
        parts.map(move |(walk, width, block)| {
            let together = same_buffer && fits_together(&block, storage, limits);
            let buffers = (tensor.param_buffer, tensor.grad_buffer);
            let copy_buffer = block.copy.map(|copy| copy.buffer);
            (((walk, width), buffers, copy_buffer, together), block)
        })
    });
    let mut windows = Vec::new();
    // Blocks with the same access and the same buffers can share a dispatch.
    for (key, mut blocks) in grouped(blocks) {
        let ((walk, width), (param_buffer, grad_buffer), copy_buffer, together) = key;
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
            let spans = items.iter().map(|block| bound.span(block, storage));
            let (grid, spans) = match walk {
                Walk::Spans => {
                    let grid = fold(items.len() as u64, limits);
                    (grid, padded(spans, grid))
                }
                Walk::Matrices | Walk::Vectors => {
                    let workgroups = (items.len() as u64).div_ceil(TILES_PER_WORKGROUP);
                    (fold(workgroups, limits), spans.collect())
                }
            };
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
                walk,
                copies,
                width,
                param_buffer,
                grad_buffer,
                grad_place: place,
                spans,
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
