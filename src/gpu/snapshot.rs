//! Training statistics, read from the device without stopping it.

use std::sync::Arc;

use super::{
    Optimizer,
    arrival::{Arrival, Outcome},
    owning::OwningDevice,
    records::{GroupStatsRecord, StatsRecord},
    setup::Setup,
};
#[cfg(not(target_family = "wasm"))]
use crate::buffer::{Waiting, wait_until};
use crate::{
    Error, GroupStats, Stats,
    buffer::guarded_now,
    progress::{Origin, Progress},
};

/// [`Stats`] on their way from the device.
///
/// They describe the moment in the encoder at which they were recorded. They arrive once the device
/// has got that far and something polls it. `queue.submit` polls, and so does `device.poll`.
#[derive(Debug)]
pub struct Snapshot {
    staging: wgpu::Buffer,
    /// Owns it.
    _device: Arc<OwningDevice>,
    arrival: Arrival,
    looks_at_gradients: bool,
    /// Where each group's step count started. If a snapshot comes before the first step of a count
    /// that was set, or that step's encoder was dropped, the device still has another.
    origins: Vec<Origin>,
}

impl Optimizer {
    /// Records a copy of the training statistics. You can read it once it arrives, while training
    /// goes on.
    ///
    /// ```
    /// # use wgpu_optim::{Clip, Gpu, GpuOptions, Layout, Optimizer, Options, rules::AdamW};
    /// # let Gpu { device, queue, .. } = Gpu::open_blocking(&GpuOptions::default())?;
    /// # let mut layout = Layout::new();
    /// # let group = layout.group(AdamW::default())?;
    /// # layout.tensor(group, "weight", &[2, 2])?;
    /// let options = Options { clip: Clip::GlobalNorm(1.0), ..Default::default() };
    /// let mut optimizer = Optimizer::new(&device, &layout, options)?;
    /// # let mut encoder = device.create_command_encoder(&Default::default());
    /// optimizer.step(&mut encoder)?;
    /// let snapshot = optimizer.snapshot(&mut encoder)?; // every hundredth step or so
    /// queue.submit([encoder.finish()]);
    /// // … some steps later …
    /// # device.poll(wgpu_optim::wgpu::PollType::wait_indefinitely()).unwrap();
    /// if let Some(stats) = snapshot.get()? {
    ///     println!("norm {:?}, {} steps skipped", stats.grad_norm, stats.skipped);
    /// }
    /// # assert_eq!(snapshot.get()?.unwrap().performed, 1);
    /// # Ok::<(), wgpu_optim::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::DeviceLost`].
    pub fn snapshot(&self, encoder: &mut wgpu::CommandEncoder) -> Result<Snapshot, Error> {
        self.snapshot_on(&OwningDevice::new(&self.setup.device), encoder)
    }

    /// A snapshot that `device` owns.
    pub(super) fn snapshot_on(
        &self,
        device: &Arc<OwningDevice>,
        encoder: &mut wgpu::CommandEncoder,
    ) -> Result<Snapshot, Error> {
        let Setup {
            begin_step,
            options,
            ..
        } = &self.setup;
        self.check_device("recording a snapshot")?;
        Snapshot::record(
            device,
            encoder,
            &begin_step.stats,
            options.skips(),
            self.progress.iter().map(Progress::origin).collect(),
            self.bound.clone(),
        )
    }
}

impl Snapshot {
    /// Where the statistics arrive.
    pub(super) fn buffer(&self) -> &wgpu::Buffer {
        &self.staging
    }

    /// `device` owns the copy, and `kept` what the encoder's commands use beside it.
    pub(super) fn record(
        device: &Arc<OwningDevice>,
        encoder: &mut wgpu::CommandEncoder,
        stats: &wgpu::Buffer,
        looks_at_gradients: bool,
        origins: Vec<Origin>,
        kept: Arc<OwningDevice>,
    ) -> Result<Self, Error> {
        let staging = guarded_now(device, "a snapshot of the statistics", || {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("snapshot"),
                size: stats.size(),
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        })?;
        encoder.copy_buffer_to_buffer(stats, 0, &staging, 0, stats.size());
        let arrival = Arrival::of(encoder, &staging, (device.clone(), kept));
        Ok(Self {
            staging,
            _device: device.clone(),
            arrival,
            looks_at_gradients,
            origins,
        })
    }

    /// The statistics, or `None` if they have not arrived yet.
    ///
    /// # Errors
    /// [`Error::DeviceLost`]; [`Error::Wgpu`] if their submission was refused, or if their encoder was
    /// dropped, so that they will never
    /// arrive.
    pub fn get(&self) -> Result<Option<Stats>, Error> {
        let lost = || Error::DeviceLost {
            during: "reading the statistics".to_owned(),
        };
        match self.arrival.outcome() {
            Outcome::Dropped => Err(Error::Wgpu {
                what: "to fetch the statistics".to_owned(),
                message: "their encoder was dropped, not submitted".to_owned(),
            }),
            Outcome::Pending => Ok(None),
            Outcome::Arrived => {
                let view = self.staging.get_mapped_range(..).map_err(|_| lost())?;
                let stats = self.read(&view).ok_or_else(|| Error::Wgpu {
                    what: "to fetch the statistics".to_owned(),
                    message: "their submission was refused".to_owned(),
                });
                stats.map(Some)
            }
            Outcome::Failed => Err(lost()),
        }
    }

    /// Waits for the statistics while others may go on submitting.
    #[cfg(not(target_family = "wasm"))]
    pub(super) fn wait(&self, device: &wgpu::Device) -> Result<Stats, Error> {
        let during = "what was recorded before a checkpoint";
        let arrived = wait_until(device, during, Waiting::Beside, || self.get().transpose())?;
        arrived.unwrap_or_else(|| {
            Err(Error::DeviceLost {
                during: during.to_owned(),
            })
        })
    }

    /// `None` if nothing was copied.
    fn read(&self, bytes: &[u8]) -> Option<Stats> {
        let (stats, groups) = bytes.split_at(size_of::<StatsRecord>());
        let stats: StatsRecord = bytemuck::pod_read_unaligned(stats);
        if stats.is_there == 0 {
            return None;
        }
        let groups = groups
            .chunks_exact(size_of::<GroupStatsRecord>())
            .zip(&self.origins)
            .map(|(group, &origin)| {
                let group: GroupStatsRecord = bytemuck::pod_read_unaligned(group);
                let [step_count, skipped] = group.counts(origin);
                GroupStats {
                    lr: f64::from(group.lr),
                    step_count,
                    skipped,
                    damping: f64::from(group.damping),
                    failures: u64::from(group.failures),
                    unsolved: u64::from(group.unsolved),
                }
            });
        let norm = || f64::from(stats.norm) * f64::from(stats.exponent).exp2();
        Some(Stats {
            grad_norm: (self.looks_at_gradients && stats.performed > 0).then(norm),
            clip_factor: f64::from(stats.clip_factor),
            loss_scale: f64::from(stats.loss_scale),
            good_steps: u64::from(stats.good_steps),
            performed: u64::from(stats.performed),
            skipped: u64::from(stats.skipped),
            groups: groups.collect(),
        })
    }
}
