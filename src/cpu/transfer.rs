//! Where tensors lie: parameters, gradients and state as slices.

use std::{borrow::Cow, ops::Range};

use super::{Optimizer, bytes::as_f32, coded::Coded, group::GroupState};
use crate::{
    Error, Group, Layout, Tensor,
    error::check_length,
    layout::TensorEntry,
    rule::{LinePart, Real, position_of},
};

impl<T: Real> Optimizer<T> {
    /// The layout that the optimizer was made from.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The parameters of `tensor`, row-major.
    ///
    /// # Errors
    /// [`Error::UnknownHandle`] for another layout's tensor, here and below.
    pub fn param(&self, tensor: Tensor) -> Result<&[T], Error> {
        let range = self.range(tensor)?;
        Ok(&self.params[range])
    }

    /// The parameters of `tensor`, for writing. What their format cannot hold is rounded by the next step.
    pub fn param_mut(&mut self, tensor: Tensor) -> Result<&mut [T], Error> {
        let range = self.range(tensor)?;
        Ok(&mut self.params[range])
    }

    /// The parameters of `tensor` in the format of their copy ([`Formats::copy`](crate::Formats::copy)), as
    /// bytes, each rounded to f32 and then to the nearest.
    ///
    /// # Errors
    /// [`Error::NoCopy`] if the tensor's group has none; [`Error::OutOfMemory`].
    pub fn param_copy(&self, tensor: Tensor) -> Result<Vec<u8>, Error> {
        let entry = self.layout.entry(tensor)?;
        let copy = self.layout.storage(entry.group).copy();
        let encoding = copy.ok_or_else(|| Error::NoCopy {
            tensor: entry.name.clone(),
        })?;
        let values = as_f32(self.param(tensor)?)?;
        let mut bytes = encoding.try_encoded(&values)?;
        bytes.resize(encoding.range_bytes(values.len() as u64) as usize, 0);
        Ok(bytes)
    }

    /// The gradient of `tensor`.
    pub fn grad(&self, tensor: Tensor) -> Result<&[T], Error> {
        let range = self.range(tensor)?;
        Ok(&self.grads[range])
    }

    /// The gradient of `tensor`, for writing before each step.
    pub fn grad_mut(&mut self, tensor: Tensor) -> Result<&mut [T], Error> {
        let range = self.range(tensor)?;
        Ok(&mut self.grads[range])
    }

