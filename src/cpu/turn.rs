//! Cuts a group for threads. Each turn has the same number of elements, however small or large the
//! tensors are.

use std::ops::Range;

use super::{
    arena::CHUNK,
    group::{StepPart, TensorState},
};
use crate::rule::{Block, Bound, Part, Real, Step, Twin, clipped};

/// The work on each block of a group.
pub(super) type Work<'a, T, R> = dyn Fn(&dyn Twin<T>, Block<'_, T>, Step<T>) -> R + Sync + 'a;

/// The elements that one thread takes at a time.
pub(super) struct Turn<'a, T> {
    /// Counted from the group's start.
    start: usize,
    block: Block<'a, T>,
}

/// The elements of one part that lie in one turn.
pub(super) struct Piece<'a, T> {
    /// Index of the part.
    pub part: usize,
    /// Counted from the part's start.
    elements: Range<usize>,
    block: Block<'a, T>,
}

/// Cuts all of a group's elements into turns. Turns of a large group are longer, so that there are
/// not too many. Their length must not depend on the number of threads, because sums must not.
pub(super) fn turns<T: Real>(mut all: Block<'_, T>) -> Vec<Turn<'_, T>> {
    let count = all.params.len();
    let length = if count < 64 * CHUNK { CHUNK } else { 4 * CHUNK };
    let starts = (0..count).step_by(length);
    starts
        .map(|start| {
            let length = length.min(all.params.len());
            Turn {
                start,
                block: all.split_off(length),
            }
        })
        .collect()
}

impl<'a, T: Real> Turn<'a, T> {
    /// The pieces of this turn, one for each of `parts` that has elements in it.
    pub fn pieces(self, parts: &[StepPart<T>]) -> impl Iterator<Item = Piece<'a, T>> {
        let Turn { start, mut block } = self;
        let end = start + block.params.len();
        let first = parts.partition_point(|part| part.elements.end <= start);
        let mut at = start;
        let here = parts.iter().enumerate().skip(first);
        let here = here.take_while(move |(_, part)| part.elements.start < end);
        here.map(move |(index, StepPart { elements, .. })| {
            let piece = elements.start.max(start)..elements.end.min(end);
            // What lies between the parts is padding.
            block.split_off(piece.start - at);
            at = piece.end;
            Piece {
                part: index,
                elements: piece.start - elements.start..piece.end - elements.start,
                block: block.split_off(piece.len()),
            }
        })
    }
}

impl<T: Real> Piece<'_, T> {
    /// Calls `work` with the block as the rule must see it.
    pub fn give<R>(
        self,
        part: &StepPart<T>,
        tensor: Option<&TensorState<T>>,
        clip_value: Option<T>,
        work: impl FnOnce(Block<'_, T>) -> R,
    ) -> R {
        let mut block = self.block;
        block.grad_scale = part.now.grad_scale;
        if part.now.t == 0 {
            block.bound = Bound::none();
        }
        let bounded: Vec<_>;
        if clip_value.is_some() {
            let scale = std::mem::replace(&mut block.grad_scale, T::one());
            let grads = block.grads.iter();
            bounded = grads.map(|&g| clipped(scale * g, clip_value)).collect();
            block.grads = &bounded;
        }
        let mut lines;
        if let Some(tensor) = tensor {
            block.of_tensor = &tensor.values;
            if let Some(state) = &tensor.lines {
                lines = state.gather(self.elements);
                let lines = lines.iter_mut();
                block.state.extend(lines.map(|line| Part::Plain(line)));
            }
        }
        work(block)
    }
}
