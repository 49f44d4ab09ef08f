//! Small buffers that carry numbers to the device in the encoder's own order, and are reused.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::submission::Submission;
use crate::{
    Error,
    buffer::{Own, guarded_now},
};

/// How many buffers take turns. This suffices for the steps that are usually in flight.
const KEPT: usize = 64;

/// Buffers of one size that take turns. Making a buffer takes longer than all the rest of recording
/// a step. So each buffer comes back, mapped, once the device has run the commands that read it. If
/// the encoder is dropped, its buffer does not come back.
///
/// In a browser, buffers come back only to a program that yields. While [`KEPT`] are under way, further
/// ones are made and destroyed at the submission, so no more than those stay, however many steps are
/// recorded and submitted meanwhile.
#[derive(Debug)]
pub(super) struct Staging {
    size: u64,
    turns: Arc<Mutex<Turns>>,
    /// Says when an encoder is submitted. It is made when it is first needed.
    submission: OnceLock<Submission>,
}

#[derive(Debug, Default)]
struct Turns {
    /// They are mapped.
    free: Vec<Own>,
    /// How many will come back, unless their encoders are dropped.
    under_way: usize,
}

impl Staging {
    pub fn new(size: u64) -> Self {
        Self {
            size,
            turns: Arc::default(),
            submission: OnceLock::new(),
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
        let (buffer, way) = self.take(device)?;
        let mapped = buffer.get_mapped_range_mut(..);
        let mut view = mapped.map_err(|_| Error::DeviceLost {
            during: "recording a step".to_owned(),
        })?;
        view.copy_from_slice(bytes);
        drop(view);
        buffer.unmap();
        encoder.copy_buffer_to_buffer(&buffer, 0, target, 0, self.size);
        match way {
            Way::Back(turn) => turn.come_back(encoder, buffer, kept),
            Way::Out(submission) => submission.drop_at(encoder, (buffer, kept)),
        }
        Ok(())
    }

    /// Has the encoder keep `kept` until it is submitted, and copies nothing.
    pub fn keep(
        &self,
        device: &wgpu::Device,
        encoder: &wgpu::CommandEncoder,
        kept: impl wgpu::WasmNotSend + 'static,
    ) -> Result<(), Error> {
        self.submission(device)?.drop_at(encoder, kept);
        Ok(())
    }

    /// A buffer that is mapped, and where it goes.
    fn take(&self, device: &wgpu::Device) -> Result<(Own, Way<'_>), Error> {
        let (free, turn) = {
            let mut turns = lock(&self.turns);
            let has_turn = turns.under_way < KEPT;
            turns.under_way += usize::from(has_turn);
            let turn = has_turn.then(|| Turn(self.turns.clone()));
            (turns.free.pop(), turn)
        };
        let way = match turn {
            Some(turn) => Way::Back(turn),
            None => Way::Out(self.submission(device)?),
        };
        let buffer = free.map_or_else(|| self.make(device), Ok)?;
        Ok((buffer, way))
    }

    fn submission(&self, device: &wgpu::Device) -> Result<&Submission, Error> {
        if self.submission.get().is_none() {
            // If another thread sets it first, that one is as good.
            let _ = self.submission.set(Submission::new(device)?);
        }
        self.submission.get().ok_or_else(|| Error::DeviceLost {
            during: "recording a step".to_owned(),
        })
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

/// Where a buffer goes once it is recorded.
enum Way<'a> {
    /// Back, to be used again.
    Back(Turn),
    /// It is destroyed at the submission.
    Out(&'a Submission),
}

/// A buffer's turn. It ends when this is dropped.
#[derive(Debug)]
struct Turn(Arc<Mutex<Turns>>);

impl Turn {
    /// Has `buffer` mapped once the encoder's commands have run.
    fn come_back(
        self,
        encoder: &wgpu::CommandEncoder,
        buffer: Own,
        kept: impl wgpu::WasmNotSend + 'static,
    ) {
        let mapped = wgpu::Buffer::clone(&buffer);
        encoder.map_buffer_on_submit(&mapped, wgpu::MapMode::Write, .., move |result| {
            drop(kept);
            if result.is_ok() {
                lock(&self.0).free.push(buffer);
            }
        });
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        lock(&self.0).under_way -= 1;
    }
}

/// A poisoned lock is fine: nothing is ever half done under it.
fn lock(turns: &Mutex<Turns>) -> MutexGuard<'_, Turns> {
    turns.lock().unwrap_or_else(PoisonError::into_inner)
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
            (found.unwrap()[0], lock(&staging.turns).free.len())
        };
        let three = record(0..3);
        assert_eq!(lock(&staging.turns).free.len(), 0, "they are under way");
        assert_eq!(submit(three), (2.0, 3));
        assert_eq!(submit(record(3..6)), (5.0, 3), "the same three");
        drop(record(6..7));
        assert_eq!(submit(record(7..8)), (7.0, 2), "one was in no submission");
        assert_eq!(submit(record(0..100)), (99.0, KEPT));
    }
    #[test]
    fn what_has_no_turn_is_gone_once_it_is_submitted() {
        let Gpu { device, queue, .. } = Gpu::open_blocking(&GpuOptions::default()).unwrap();
        let target = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 4,
            usage: wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let staging = Staging::new(4);
        let mut encoder = device.create_command_encoder(&Default::default());
        let kept = Arc::new(());
        for _ in 0..3 * KEPT {
            let copied = staging.copy(&device, &mut encoder, &[0; 4], &target, kept.clone());
            copied.unwrap();
        }
        assert_eq!(Arc::strong_count(&kept), 1 + 3 * KEPT);
        assert_eq!(lock(&staging.turns).under_way, KEPT);
        queue.submit([encoder.finish()]);
        // Some of the others may have come back already.
        assert!(Arc::strong_count(&kept) <= 1 + KEPT);
        device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        let turns = lock(&staging.turns);
        assert_eq!((turns.free.len(), turns.under_way), (KEPT, 0));
        assert_eq!(Arc::strong_count(&kept), 1);
    }
}
