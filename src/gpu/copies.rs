//! What lies beside the parameters: copies in 16 bits for forward passes, or what their own bits lack.

use super::{Optimizer, binding::SlotBuffer, step::compute_pass};
use crate::{BufferRange, Error, Tensor, buffer::Stored, format::Storage};

impl Optimizer {
    /// Where the copy of `tensor` in 16 bits lies ([`Formats::copy`](crate::Formats::copy)), for a
    /// forward pass to bind: two elements to a word. [`step`](Self::step), [`evaluate`](Self::evaluate) and
    /// [`train`](Self::train) keep it up to date, and so do [`write_param`](Self::write_param) and
    /// loading a checkpoint. After other writes to the parameters, record
    /// [`copy_params`](Self::copy_params).
    ///
    /// It is the range that you gave in [`Buffers::copies`](crate::Buffers::copies). Without one it is in a
    /// buffer of the optimizer's, has zeros behind an odd last element, and begins where every device can
    /// begin a binding.
    ///
    /// ```
    /// # use wgpu_optim::{Format, Formats, Gpu, GpuOptions, Layout, Optimizer, Options, rules::AdamW};
    /// # let Gpu { device, queue, .. } = Gpu::open_blocking(&GpuOptions::default())?;
    /// let mut layout = Layout::new();
    /// let formats = Formats { copy: Some(Format::F16), ..Default::default() };
    /// let group = layout.group_in(AdamW::default(), formats)?;
    /// let weight = layout.tensor(group, "weight", &[64, 32])?;
    /// let optimizer = Optimizer::new(&device, &layout, Options::default())?;
    /// let half_weight = optimizer.param_copy(weight)?;
    /// assert_eq!(half_weight.size, 2 * 64 * 32);
    /// # Ok::<(), wgpu_optim::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NoCopy`] if the tensor's group has none; [`Error::UnknownHandle`].
    pub fn param_copy(&self, tensor: Tensor) -> Result<BufferRange, Error> {
        match self.stored_copy(tensor)? {
            Some(copy) => {
                self.setup.device.give_away(&copy.range.buffer);
                Ok(copy.range)
            }
            None => Err(Error::NoCopy {
                tensor: self.setup.layout.entry(tensor)?.name.clone(),
            }),
        }
    }

    /// Records the copy of all parameters whose groups have one. It is needed once a caller's own ranges
    /// are bound, and after parameters were written by anything but this optimizer.
    ///
    /// Parameters that have more bits beside their bf16, as those in
    /// [`Format::Bf16Plus8`](crate::Format::Bf16Plus8) do, become the bf16 that was written: without this, each
    /// still has the other bits of what was there before.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::OutOfMemory`].
    pub fn copy_params(&self, encoder: &mut wgpu::CommandEncoder) -> Result<(), Error> {
        self.check_device("copying the parameters")?;
        self.kept_by(encoder)?;
        for (group, buffers) in self.setup.layout.groups().zip(&self.setup.groups) {
            let residual = self.setup.layout.storage(group).params.residual();
            if let Some(beside) = buffers.beside.as_ref().filter(|_| residual.is_some()) {
                encoder.clear_buffer(&beside.buffer, 0, None);
            }
        }
        self.record_copies(encoder);
        Ok(())
    }

    /// The encoder must keep what they use, or be submitted at once.
    pub(super) fn record_copies(&self, encoder: &mut wgpu::CommandEncoder) {
        let mut dispatches = self.passes.copy.iter().flatten().peekable();
        if dispatches.peek().is_some() {
            let mut pass = compute_pass(encoder, "copy of parameters");
            dispatches.for_each(|dispatch| dispatch.record(&mut pass));
        }
    }

    fn stored_copy(&self, tensor: Tensor) -> Result<Option<Stored>, Error> {
        let group = self.setup.layout.entry(tensor)?.group;
        match (
            self.setup.layout.storage(group).copy(),
            &self.copies[tensor.0],
        ) {
            (None, _) => Ok(None),
            (Some(_), None) => self.stored_beside(tensor),
            (Some(_), Some(callers)) => {
                let encoding = |storage: &Storage| storage.copy().unwrap_or_default();
                Ok(Some(self.stored(tensor, callers.clone(), encoding)?))
            }
        }
    }

    /// The copy, checked before anything is written.
    pub(super) fn writable_copy(&self, tensor: Tensor) -> Result<Option<Stored>, Error> {
        let copy = self.stored_copy(tensor)?;
        if let Some(copy) = &copy {
            let name = &self.setup.layout.entry(tensor)?.name;
            let what = format!("copy of {name:?}");
            copy.range.check(&what, wgpu::BufferUsages::COPY_DST)?;
        }
        Ok(copy)
    }

    /// Where the bits lie that the parameters of `tensor` lack, if they do.
    pub(super) fn residual(&self, tensor: Tensor) -> Result<Option<BufferRange>, Error> {
        let group = self.setup.layout.entry(tensor)?.group;
        match self.setup.layout.storage(group).params.residual() {
            Some(_) => Ok(self.stored_beside(tensor)?.map(|residual| residual.range)),
            None => Ok(None),
        }
    }

    fn stored_beside(&self, tensor: Tensor) -> Result<Option<Stored>, Error> {
        let entry = self.setup.layout.entry(tensor)?;
        let (group, count) = (entry.group.0, entry.element_count);
        let start = self.setup.arena.tensors[tensor.0] - self.setup.arena.groups[group].start;
        let beside = self.setup.groups[group].beside.as_ref();
        Ok(beside.map(|SlotBuffer { buffer, encoding }| Stored {
            range: BufferRange {
                buffer: buffer.clone(),
                offset: encoding.bytes(start as u64),
                size: encoding.range_bytes(count as u64),
            },
            encoding: *encoding,
            count,
            residual: None,
        }))
    }
}
