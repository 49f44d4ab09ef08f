//! Where tensors lie, and how to read and write them.

use super::{Optimizer, binding::SlotBuffer, group::GroupBuffers, setup::Setup};
use crate::{
    BufferRange, Error, Layout, Slot, Tensor,
    buffer::Stored,
    format::{Encoding, Storage},
    layout::TensorEntry,
    rule::position_of,
};

impl Optimizer {
    /// The layout that the optimizer was made from.
    pub fn layout(&self) -> &Layout {
        &self.setup.layout
    }

    /// Where the parameters of `tensor` lie.
    ///
    /// An optimizer that is dropped destroys its buffers, but not those of which it gave you ranges. In a
    /// browser, which frees what is dropped only when its garbage collector comes, call
    /// [`destroy`](wgpu::Buffer::destroy) on such a buffer when you no longer need it. It may hold other
    /// tensors too: all parameters of an arena lie in one buffer, and so do all gradients.
    ///
    /// # Errors
    /// [`Error::UnknownHandle`] for another layout's tensor, here and below.
    pub fn param(&self, tensor: Tensor) -> Result<BufferRange, Error> {
        let range = self.own_param(tensor)?;
        self.bound.give_away(&range.buffer);
        Ok(range)
    }

    pub(super) fn own_param(&self, tensor: Tensor) -> Result<BufferRange, Error> {
        self.setup.layout.entry(tensor)?;
        Ok(self.params[tensor.0].clone())
    }

    /// Where the gradient of `tensor` must be.
    ///
    /// # Errors
    /// [`Error::NoGradients`] if gradients are passed at each step.
    pub fn grad(&self, tensor: Tensor) -> Result<BufferRange, Error> {
        let range = self.own_grad(tensor)?;
        self.bound.give_away(&range.buffer);
        Ok(range)
    }

    fn own_grad(&self, tensor: Tensor) -> Result<BufferRange, Error> {
        self.setup.layout.entry(tensor)?;
        let grads = self.grads.as_ref().ok_or(Error::NoGradients)?;
        Ok(grads[tensor.0].clone())
    }

    /// Where the state `slot` (such as `"exp_avg"`) of `tensor` lies, in the
    /// [format](Layout::formats) of its group. In bf16 that is two bytes for each element and an even
    /// number of elements. In int8 it is 80 bytes for each 64 elements: four scales and their codes.
    ///
    /// # Errors
    /// [`Error::UnknownState`] lists the slots that exist.
    pub fn state(&self, tensor: Tensor, slot: &str) -> Result<BufferRange, Error> {
        let Stored { range, .. } = self.stored_state(tensor, slot)?;
        self.setup.device.give_away(&range.buffer);
        Ok(range)
    }

    pub(super) fn stored_param(&self, tensor: Tensor) -> Result<Stored, Error> {
        Ok(Stored {
            residual: self.residual(tensor)?,
            ..self.stored(tensor, self.own_param(tensor)?, |storage| storage.params)?
        })
    }

    fn stored_grad(&self, tensor: Tensor) -> Result<Stored, Error> {
        self.stored(tensor, self.own_grad(tensor)?, |storage| storage.grads)
    }

    pub(super) fn stored(
        &self,
        tensor: Tensor,
        range: BufferRange,
        encoding: fn(&Storage) -> Encoding,
    ) -> Result<Stored, Error> {
        let entry = self.setup.layout.entry(tensor)?;
        Ok(Stored {
            range,
            encoding: encoding(&self.setup.layout.storage(entry.group)),
            count: entry.element_count,
            residual: None,
        })
    }

    pub(super) fn stored_state(&self, tensor: Tensor, slot: &str) -> Result<Stored, Error> {
        let &TensorEntry {
            group,
            element_count,
            ..
        } = self.setup.layout.entry(tensor)?;
        let Setup {
            layout,
            arena,
            options,
            groups,
            ..
        } = &self.setup;
        let rule = &*layout.groups[group.0];
        let GroupBuffers {
            state,
            tensors,
            lines,
            matrix,
            ..
        } = &groups[group.0];
        let in_group = arena.in_group[tensor.0];
        let named = |other: &Slot| other.used && other.name == slot;
        let of_tensor = rule.tensor_slots();
        let position = of_tensor.iter().position(named);
        if let (Some(position), Some(table)) = (position, tensors) {
            return Ok(f32_range(
                &table.buffer,
                [table.offset(in_group, position), Encoding::F32.bytes(1)],
            ));
        }
        if let (Some(names), Some(table)) = (rule.stages().lines, lines)
            && let Some(place) = table.range(&names, in_group, slot)
        {
            return Ok(f32_range(&table.buffer, place));
        }
        let pairs = matrix.as_ref().and_then(|matrix| matrix.pairs.as_ref());
        if let Some(pairs) = pairs.filter(|_| rule.pair_slot().is_some_and(|pair| named(&pair))) {
            return Ok(f32_range(&pairs.buffer, pairs.range(in_group)));
        }
        let slots = options.element_slots(rule);
        let position = position_of(rule, &slots, slot)?;
        // Slots that are not in use have no buffer.
        let used = slots[..position].iter().filter(|slot| slot.used).count();
        let start = arena.tensors[tensor.0] - arena.groups[group.0].start;
        let SlotBuffer { buffer, encoding } = &state[used];
        Ok(Stored {
            range: BufferRange {
                buffer: buffer.clone(),
                offset: encoding.bytes(start as u64),
                size: encoding.range_bytes(element_count as u64),
            },
            encoding: *encoding,
            count: element_count,
            residual: None,
        })
    }

