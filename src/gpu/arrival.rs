//! Whether a buffer that is to be read has come from the device.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering, fence},
};

/// A buffer that is mapped for reading once the encoder that fills it is submitted and has run.
#[derive(Debug)]
pub(super) struct Arrival(Arc<AtomicU8>);

/// What has become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Pending,
    Arrived,
    /// It could not be mapped.
    Failed,
    /// The encoder was dropped, so that it will never come.
    Dropped,
}

const PENDING: u8 = 0;
const ARRIVED: u8 = 1;
const FAILED: u8 = 2;

impl Arrival {
    /// Has `buffer` mapped once `encoder` is submitted. Until then the encoder has `kept`: whoever owns
    /// the buffers that its commands use.
    pub fn of(
        encoder: &wgpu::CommandEncoder,
        buffer: &wgpu::Buffer,
        kept: impl wgpu::WasmNotSend + 'static,
    ) -> Self {
        let state = Arc::new(AtomicU8::new(PENDING));
        let arrival = state.clone();
        encoder.map_buffer_on_submit(buffer, wgpu::MapMode::Read, .., move |result| {
            let outcome = if result.is_ok() { ARRIVED } else { FAILED };
            arrival.store(outcome, Ordering::Release);
            drop(kept);
        });
        Self(state)
    }

    pub fn outcome(&self) -> Outcome {
        // If the closure above no longer exists, the encoder was dropped, or it has just run.
        let is_gone = Arc::strong_count(&self.0) == 1;
        // What it did comes before its end.
        fence(Ordering::Acquire);
        match self.0.load(Ordering::Acquire) {
            ARRIVED => Outcome::Arrived,
            FAILED => Outcome::Failed,
            _ if is_gone => Outcome::Dropped,
            _ => Outcome::Pending,
        }
    }
}