    /// The state `slot` (such as `"exp_avg"`) of `tensor`.
    ///
    /// # Errors
    /// [`Error::UnknownState`] if the tensor's rule has no state with that name.
    pub fn state(&self, tensor: Tensor, slot: &str) -> Result<Cow<'_, [T]>, Error> {
        Ok(Cow::Borrowed(match self.state_place(tensor, slot)? {
            StatePlace::Elements(group, slot, range) => {
                let group = &self.groups[group.0];
                match &group.coded[slot] {
                    Some(coded) => return Ok(Cow::Owned(coded.read(range)?)),
                    None => &group.state[slot][range],
                }
            }
            StatePlace::Tensor(group, tensor, slot) => {
                std::slice::from_ref(&self.groups[group.0].tensors[tensor].values[slot])
            }
            StatePlace::Pairs(group, tensor) => &self.groups[group.0].tensors[tensor].pairs,
            StatePlace::Lines(group, tensor, part) => {
                let lines = self.groups[group.0].tensors[tensor].lines.as_ref();
                lines.map(|lines| lines.part(part)).unwrap_or_default()
            }
        }))
    }

    /// Replaces the state `slot` of `tensor`, rounded to the nearest that its format can hold.
    ///
    /// # Errors
    /// As [`state`](Self::state); [`Error::Length`] unless there are as many values.
    pub fn write_state(&mut self, tensor: Tensor, slot: &str, values: &[T]) -> Result<(), Error> {
        let what = format!("the state {slot:?}");
        if let Some((coded, range)) = self.coded_mut(tensor, slot)? {
            check_length(&what, range.len(), values.len())?;
            coded.write(range, values);
            return Ok(());
        }
        let state = self.state_mut(tensor, slot)?;
        check_length(&what, state.len(), values.len())?;
        state.copy_from_slice(values);
        Ok(())
    }

    /// The state `slot` of `tensor`, for writing.
    ///
    /// # Errors
    /// As [`state`](Self::state); [`Error::Coded`] if it is stored in fewer bits than it is read in. Those
    /// are written by [`write_state`](Self::write_state).
    pub fn state_mut(&mut self, tensor: Tensor, slot: &str) -> Result<&mut [T], Error> {
        Ok(match self.state_place(tensor, slot)? {
            StatePlace::Elements(group, index, range) => {
                let group = &mut self.groups[group.0];
                if let Some(coded) = &group.coded[index] {
                    return Err(Error::Coded {
                        slot: slot.to_owned(),
                        encoding: coded.encoding().name().to_owned(),
                    });
                }
                &mut group.state[index][range]
            }
            StatePlace::Tensor(group, tensor, slot) => {
                std::slice::from_mut(&mut self.groups[group.0].tensors[tensor].values[slot])
            }
            StatePlace::Pairs(group, tensor) => &mut self.groups[group.0].tensors[tensor].pairs,
            StatePlace::Lines(group, tensor, part) => {
                let lines = self.groups[group.0].tensors[tensor].lines.as_mut();
                lines.map(|lines| lines.part_mut(part)).unwrap_or_default()
            }
        })
    }

    /// The bytes of the state `slot` of `tensor`, if it is kept in fewer bits.
    pub(super) fn coded_bytes(&self, tensor: Tensor, slot: &str) -> Result<Option<&[u8]>, Error> {
        Ok(match self.state_place(tensor, slot)? {
            StatePlace::Elements(group, slot, range) => self.groups[group.0].coded[slot]
                .as_ref()
                .map(|coded| coded.bytes(range)),
            _ => None,
        })
    }

    /// The slot in fewer bits that `slot` of `tensor` is, and its elements there.
    pub(super) fn coded_mut(
        &mut self,
        tensor: Tensor,
        slot: &str,
    ) -> Result<Option<(&mut Coded, Range<usize>)>, Error> {
        Ok(match self.state_place(tensor, slot)? {
            StatePlace::Elements(group, slot, range) => self.groups[group.0].coded[slot]
                .as_mut()
                .map(|coded| (coded, range)),
            _ => None,
        })
    }

    fn range(&self, tensor: Tensor) -> Result<Range<usize>, Error> {
        let count = self.layout.entry(tensor)?.element_count;
        let start = self.arena.tensors[tensor.0];
        Ok(start..start + count)
    }

    /// Where the state `slot` of `tensor` lies.
    pub(super) fn state_place(&self, tensor: Tensor, slot: &str) -> Result<StatePlace, Error> {
        let &TensorEntry { group, .. } = self.layout.entry(tensor)?;
        let GroupState { rule, slots, .. } = &self.groups[group.0];
        let in_group = self.arena.in_group[tensor.0];
        let mut of_tensor = rule.tensor_slots().into_iter();
        if let Some(slot) = of_tensor.position(|other| other.used && other.name == slot) {
            return Ok(StatePlace::Tensor(group, in_group, slot));
        }
        let has_rows = self.groups[group.0].tensors[in_group].matrices.has_rows;
        let lines = rule.stages().lines;
        if let Some(part) = lines.and_then(|lines| lines.part(slot, has_rows)) {
            return Ok(StatePlace::Lines(group, in_group, part));
        }
        let pairs = rule
            .pair_slot()
            .filter(|pair| pair.used && pair.name == slot);
        if pairs.is_some() {
            return Ok(StatePlace::Pairs(group, in_group));
        }
        let slot = position_of(&**rule, slots, slot)?;
        let range = self.range(tensor)?;
        let start = self.arena.groups[group.0].start;
        let elements = range.start - start..range.end - start;
        Ok(StatePlace::Elements(group, slot, elements))
    }
}

/// Where a slot's state lies.
pub(super) enum StatePlace {
    /// The group, the element slot, the elements.
    Elements(Group, usize, Range<usize>),
    /// The group, the tensor in it, the tensor slot.
    Tensor(Group, usize, usize),
    /// The group, the tensor in it.
    Pairs(Group, usize),
    /// The group, the tensor in it, the part of its lines.
    Lines(Group, usize, LinePart),
}