    /// Writes the parameters of `tensor`, row-major, and their [copy](crate::Formats::copy). The write comes
    /// before everything that is submitted to `queue` afterwards.
    ///
    /// # Errors
    /// [`Error::Length`] for a wrong number of values; [`Error::BufferRange`] if a caller's buffer
    /// lacks `COPY_DST`; [`Error::OtherDevice`] for another device's queue; [`Error::DeviceLost`]. The
    /// same holds for the other two.
    pub fn write_param(
        &self,
        queue: &wgpu::Queue,
        tensor: Tensor,
        values: &[f32],
    ) -> Result<(), Error> {
        let param = self.stored_param(tensor)?;
        let copy = self.writable_copy(tensor)?;
        param.write(&self.setup.device, queue, values)?;
        match copy {
            Some(copy) => copy.write(&self.setup.device, queue, values),
            None => Ok(()),
        }
    }

    /// Writes the gradient of `tensor`.
    pub fn write_grad(
        &self,
        queue: &wgpu::Queue,
        tensor: Tensor,
        values: &[f32],
    ) -> Result<(), Error> {
        let grad = self.stored_grad(tensor)?;
        grad.write(&self.setup.device, queue, values)
    }

    /// Writes the state `slot` of `tensor`, rounded to the nearest that its format can hold.
    pub fn write_state(
        &self,
        queue: &wgpu::Queue,
        tensor: Tensor,
        slot: &str,
        values: &[f32],
    ) -> Result<(), Error> {
        let state = self.stored_state(tensor, slot)?;
        state.write(&self.setup.device, queue, values)
    }

    /// Reads the parameters of `tensor`. Natively, something must poll the device meanwhile.
    ///
    /// # Errors
    /// [`Error::BufferRange`] if a caller's buffer lacks `COPY_SRC`; [`Error::OtherDevice`] for
    /// another device's queue; [`Error::DeviceLost`]; [`Error::OutOfMemory`]. The same holds for the
    /// other two.
    pub async fn read_param(&self, queue: &wgpu::Queue, tensor: Tensor) -> Result<Vec<f32>, Error> {
        let param = self.stored_param(tensor)?;
        param.read(&self.setup.device, queue).await
    }

    /// Reads the gradient of `tensor`.
    pub async fn read_grad(&self, queue: &wgpu::Queue, tensor: Tensor) -> Result<Vec<f32>, Error> {
        let grad = self.stored_grad(tensor)?;
        grad.read(&self.setup.device, queue).await
    }

    /// Reads the state `slot` of `tensor`.
    pub async fn read_state(
        &self,
        queue: &wgpu::Queue,
        tensor: Tensor,
        slot: &str,
    ) -> Result<Vec<f32>, Error> {
        let state = self.stored_state(tensor, slot)?;
        state.read(&self.setup.device, queue).await
    }
}

/// Numbers that are always f32, at this offset and of this size.
fn f32_range(buffer: &wgpu::Buffer, [offset, size]: [u64; 2]) -> Stored {
    Stored {
        range: BufferRange {
            buffer: buffer.clone(),
            offset,
            size,
        },
        encoding: Encoding::F32,
        count: Encoding::F32.elements(size) as usize,
        residual: None,
    }
}

#[cfg(not(target_family = "wasm"))]
impl Optimizer {
    /// [`read_param`](Self::read_param), blocking.
    pub fn read_param_blocking(
        &self,
        queue: &wgpu::Queue,
        tensor: Tensor,
    ) -> Result<Vec<f32>, Error> {
        let param = self.stored_param(tensor)?;
        param.read_blocking(&self.setup.device, queue)
    }

    /// [`read_grad`](Self::read_grad), blocking.
    pub fn read_grad_blocking(
        &self,
        queue: &wgpu::Queue,
        tensor: Tensor,
    ) -> Result<Vec<f32>, Error> {
        let grad = self.stored_grad(tensor)?;
        grad.read_blocking(&self.setup.device, queue)
    }

    /// [`read_state`](Self::read_state), blocking.
    pub fn read_state_blocking(
        &self,
        queue: &wgpu::Queue,
        tensor: Tensor,
        slot: &str,
    ) -> Result<Vec<f32>, Error> {
        let state = self.stored_state(tensor, slot)?;
        state.read_blocking(&self.setup.device, queue)
    }
}
