//! A rule's state of whole tensors: the table that `shaders/tensors/lookup.wgsl` reads.

use std::ops::Range;

use super::{
    binding::filled_buffer,
    limits::{ARENA_USAGE, check_binding_size},
    lines::LineTable,
    owning::OwningDevice,
};
use crate::{
    Error, Over, Rule, Slot,
    format::Encoding,
    layout::TENSOR_ALIGNMENT,
    shader::{SHAPE_WORDS, looks_at_tensors},
    shape::Matrices,
};

/// Words before those of the units.
const HEADER: usize = 4;

/// Rows begin at multiples of that many words, and have as many.
const ROW_ALIGNMENT: usize = 4;

/// The values of a group's slots of [`Extent::Tensor`](crate::Extent::Tensor).
#[derive(Debug)]
pub(super) struct TensorTable {
    pub buffer: wgpu::Buffer,
    first_row: usize,
    length: usize,
}

/// A tensor of a group: its elements, counted from the group's start, and its shape.
pub(super) struct GroupTensor<'a> {
    pub elements: Range<usize>,
    pub shape: &'a [usize],
}

impl TensorTable {
    /// `None` if the rule has no state of tensors. `element_count` is that of the padded group.
    pub fn new(
        device: &OwningDevice,
        rule: &dyn Rule,
        members: &[GroupTensor<'_>],
        element_count: usize,
        lines: Option<&LineTable>,
    ) -> Result<Option<Self>, Error> {
        let slots = rule.tensor_slots();
        if members.is_empty() || !looks_at_tensors(rule, None) {
            return Ok(None);
        }
        let units = element_count / TENSOR_ALIGNMENT;
        let first_row = (HEADER + units).next_multiple_of(ROW_ALIGNMENT);
        let length = SHAPE_WORDS + slots.len().next_multiple_of(ROW_ALIGNMENT);
        let together = match rule.stages().sum.map(|sum| sum.over) {
            Some(Over::Everything) => members.len(),
            _ => 1,
        };
        let header = [first_row, length, members.len(), together];
        let mut words: Vec<u32> = header.map(|number| number as u32).to_vec();
        // Padding is stepped too. Any row will do for it.
        words.resize(first_row, first_row as u32);
        for (index, member) in members.iter().enumerate() {
            let row = (first_row + index * length) as u32;
            let Range { start, end } = member.elements;
            let units = start / TENSOR_ALIGNMENT..end.div_ceil(TENSOR_ALIGNMENT);
            words[HEADER..][units].fill(row);
        }
        for (index, member) in members.iter().enumerate() {
            let row = words.len();
            let Matrices { rows, columns, .. } = Matrices::of(member.shape);
            let place = lines.map(|lines| lines.place(index));
            let of_shape = [
                member.elements.len(),
                rows,
                columns,
                member.elements.start,
                place.map_or(0, |place| place.factors),
                place.map_or(0, |place| place.columns),
                0,
                0,
            ];
            words.extend(of_shape.map(|number| number as u32));
            let start = |slot: &Slot| if slot.used { slot.start } else { 0.0 };
            words.extend(slots.iter().map(|slot| (start(slot) as f32).to_bits()));
            words.resize(row + length, 0);
        }
        let what = format!("what rule {} keeps of tensors", rule.name());
        check_binding_size(device, &what, size_of_val(&words[..]) as u64)?;
        let buffer = filled_buffer(device, "tensors", ARENA_USAGE, bytemuck::cast_slice(&words))?;
        Ok(Some(Self {
            buffer,
            first_row,
            length,
        }))
    }

    /// First byte of the slot number `slot` of the group's tensor number `tensor`.
    pub fn offset(&self, tensor: usize, slot: usize) -> u64 {
        let word = self.first_row + tensor * self.length + SHAPE_WORDS + slot;
        Encoding::F32.bytes(word as u64)
    }
}
