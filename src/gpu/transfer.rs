//! Where tensors lie, and how to read and write them.

use super::{Optimizer, binding::SlotBuffer, group::GroupBuffers, setup::Setup};
use crate::{
    BufferRange, Error, Layout, Slot, Tensor, format::Format, layout::TensorEntry, read,
    rule::position_of, write,
};

impl Optimizer {
    /// The layout that the optimizer was made from.
    pub fn layout(&self) -> &Layout {
        &self.setup.layout
    }

    /// Where the parameters of `tensor` lie.
    ///
    /// # Errors
    /// [`Error::UnknownHandle`] for another layout's tensor, here and below.
    pub fn param(&self, tensor: Tensor) -> Result<BufferRange, Error> {
        self.setup.layout.entry(tensor)?;
        Ok(self.params[tensor.0].clone())
    }

    /// Where the gradient of `tensor` must be.
    ///
    /// # Errors
    /// [`Error::NoGradients`] if gradients are passed at each step.
    pub fn grad(&self, tensor: Tensor) -> Result<BufferRange, Error> {
        self.setup.layout.entry(tensor)?;
        let grads = self.grads.as_ref().ok_or(Error::NoGradients)?;
        Ok(grads[tensor.0].clone())
    }

    /// Where the state `slot` (such as `"exp_avg"`) of `tensor` lies.
    ///
    /// # Errors
    /// [`Error::UnknownState`] lists the slots that exist.
    pub fn state(&self, tensor: Tensor, slot: &str) -> Result<BufferRange, Error> {
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
            return Ok(BufferRange {
                buffer: table.buffer.clone(),
                offset: table.offset(in_group, position),
                size: Format::F32.bytes(1),
            });
        }
        if let (Some(names), Some(table)) = (rule.stages().lines, lines)
            && let Some([offset, size]) = table.range(&names, in_group, slot)
        {
            return Ok(BufferRange {
                buffer: table.buffer.clone(),
                offset,
                size,
            });
        }
        let pairs = matrix.as_ref().and_then(|matrix| matrix.pairs.as_ref());
        if let Some(pairs) = pairs.filter(|_| rule.pair_slot().is_some_and(|pair| named(&pair))) {
            let [offset, size] = pairs.range(in_group);
            return Ok(BufferRange {
                buffer: pairs.buffer.clone(),
                offset,
                size,
            });
        }
        let slots = options.element_slots(rule);
        let position = position_of(rule, &slots, slot)?;
        // Slots that are not in use have no buffer.
        let used = slots[..position].iter().filter(|slot| slot.used).count();
        let start = arena.tensors[tensor.0] - arena.groups[group.0].start;
        let SlotBuffer { buffer, format } = &state[used];
        Ok(BufferRange {
            buffer: buffer.clone(),
            offset: format.bytes(start as u64),
            size: format.bytes(element_count as u64),
        })
    }

    /// Writes the parameters of `tensor`, row-major. The write comes before everything that is
    /// submitted to `queue` afterwards.
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
        write(&self.setup.device, queue, &self.param(tensor)?, values)
    }

    /// Writes the gradient of `tensor`.
    pub fn write_grad(
        &self,
        queue: &wgpu::Queue,
        tensor: Tensor,
        values: &[f32],
    ) -> Result<(), Error> {
        write(&self.setup.device, queue, &self.grad(tensor)?, values)
    }

    /// Writes the state `slot` of `tensor`.
    pub fn write_state(
        &self,
        queue: &wgpu::Queue,
        tensor: Tensor,
        slot: &str,
        values: &[f32],
    ) -> Result<(), Error> {
        write(
            &self.setup.device,
            queue,
            &self.state(tensor, slot)?,
            values,
        )
    }

    /// Reads the parameters of `tensor`. Natively, something must poll the device meanwhile.
    ///
    /// # Errors
    /// [`Error::BufferRange`] if a caller's buffer lacks `COPY_SRC`; [`Error::OtherDevice`] for
    /// another device's queue; [`Error::DeviceLost`]; [`Error::OutOfMemory`]. The same holds for the
    /// other two.
    pub async fn read_param(&self, queue: &wgpu::Queue, tensor: Tensor) -> Result<Vec<f32>, Error> {
        read(&self.setup.device, queue, &self.param(tensor)?).await
    }

    /// Reads the gradient of `tensor`.
    pub async fn read_grad(&self, queue: &wgpu::Queue, tensor: Tensor) -> Result<Vec<f32>, Error> {
        read(&self.setup.device, queue, &self.grad(tensor)?).await
    }

    /// Reads the state `slot` of `tensor`.
    pub async fn read_state(
        &self,
        queue: &wgpu::Queue,
        tensor: Tensor,
        slot: &str,
    ) -> Result<Vec<f32>, Error> {
        read(&self.setup.device, queue, &self.state(tensor, slot)?).await
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
        crate::read_blocking(&self.setup.device, queue, &self.param(tensor)?)
    }

    /// [`read_grad`](Self::read_grad), blocking.
    pub fn read_grad_blocking(
        &self,
        queue: &wgpu::Queue,
        tensor: Tensor,
    ) -> Result<Vec<f32>, Error> {
        crate::read_blocking(&self.setup.device, queue, &self.grad(tensor)?)
    }

    /// [`read_state`](Self::read_state), blocking.
    pub fn read_state_blocking(
        &self,
        queue: &wgpu::Queue,
        tensor: Tensor,
        slot: &str,
    ) -> Result<Vec<f32>, Error> {
        crate::read_blocking(&self.setup.device, queue, &self.state(tensor, slot)?)
    }
}
