//! Brings a step's numbers to the device: the host side of `shaders/begin_step.wgsl`.

use bytemuck::{Pod, Zeroable};

use crate::{
    Error,
    buffer::{guarded, guarded_now},
    cpu::Step,
    shader,
};

/// Bytes from one group's `Step` to the next: an offset that every device can bind a uniform at.
pub(super) const STEP_STRIDE: u64 = 256;

/// Bytes of a WGSL `Step`.
pub(super) const STEP_BYTES: u64 = 48;

/// Rows that the device keeps per group, as in the shader.
const RING: u64 = 256;

/// WGSL's `Recorded`: what the host knows of one group's step. The default is a group that rests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Recorded {
    at: [f32; 4],
    lr: f32,
    decay: f32,
    grad_scale: f32,
    n: u32,
    refreshed: f32,
    /// WGSL rounds up to the alignment of `at`.
    padding: [u32; 3],
}

impl From<Step<f64>> for Recorded {
    /// The numbers of a step if none before it was skipped.
    fn from(step: Step<f64>) -> Self {
        let step: Step<f32> = step.rounded();
        Self {
            at: step.at,
            lr: step.lr,
            decay: step.decay,
            grad_scale: step.grad_scale,
            // Only differences and remainders by a power of two are taken of it, so it may wrap;
            // but 0 would say that the group rests.
            n: (step.t as u32).max(1),
            refreshed: step.refreshed,
            padding: [0; 3],
        }
    }
}

/// The pipeline and the buffers of `begin_step.wgsl`.
#[derive(Debug)]
pub(super) struct BeginStep {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    recorded: wgpu::Buffer,
    /// Steps that each group has skipped, as u32.
    #[cfg_attr(not(test), expect(dead_code, reason = "nothing skips yet"))]
    skipped: wgpu::Buffer,
    /// One `Step` per group, [`STEP_STRIDE`] apart.
    pub steps: wgpu::Buffer,
}

