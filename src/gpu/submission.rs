//! When an encoder is submitted.

use std::sync::Arc;

use crate::{
    Error,
    buffer::{Own, guarded_now},
};

/// Drops things when an encoder is submitted, or is dropped itself. wgpu takes closures for the time
/// when the commands have run, and a browser calls those only once the program yields. But a mapping
/// that is requested at the submission, of a buffer that is mapped already, fails then and there.
#[derive(Debug)]
pub(super) struct Submission {
    /// Stays mapped.
    mapped: Arc<Own>,
}

impl Submission {
    pub fn new(device: &wgpu::Device) -> Result<Self, Error> {
        let mapped = guarded_now(device, "the mark of a submission", || {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("mark of a submission"),
                size: wgpu::COPY_BUFFER_ALIGNMENT,
                usage: wgpu::BufferUsages::MAP_WRITE,
                mapped_at_creation: true,
            })
        });
        Ok(Self {
            mapped: Arc::new(Own::new(mapped?)),
        })
    }

    /// Until `encoder` is submitted it has `kept`.
    pub fn drop_at(&self, encoder: &wgpu::CommandEncoder, kept: impl wgpu::WasmNotSend + 'static) {
        let mapped = self.mapped.clone();
        encoder.map_buffer_on_submit(&self.mapped, wgpu::MapMode::Write, .., move |_| {
            drop((mapped, kept));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Gpu, GpuOptions};

    #[test]
    fn what_an_encoder_has_is_dropped_in_the_submission() {
        let Gpu { device, queue, .. } = Gpu::open_blocking(&GpuOptions::default()).unwrap();
        let submission = Submission::new(&device).unwrap();
        let kept = Arc::new(());
        for _ in 0..2 {
            let encoders = [0, 1].map(|_| device.create_command_encoder(&Default::default()));
            for encoder in &encoders {
                submission.drop_at(encoder, kept.clone());
            }
            let [submitted, dropped] = encoders;
            assert_eq!(Arc::strong_count(&kept), 3);
            drop(dropped);
            assert_eq!(Arc::strong_count(&kept), 2);
            let commands = submitted.finish();
            assert_eq!(Arc::strong_count(&kept), 2);
            queue.submit([commands]);
            assert_eq!(Arc::strong_count(&kept), 1);
        }
    }
}
