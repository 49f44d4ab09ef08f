//! What a browser has to time a device with: the page's clock, from handing work over to hearing that it is
//! done. Browsers make both coarse, so samples are long.

use anyhow::Result;
use trainer::clock::Instant;
use trainer::network::gpu::finished;
use wgpu_optim::{Gpu, wgpu};

use crate::statistics::Quartiles;

/// Samples are at least as long as so many of the clock's ticks, as so many ways to the device and back, and
/// as so many milliseconds.
const TICKS: f64 = 100.0;
const ROUND_TRIPS: f64 = 20.0;
const SHORTEST_MS: f64 = 10.0;
/// And no longer than it takes to lose patience.
const LONGEST_MS: f64 = 200.0;
const MOST_REPETITIONS: f64 = 1024.0;

/// What the clock itself is measured by.
const CHANGES: usize = 20;
const TRIPS: usize = 15;

/// Recordings that are timed, as one.
const RECORDED: usize = 101;

/// The wall clock around submitting and hearing that it is done.
pub struct Clock {
    gpu: Gpu,
    /// Between two readings that differ, in milliseconds.
    pub tick_ms: f64,
    /// What the device takes to answer where there is nothing to do.
    pub round_trip_ms: f64,
}

impl Clock {
    /// Measured on the spot.
    pub async fn measured(gpu: &Gpu) -> Result<Self> {
        let mut clock = Self {
            gpu: gpu.clone(),
            tick_ms: tick(),
            round_trip_ms: 0.0,
        };
        let mut trips = Vec::new();
        for _ in 0..TRIPS {
            trips.push(clock.time(|_| Ok(())).await?);
        }
        clock.round_trip_ms = Quartiles::of(trips).median;
        Ok(clock)
    }

    pub fn name(&self) -> &'static str {
        "wall clock"
    }

    /// Of a sample, at least.
    pub fn sample_ms(&self) -> f64 {
        let least = (TICKS * self.tick_ms).max(ROUND_TRIPS * self.round_trip_ms);
        least.clamp(SHORTEST_MS, LONGEST_MS)
    }

    /// How often to repeat what takes so many milliseconds, for a sample that the clock can tell.
    pub fn repetitions(&self, once: f64) -> usize {
        let once = once.max(f64::MIN_POSITIVE);
        (self.sample_ms() / once)
            .clamp(1.0, MOST_REPETITIONS)
            .ceil() as usize
    }

    /// Microseconds of the host's time that `record` takes, the mean of many.
    pub fn record(
        &self,
        mut record: impl FnMut(&mut wgpu::CommandEncoder) -> Result<()>,
    ) -> Result<f64> {
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        let start = Instant::now();
        for _ in 0..RECORDED {
            record(&mut encoder)?;
        }
        Ok(1e6 * start.elapsed().as_secs_f64() / RECORDED as f64)
    }

    /// Milliseconds that what `record` records takes.
    pub async fn time(
        &self,
        record: impl FnOnce(&mut wgpu::CommandEncoder) -> Result<()>,
    ) -> Result<f64> {
        let Gpu { device, queue, .. } = &self.gpu;
        let mut encoder = device.create_command_encoder(&Default::default());
        record(&mut encoder)?;
        let commands = encoder.finish();
        let start = Instant::now();
        queue.submit([commands]);
        finished(&self.gpu).await?;
        Ok(1e3 * start.elapsed().as_secs_f64())
    }
}

/// The least difference between two readings, in milliseconds.
fn tick() -> f64 {
    let mut least = f64::INFINITY;
    for _ in 0..CHANGES {
        let start = Instant::now();
        let mut passed = start.elapsed();
        while passed.is_zero() {
            passed = start.elapsed();
        }
        least = least.min(1e3 * passed.as_secs_f64());
    }
    least
}