impl BeginStep {
    pub async fn new(device: &wgpu::Device, group_count: usize) -> Result<Self, Error> {
        let groups = group_count as u64;
        let ring_bytes = groups * RING * 16;
        let allowed = device.limits().max_storage_buffer_binding_size;
        if ring_bytes > allowed {
            return Err(Error::Limit {
                what: format!("{group_count} parameter groups"),
                needed: ring_bytes,
                limit: "max_storage_buffer_binding_size",
                allowed,
            });
        }
        guarded(device, "the shader that begins a step", || {
            let buffer = |label, size, usage| {
                device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some(label),
                    size,
                    usage: usage | wgpu::BufferUsages::STORAGE,
                    mapped_at_creation: false,
                })
            };
            let row = size_of::<Recorded>() as u64;
            let recorded = buffer("recorded", groups * row, wgpu::BufferUsages::COPY_DST);
            let ring = buffer("ring", ring_bytes, wgpu::BufferUsages::empty());
            let skipped = buffer("skipped", groups * 4, wgpu::BufferUsages::COPY_DST);
            let steps = buffer(
                "steps",
                groups * STEP_STRIDE,
                wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_SRC,
            );
            let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some("begin_step"),
                source: wgpu::ShaderSource::Wgsl(shader::begin_step().into()),
            });
            let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some("begin_step"),
                layout: None,
                module: &module,
                entry_point: Some("main"),
                compilation_options: Default::default(),
                cache: None,
            });
            let buffers = [&recorded, &ring, &skipped, &steps];
            let entries: Vec<_> = (0..)
                .zip(buffers)
                .map(|(binding, buffer)| wgpu::BindGroupEntry {
                    binding,
                    resource: buffer.as_entire_binding(),
                })
                .collect();
            let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("begin_step"),
                layout: &pipeline.get_bind_group_layout(0),
                entries: &entries,
            });
            Self {
                pipeline,
                bind_group,
                recorded,
                skipped,
                steps,
            }
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
        let bytes: &[u8] = bytemuck::cast_slice(rows);
        let size = bytes.len() as u64;
        let staging = guarded_now(device, "the numbers of a step", || {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("numbers of a step"),
                size,
                usage: wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: true,
            })
        })?;
        let mapped = staging.get_mapped_range_mut(..);
        let mut view = mapped.map_err(|_| Error::DeviceLost {
            during: "recording a step".to_owned(),
        })?;
        view.copy_from_slice(bytes);
        drop(view);
        staging.unmap();
        encoder.copy_buffer_to_buffer(&staging, 0, &self.recorded, 0, size);
        Ok(())
    }

    pub fn dispatch(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.dispatch_workgroups(1, 1, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        BufferRange, Gpu, GpuOptions, Rule, progress::Progress, read_blocking, rules::Adam,
    };

    /// What is recorded for step `n` of Adam at learning rate `lr`.
    fn recorded(lr: f64, n: u64) -> Recorded {
        let rule = Adam::default();
        let mut progress = Progress::new(&rule);
        progress.set_step_count(n - 1).unwrap();
        progress.set_lr(&rule, lr).unwrap();
        progress.refreshed = n.is_multiple_of(2);
        progress.advance(&rule).into()
    }

    fn step_of(words: &[f32]) -> Step<f32> {
        Step {
            lr: words[0],
            decay: words[1],
            grad_scale: words[2],
            t: u64::from(words[3].to_bits()),
            at: [words[4], words[5], words[6], words[7]],
            refreshed: words[8],
        }
    }

    #[test]
    fn coefficients_follow_performed_steps_and_the_learning_rate_recorded_ones() {
        let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
        let begin = pollster::block_on(BeginStep::new(&gpu.device, 2)).unwrap();
        let rule = Adam::default();
        // Group 0 skipped three steps, group 1 none.
        gpu.queue
            .write_buffer(&begin.skipped, 0, bytemuck::cast_slice(&[3u32, 0]));
        let last = 300; // beyond the ring, which has wrapped
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        for n in 1..=last {
            let lr = 1.0 / n as f64;
            let row = recorded(lr, n);
            begin
                .upload(&gpu.device, &mut encoder, &[row, row])
                .unwrap();
            let mut pass = encoder.begin_compute_pass(&Default::default());
            begin.dispatch(&mut pass);
        }
        gpu.queue.submit([encoder.finish()]);
        let range = BufferRange::whole(&begin.steps);
        let steps = read_blocking(&gpu.device, &gpu.queue, &range).unwrap();
        for (group, t) in [(0, last - 3), (1, last)] {
            let step: Step<f32> = step_of(&steps[group * 64..]);
            let (lr, at) = (1.0 / last as f32, rule.at(t).map(|value| value as f32));
            let expected = Step {
                lr,
                decay: 0.0,
                grad_scale: 1.0,
                t,
                at,
                refreshed: 1.0,
            };
            assert_eq!(step, expected, "group {group}");
        }
    }

    #[test]
    fn rows_lie_as_the_shader_reads_them() {
        let module = naga::front::wgsl::parse_str(&shader::begin_step()).unwrap();
        let size_of_struct = |name: &str| {
            let found = module
                .types
                .iter()
                .find(|(_, ty)| ty.name.as_deref() == Some(name));
            match &found.unwrap().1.inner {
                naga::TypeInner::Struct { members, span } => {
                    let offsets = members.iter().map(|m| (m.name.clone().unwrap(), m.offset));
                    (offsets.collect::<Vec<_>>(), u64::from(*span))
                }
                _ => panic!("{name} is no struct"),
            }
        };
        let (recorded, size) = size_of_struct("Recorded");
        assert_eq!(size, size_of::<Recorded>() as u64);
        let of_host = [
            ("at", std::mem::offset_of!(Recorded, at)),
            ("lr", std::mem::offset_of!(Recorded, lr)),
            ("decay", std::mem::offset_of!(Recorded, decay)),
            ("grad_scale", std::mem::offset_of!(Recorded, grad_scale)),
            ("n", std::mem::offset_of!(Recorded, n)),
            ("refreshed", std::mem::offset_of!(Recorded, refreshed)),
        ];
        assert_eq!(
            recorded,
            of_host.map(|(name, at)| (name.to_owned(), at as u32))
        );
        assert_eq!(size_of_struct("Step").1, STEP_BYTES);
        assert_eq!(size_of_struct("StepSlot").1, STEP_STRIDE);
        assert!(shader::begin_step().contains(&format!("const RING: u32 = {RING}u;")));
    }

    #[test]
    fn a_resting_group_keeps_its_numbers() {
        let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
        let begin = pollster::block_on(BeginStep::new(&gpu.device, 2)).unwrap();
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        let rows = [
            [recorded(0.5, 1), recorded(0.5, 1)],
            [recorded(0.25, 2), Recorded::default()],
        ];
        for rows in rows {
            begin.upload(&gpu.device, &mut encoder, &rows).unwrap();
            let mut pass = encoder.begin_compute_pass(&Default::default());
            begin.dispatch(&mut pass);
        }
        gpu.queue.submit([encoder.finish()]);
        let range = BufferRange::whole(&begin.steps);
        let steps = read_blocking(&gpu.device, &gpu.queue, &range).unwrap();
        assert_eq!((steps[0], steps[64]), (0.25, 0.5));
    }
}
