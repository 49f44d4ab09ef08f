//! Small buffers that carry numbers to the device in the encoder's own order, and are reused.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    Error,
    buffer::{Own, guarded_now},
};

/// How many buffers are kept for reuse. This suffices for the steps that are usually in flight. If
/// more steps are in flight, further buffers are made and then dropped.
const KEPT: usize = 64;

/// Buffers of one size that take turns. Making a buffer takes longer than all the rest of recording
/// a step. So each buffer comes back, mapped, once the device has run the commands that read it. If
/// the encoder is dropped, its buffer does not come back.
#[derive(Debug)]
pub(super) struct Staging {
    size: u64,
    /// Buffers that are free. They are mapped.
    free: Arc<Mutex<Vec<Own>>>,
}

impl Staging {
    pub fn new(size: u64) -> Self {
        Self {
            size,
            free: Arc::default(),
        }
    }

    /// Copies `bytes` to the start of `target` when the encoder's commands run. `bytes` must have
    /// the size of these buffers. Until the encoder is submitted it has `kept`: whoever owns the buffers
    /// that its commands use.
    pub fn copy(
        &self,
        device: &wgpu::Device,
        encoder: &mut wgpu::CommandEncoder,
        bytes: &[u8],
        target: &wgpu::Buffer,
        kept: impl wgpu::WasmNotSend + 'static,
    ) -> Result<(), Error> {
        let buffer = self.take(device)?;
        let mapped = buffer.get_mapped_range_mut(..);
        let mut view = mapped.map_err(|_| Error::DeviceLost {
            during: "recording a step".to_owned(),
        })?;
        view.copy_from_slice(bytes);
        drop(view);
        buffer.unmap();
        encoder.copy_buffer_to_buffer(&buffer, 0, target, 0, self.size);
        self.come_back(encoder, buffer, kept);
        Ok(())
    }

    /// Has the encoder keep `kept` until it is submitted, and copies nothing.
    pub fn keep(
        &self,
        device: &wgpu::Device,
        encoder: &wgpu::CommandEncoder,
        kept: impl wgpu::WasmNotSend + 'static,
    ) -> Result<(), Error> {
        // In a browser, only a mapping takes a closure over buffers.
        let buffer = self.take(device)?;
        buffer.unmap();
        self.come_back(encoder, buffer, kept);
        Ok(())
    }

    /// A buffer that is mapped.
    fn take(&self, device: &wgpu::Device) -> Result<Own, Error> {
        let free = lock(&self.free).pop();
        free.map_or_else(|| self.make(device), Ok)
    }

    /// Has `buffer` mapped once the encoder's commands have run.
    fn come_back(
        &self,
        encoder: &wgpu::CommandEncoder,
        buffer: Own,
        kept: impl wgpu::WasmNotSend + 'static,
    ) {
        let (free, mapped) = (self.free.clone(), wgpu::Buffer::clone(&buffer));
        encoder.map_buffer_on_submit(&mapped, wgpu::MapMode::Write, .., move |result| {
            drop(kept);
            let mut free = lock(&free);
            if result.is_ok() && free.len() < KEPT {
                free.push(buffer);
            }
        });
    }

    fn make(&self, device: &wgpu::Device) -> Result<Own, Error> {
        guarded_now(device, "the numbers of a step", || {
            Own::new(device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("numbers of a step"),
                size: self.size,
                usage: wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: true,
            }))
        })
    }
}

/// A poisoned lock is fine: nothing is ever half done under it.
fn lock(free: &Mutex<Vec<Own>>) -> MutexGuard<'_, Vec<Own>> {
    free.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BufferRange, Gpu, GpuOptions, read_blocking};

    #[test]
    fn buffers_come_back_once_their_commands_have_run() {
        let Gpu { device, queue, .. } = Gpu::open_blocking(&GpuOptions::default()).unwrap();
        let target = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 4,
            usage: wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let staging = Staging::new(4);
        let record = |values: std::ops::Range<u16>| {
            let mut encoder = device.create_command_encoder(&Default::default());
            for value in values {
                let bytes = f32::from(value).to_ne_bytes();
                let copied = staging.copy(&device, &mut encoder, &bytes, &target, ());
                copied.unwrap();
            }
            encoder
        };
        let submit = |encoder: wgpu::CommandEncoder| {
            queue.submit([encoder.finish()]);
            let found = read_blocking(&device, &queue, &BufferRange::whole(&target));
            (found.unwrap()[0], lock(&staging.free).len())
        };
        let three = record(0..3);
        assert_eq!(lock(&staging.free).len(), 0, "they are under way");
        assert_eq!(submit(three), (2.0, 3));
        assert_eq!(submit(record(3..6)), (5.0, 3), "the same three");
        drop(record(6..7));
        assert_eq!(submit(record(7..8)), (7.0, 2), "one was in no submission");
        assert_eq!(submit(record(0..100)), (99.0, KEPT));
    }
}
