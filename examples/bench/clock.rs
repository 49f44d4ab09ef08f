//! Times what the device does.

use std::time::Instant;

use anyhow::Result;
use wgpu_optim::{BufferRange, Gpu, read_blocking, wgpu};

use crate::statistics::Quartiles;

/// What timestamps need beside a device.
const NEEDED: wgpu::Features =
    wgpu::Features::TIMESTAMP_QUERY.union(wgpu::Features::TIMESTAMP_QUERY_INSIDE_ENCODERS);

/// Samples shorter than this are made of several steps.
const SHORTEST_MS: f64 = 1.0;
const MOST_REPETITIONS: f64 = 64.0;

/// Recordings that are timed.
const RECORDED: usize = 101;

/// Timestamp queries of the device; the wall clock around submitting and waiting where it has none.
pub struct Clock {
    gpu: Gpu,
    stamps: Option<Stamps>,
}

struct Stamps {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    nanoseconds_per_tick: f64,
}

/// `gpu`'s adapter once more, with timestamps if it has them.
pub fn with_timestamps(gpu: Gpu) -> Result<Gpu> {
    if !gpu.adapter.features().contains(NEEDED) {
        return Ok(gpu);
    }
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("bench"),
        required_features: NEEDED,
        required_limits: wgpu_optim::required_limits(&gpu.adapter),
        ..Default::default()
    };
    let (device, queue) = pollster::block_on(gpu.adapter.request_device(&descriptor))?;
    Ok(Gpu {
        device,
        queue,
        ..gpu
    })
}

impl Clock {
    pub fn new(gpu: &Gpu) -> Self {
        let stamps = gpu.device.features().contains(NEEDED).then(|| Stamps {
            queries: gpu.device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("clock"),
                ty: wgpu::QueryType::Timestamp,
                count: 2,
            }),
            resolved: gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("clock"),
                size: 16,
                usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            }),
            nanoseconds_per_tick: f64::from(gpu.queue.get_timestamp_period()),
        });
        Self {
            gpu: gpu.clone(),
            stamps,
        }
    }

    pub fn name(&self) -> &'static str {
        match self.stamps {
            Some(_) => "timestamp queries",
            None => "wall clock",
        }
    }

    /// How often to repeat what takes so many milliseconds, for a sample that the clock can tell.
    pub fn repetitions(&self, once: f64) -> usize {
        (SHORTEST_MS / once).clamp(1.0, MOST_REPETITIONS).ceil() as usize
    }

    /// Microseconds of the host's time that `record` takes.
    pub fn record(
        &self,
        mut record: impl FnMut(&mut wgpu::CommandEncoder) -> Result<()>,
    ) -> Result<f64> {
        let mut times = Vec::new();
        for _ in 0..RECORDED {
            let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
            let start = Instant::now();
            record(&mut encoder)?;
            times.push(1e6 * start.elapsed().as_secs_f64());
        }
        Ok(Quartiles::of(times).median)
    }

    /// Milliseconds that what `record` records takes. A browser's clock lets the page go on meanwhile; this
    /// one waits.
    pub async fn time(
        &self,
        record: impl FnOnce(&mut wgpu::CommandEncoder) -> Result<()>,
    ) -> Result<f64> {
        let Gpu { device, queue, .. } = &self.gpu;
        let mut encoder = device.create_command_encoder(&Default::default());
        let Some(stamps) = &self.stamps else {
            record(&mut encoder)?;
            let commands = encoder.finish();
            let start = Instant::now();
            queue.submit([commands]);
            device.poll(wgpu::PollType::wait_indefinitely())?;
            return Ok(1e3 * start.elapsed().as_secs_f64());
        };
        encoder.write_timestamp(&stamps.queries, 0);
        record(&mut encoder)?;
        encoder.write_timestamp(&stamps.queries, 1);
        encoder.resolve_query_set(&stamps.queries, 0..2, &stamps.resolved, 0);
        queue.submit([encoder.finish()]);
        let words = read_blocking(device, queue, &BufferRange::whole(&stamps.resolved))?;
        // Two u64, read as the f32 that buffers hold elsewhere: moved, never computed with.
        let ticks: Vec<u64> = words
            .chunks_exact(2)
            .map(|pair| u64::from(pair[0].to_bits()) | u64::from(pair[1].to_bits()) << 32)
            .collect();
        Ok(1e-6 * stamps.nanoseconds_per_tick * ticks[1].wrapping_sub(ticks[0]) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgpu_optim::GpuOptions;

    #[test]
    fn timestamps_and_the_wall_clock_agree() {
        let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
        let gpu = with_timestamps(gpu).unwrap();
        let stamped = Clock::new(&gpu);
        let wall = Clock {
            gpu: gpu.clone(),
            stamps: None,
        };
        let buffer = |_| {
            gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: 64 << 20,
                usage: wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        };
        let [from, to] = [0, 1].map(buffer);
        let fastest = |clock: &Clock| {
            let time = |_| {
                let copied = clock.time(|encoder| {
                    encoder.copy_buffer_to_buffer(&from, 0, &to, 0, None);
                    Ok(())
                });
                pollster::block_on(copied).unwrap()
            };
            (0..9).map(time).fold(f64::INFINITY, f64::min)
        };
        let [stamped, wall] = [&stamped, &wall].map(fastest);
        assert!(
            stamped < 3.0 * wall && wall < 3.0 * stamped,
            "{stamped} {wall}"
        );
    }
}
