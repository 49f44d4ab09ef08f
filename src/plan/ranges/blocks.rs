//! The ranges of one tensor, cut into the blocks of workgroups and tiles.

use std::ops::Range;

use super::{
    super::{limits::DispatchLimits, tiles::tiles},
    copies::{CopyStart, copy_bytes},
};
use crate::{
    format::{QUAD, Storage},
    shape::Matrices,
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
    /// Set if the tensor is cut into tiles. Then all of it moves by quads.
    pub matrices: Option<Matrices>,
}

/// What a dispatch is cut into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Walk {
    /// Neighbouring elements, those of one workgroup each.
    Spans,
    /// Tiles of matrices.
    Matrices,
    /// Parts of tensors without rows, which are tiles of a single row.
    Vectors,
}

/// How many elements a shader moves at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Width {
    Quads,
    Scalars,
}

/// Part of a [`TensorRanges`] that one workgroup or tile updates.
#[derive(Debug, Clone, Copy)]
pub(super) struct RangeBlock {
    pub param: u64,
    pub grad: u64,
    pub copy: Option<CopyStart>,
    pub state: u64,
    pub count: u64,
    /// The index of its tensor.
    pub tensor: usize,
}

impl RangeBlock {
    pub fn params(&self, storage: &Storage) -> Range<u64> {
        self.param..self.param + storage.params.bytes(self.count)
    }
    pub fn grads(&self, storage: &Storage) -> Range<u64> {
        self.grad..self.grad + storage.grads.bytes(self.count)
    }
    /// Of the copy, if there is one.
    pub fn copies(&self, storage: &Storage) -> Option<Range<u64>> {
        let bytes = copy_bytes(storage, self.count);
        self.copy.map(|copy| copy.offset..copy.offset + bytes)
    }
    /// State always moves by quads, because it is ours and padded.
    pub fn states(&self) -> Range<u64> {
        self.state..self.state + self.count.next_multiple_of(QUAD)
    }
}

/// Whether a tensor whose parameters and gradient begin at these bytes moves by quads.
pub(crate) fn is_aligned(param_offset: u64, grad_offset: u64, storage: &Storage) -> bool {
    let Storage { params, grads, .. } = storage;
    param_offset.is_multiple_of(params.quad_bytes())
        && grad_offset.is_multiple_of(grads.quad_bytes())
}

/// Cuts a tensor into blocks: tiles of up to `most_in_tile` elements, or spans of up to `length`, in quads as
/// far as they go.
pub(super) fn blocks(
    tensor: &TensorRanges,
    index: usize,
    length: u64,
    most_in_tile: usize,
    storage: &Storage,
    limits: &DispatchLimits,
) -> impl Iterator<Item = (Walk, Width, RangeBlock)> {
    let pieces: Box<dyn Iterator<Item = (Walk, Width, Range<u64>)>> = match tensor.matrices {
        Some(matrices) => {
            let walk = match matrices.has_rows {
                true => Walk::Matrices,
                false => Walk::Vectors,
            };
            let tiles = tiles(matrices, most_in_tile, storage, limits);
            Box::new(tiles.map(move |tile| (walk, Width::Quads, tile)))
        }
        None => Box::new(spans(tensor, length, storage)),
    };
    pieces.map(move |(walk, width, piece)| (walk, width, tensor.block(piece, index, storage)))
}

/// The part of a tensor that moves by quads, and the rest.
fn spans(
    tensor: &TensorRanges,
    length: u64,
    storage: &Storage,
) -> impl Iterator<Item = (Walk, Width, Range<u64>)> + use<> {
    // The two parts are two dispatches, which may not share a block of the state.
    let whole = storage.slot_block().max(QUAD);
    let in_quads = match tensor.moves_by_quads(storage) {
        true => tensor.count / whole * whole,
        false => 0,
    };
    let parts = [
        (Width::Quads, 0..in_quads),
        (Width::Scalars, in_quads..tensor.count),
    ];
    parts
        .into_iter()
        .flat_map(move |(width, Range { start, end })| {
            let firsts = (start..end).step_by(length as usize);
            firsts.map(move |first| (Walk::Spans, width, first..end.min(first + length)))
        })
}

impl TensorRanges {
    fn moves_by_quads(&self, storage: &Storage) -> bool {
        let quad = copy_bytes(storage, QUAD);
        let copy = self.copy;
        is_aligned(self.param_offset, self.grad_offset, storage)
            && copy.is_none_or(|copy| copy.offset.is_multiple_of(quad))
    }

    /// The block of some neighbouring elements.
    fn block(&self, elements: Range<u64>, tensor: usize, storage: &Storage) -> RangeBlock {
        RangeBlock {
            param: self.param_offset + storage.params.bytes(elements.start),
            grad: self.grad_offset + storage.grads.bytes(elements.start),
            copy: self.copy.map(|copy| copy.after(elements.start, storage)),
            state: self.state + elements.start,
            count: elements.end - elements.start,
            tensor,
        }
    }
}
