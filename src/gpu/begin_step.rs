//! Brings a step's numbers to the device: the host side of `shaders/begin_step.wgsl`.

use super::{
    binding::{bind, entry, filled_buffer},
    pipelines::Pipelines,
    records::{
        COEFFICIENTS_BYTES, GroupStatsRecord, Guard, Recorded, STEP_STRIDE, StatsRecord, T_OFFSET,
    },
    staging::Staging,
};
use crate::{
    Error, Options,
    buffer::{guarded, guarded_now},
    progress::RING,
    shader,
};

/// The pipeline and the buffers of `begin_step.wgsl`.
#[derive(Debug)]
pub(super) struct BeginStep {
    pipeline: wgpu::ComputePipeline,
    /// Brings a row per group to `recorded`.
    staging: Staging,
    recorded: wgpu::Buffer,
    ring: wgpu::Buffer,
    /// WGSL's `Stats`.
    pub stats: wgpu::Buffer,
    /// One `Step` per group, [`STEP_STRIDE`] apart.
    pub steps: wgpu::Buffer,
    /// WGSL's `Guard`, if steps look at gradients.
    pub guard: Option<wgpu::Buffer>,
}

impl BeginStep {
    pub async fn new(
        device: &wgpu::Device,
        pipelines: &mut Pipelines,
        lrs: &[f64],
        options: &Options,
    ) -> Result<Self, Error> {
        let groups = lrs.len() as u64;
        let ring_bytes = groups * RING * COEFFICIENTS_BYTES;
        let allowed = device.limits().max_storage_buffer_binding_size;
        if ring_bytes > allowed {
            return Err(Error::Limit {
                what: format!("{groups} parameter groups"),
                needed: ring_bytes,
                limit: "max_storage_buffer_binding_size",
                allowed,
            });
        }
        let text = shader::begin_step(options.skips());
        let compiled = pipelines.get(device, "begin_step", &text, "main").await;
        let pipeline = compiled.map_err(|(error, _)| error)?;
        let made = guarded(device, "the buffers that begin a step", || {
            let storage = wgpu::BufferUsages::STORAGE;
            let buffer = |label, size, usage| {
                device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some(label),
                    size,
                    usage: usage | storage,
                    mapped_at_creation: false,
                })
            };
            let row = size_of::<Recorded>() as u64;
            let recorded = buffer("recorded", groups * row, wgpu::BufferUsages::COPY_DST);
            let ring = buffer("ring", ring_bytes, wgpu::BufferUsages::empty());
            let steps = buffer(
                "steps",
                groups * STEP_STRIDE,
                wgpu::BufferUsages::UNIFORM
                    | wgpu::BufferUsages::COPY_SRC
                    | wgpu::BufferUsages::COPY_DST,
            );
            let totals = StatsRecord {
                loss_scale: options.loss_scale.map_or(1.0, |scale| scale.init_scale) as f32,
                clip_factor: 1.0,
                ..StatsRecord::default()
            };
            let usage = storage | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
            let of_groups: Vec<_> = lrs
                .iter()
                .map(|&lr| GroupStatsRecord {
                    lr: lr as f32,
                    ..GroupStatsRecord::default()
                })
                .collect();
            let stats = [
                bytemuck::bytes_of(&totals),
                bytemuck::cast_slice(&of_groups),
            ];
            let stats = filled_buffer(device, "stats", usage, &stats.concat())?;
            let guard = options.skips().then(|| {
                let uniform = wgpu::BufferUsages::UNIFORM;
                let guard = Guard::of(options);
                filled_buffer(device, "guard", uniform, bytemuck::bytes_of(&guard))
            });
            let guard = guard.transpose()?;
            Ok(Self {
                pipeline,
                staging: Staging::new(recorded.size()),
                recorded,
                ring,
                stats,
                steps,
                guard,
            })
        });
        made.await?
    }

    /// What the shader binds: with a guard, `runs` of gradients and the `switches` of dispatches too.
    pub async fn bind(
        &self,
        device: &wgpu::Device,
        runs_and_switches: Option<(&wgpu::Buffer, &wgpu::Buffer)>,
    ) -> Result<wgpu::BindGroup, Error> {
        let mut buffers = vec![
            (0, &self.recorded),
            (1, &self.ring),
            (2, &self.stats),
            (3, &self.steps),
        ];
        if let (Some((runs, switches)), Some(guard)) = (runs_and_switches, &self.guard) {
            buffers.extend([(6, runs), (7, switches), (8, guard)]);
        }
        let entries: Vec<_> = buffers
            .into_iter()
            .map(|(binding, buffer)| entry(binding, buffer, 0, buffer.size()))
            .collect();
        guarded(device, "the bindings that begin a step", || {
            bind(device, &self.pipeline, "begin_step", &entries)
        })
        .await
    }

    /// Copies `rows`, one per group, to the device when the encoder's commands run: each step
    /// brings its own numbers, however many are recorded before a submission.
    pub fn upload(
        &self,
        device: &wgpu::Device,
        encoder: &mut wgpu::CommandEncoder,
        rows: &[Recorded],
    ) -> Result<(), Error> {
        let bytes = bytemuck::cast_slice(rows);
        self.staging.copy(device, encoder, bytes, &self.recorded)
    }

    pub fn dispatch(&self, pass: &mut wgpu::ComputePass<'_>, bind_group: &wgpu::BindGroup) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, bind_group, &[]);
        pass.dispatch_workgroups(1, 1, 1);
    }

    /// Copies a step count to where `group`'s shaders see it, before its next step does.
    pub fn upload_count(
        &self,
        device: &wgpu::Device,
        encoder: &mut wgpu::CommandEncoder,
        group: usize,
        count: u64,
    ) -> Result<(), Error> {
        let bytes = (count as u32).to_ne_bytes();
        let staging = guarded_now(device, "a step count", || {
            filled_buffer(device, "step count", wgpu::BufferUsages::COPY_SRC, &bytes)
        })??;
        let offset = group as u64 * STEP_STRIDE + T_OFFSET;
        let size = bytes.len() as u64;
        encoder.copy_buffer_to_buffer(&staging, 0, &self.steps, offset, size);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Average, BufferRange, Declaration, Gpu, GpuOptions, progress::Progress, read_blocking,
        rules::Adam,
    };

    /// What is recorded for step `n` of Adam at learning rate `lr`.
    fn recorded(lr: f64, n: u64, epoch: u32) -> Recorded {
        let rule = Adam::default();
        let mut progress = Progress::new(&rule);
        progress.set_step_count(n - 1).unwrap();
        progress.set_lr(&rule, lr).unwrap();
        progress.refreshed = n.is_multiple_of(2);
        let average = Some(Average {
            decay: 0.5,
            debias: true,
        });
        let options = Options {
            average,
            ..Default::default()
        };
        Recorded::new(progress.advance(&rule), &options, epoch)
    }

    struct Bench {
        gpu: Gpu,
        begin: BeginStep,
        bind_group: wgpu::BindGroup,
    }

    impl Bench {
        fn new() -> Self {
            let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
            let options = Options::default();
            let pipelines = &mut Pipelines::default();
            let begin = BeginStep::new(&gpu.device, pipelines, &[0.5; 2], &options);
            let begin = pollster::block_on(begin).unwrap();
            let bind_group = pollster::block_on(begin.bind(&gpu.device, None)).unwrap();
            Self {
                gpu,
                begin,
                bind_group,
            }
        }

        /// Group 0 has skipped that many steps in that epoch, group 1 none.
        fn skip(&self, skipped: u32, epoch: u32) {
            let group = GroupStatsRecord {
                skipped,
                epoch,
                ..Default::default()
            };
            let offset = size_of::<StatsRecord>() as u64;
            let bytes = bytemuck::bytes_of(&group);
            self.gpu
                .queue
                .write_buffer(&self.begin.stats, offset, bytes);
        }

        /// Runs all of `rows` in one submission and reads both groups' steps.
        fn run(&self, rows: impl IntoIterator<Item = [Recorded; 2]>) -> [Vec<f32>; 2] {
            let Gpu { device, queue, .. } = &self.gpu;
            let mut encoder = device.create_command_encoder(&Default::default());
            for rows in rows {
                self.begin.upload(device, &mut encoder, &rows).unwrap();
                let mut pass = encoder.begin_compute_pass(&Default::default());
                self.begin.dispatch(&mut pass, &self.bind_group);
            }
            queue.submit([encoder.finish()]);
            let range = BufferRange::whole(&self.begin.steps);
            let steps = read_blocking(device, queue, &range).unwrap();
            [steps[..12].to_vec(), steps[64..76].to_vec()]
        }
    }

    /// The words of a `Step` that was recorded as step `n`.
    fn expected(lr: f32, n: u64, t: u64) -> Vec<f32> {
        let at = Adam::default().at(t).map(|value| value as f32);
        let refreshed = if n.is_multiple_of(2) { 1.0 } else { 0.0 };
        let weight = crate::rule::pull(1.0 - 0.5 / (1.0 - 0.5f64.powf(t as f64)));
        let mut words = vec![lr, 0.0, 1.0, f32::from_bits(t as u32)];
        words.extend(at);
        words.extend([refreshed, weight as f32, 1.0, 0.0]);
        words
    }

    #[test]
    fn coefficients_follow_performed_steps_and_the_learning_rate_recorded_ones() {
        let bench = Bench::new();
        bench.skip(3, 1);
        let last = 300; // beyond the ring, which has wrapped
        let rows = (1..=last).map(|n| [recorded(1.0 / n as f64, n, 1); 2]);
        let steps = bench.run(rows);
        let lr = 1.0 / last as f32;
        assert_eq!(steps[0], expected(lr, last, last - 3));
        assert_eq!(steps[1], expected(lr, last, last));
    }

    #[test]
    fn beyond_the_ring_its_oldest_coefficients_have_to_do() {
        let bench = Bench::new();
        bench.skip(400, 1);
        let last = 1000;
        let rows = (1..=last).map(|n| [recorded(0.5, n, 1); 2]);
        let [step, _] = bench.run(rows);
        assert_eq!(u64::from(step[3].to_bits()), last - 400);
        assert_eq!(step[4..8], expected(0.5, last, last - (RING - 1))[4..8]);
    }

    #[test]
    fn a_step_count_that_is_set_anew_has_no_skipped_steps() {
        let bench = Bench::new();
        bench.skip(3, 1);
        let row = |n, epoch| [recorded(0.5, n, epoch); 2];
        let [step, _] = bench.run([row(10, 1), row(51, 2), row(52, 2)]);
        assert_eq!(step, expected(0.5, 52, 52));
    }

    #[test]
    fn a_resting_group_keeps_its_numbers() {
        let bench = Bench::new();
        let steps = bench.run([
            [recorded(0.5, 1, 1), recorded(0.5, 1, 1)],
            [recorded(0.25, 2, 1), Recorded::default()],
        ]);
        assert_eq!((steps[0][0], steps[1][0]), (0.25, 0.5));
    }
}
