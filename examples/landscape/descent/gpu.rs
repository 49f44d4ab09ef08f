//! The descent on the GPU: one dispatch for the gradients of all points, then the library's step,
//! with the positions of many steps read back at a time.

pub mod kernels;
#[cfg(test)]
pub mod probe;

use anyhow::{Result, ensure};
#[cfg(target_family = "wasm")]
use wgpu_optim::read;
#[cfg(not(target_family = "wasm"))]
use wgpu_optim::read_blocking;
use wgpu_optim::wgpu::{self, util::DeviceExt};
use wgpu_optim::{BufferRange, Group, Optimizer, Options};

use super::courses::{self, Course, Members, Rate};
use super::{Chunk, Frame, Plan};
use kernels::{CurvatureKernel, GradientKernel, NOWHERE};

/// Most bytes of positions that are read back at a time.
const MOST_BYTES: u64 = 16 << 20;

/// Most steps of a chunk.
const MOST_STEPS: u64 = 256;

/// Most updates of parameter groups in one submission: a driver may take seconds of work for a
/// device that hangs, and on the web a page stands still while they are recorded.
const MOST_UPDATES: u64 = if cfg!(target_family = "wasm") {
    1024
} else {
    16_384
};

/// From one step's numbers to the next one's: the largest alignment of a uniform's offset.
const MOMENT_STRIDE: u64 = 256;

pub struct OnGpu<'a> {
    plan: Plan<'a>,
    device: wgpu::Device,
    queue: wgpu::Queue,
    parts: Vec<Part>,
    gradient: GradientKernel,
    /// The numbers of each step of a chunk.
    moments: wgpu::Buffer,
    /// Of all points at the kept steps of a chunk.
    positions: wgpu::Buffer,
    points: usize,
    /// Kept steps that `positions` has room for.
    slots: u64,
    /// Steps of a chunk.
    most_steps: u64,
    done: u64,
}

/// Points that share an optimizer.
struct Part {
    optimizer: Optimizer,
    bindings: wgpu::BindGroup,
    workgroups: u32,
    /// Groups and their learning rates.
    rates: Vec<(Group, Rate)>,
    curvatures: Vec<CurvaturePass>,
}

/// What hands a group's rule its Hessians.
struct CurvaturePass {
    group: Group,
    pipeline: wgpu::ComputePipeline,
    bindings: wgpu::BindGroup,
    workgroups: u32,
}

/// A chunk that was submitted.
struct Submitted {
    done: u64,
    kept: Vec<u64>,
}

impl<'a> OnGpu<'a> {
    pub async fn new(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        mut plan: Plan<'a>,
    ) -> Result<Self> {
        let courses = courses::of(&mut plan)?;
        let groups: usize = courses.iter().map(|course| course.groups.len()).sum();
        let points: usize = courses.iter().map(|course| course.points().count()).sum();
        ensure!(points > 0, "There is no point to descend from.");
        let frame = 8 * points as u64;
        let slots = (MOST_BYTES / frame).clamp(1, MOST_STEPS);
        let buffer = |label, size, usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        use wgpu::BufferUsages as Usages;
        let moments = MOMENT_STRIDE * (MOST_STEPS + 1);
        let moments = buffer("moments", moments, Usages::UNIFORM | Usages::COPY_DST);
        let positions = slots * frame;
        let positions = buffer("positions", positions, Usages::STORAGE | Usages::COPY_SRC);
        let hessians = buffer("hessians", 2 * frame, Usages::STORAGE);
        let gradient = GradientKernel::new(device, plan.function);
        let mut parts = Vec::new();
        for course in &courses {
            let optimizer =
                Optimizer::new_async(device, &course.layout, Options::default()).await?;
            write_starts(queue, &optimizer, course)?;
            let buffers = [&hessians, &positions, &moments];
            let settings = kernels::CourseSettings {
                first: course.first as u32,
                count: course.points().count() as u32,
                all_points: points as u32,
                dimensions: plan.function.dimensions() as u32,
                seed: plan.noise.map_or(0, |noise| noise.seed),
                sigma: plan.noise.map_or(0.0, |noise| noise.sigma as f32),
            };
            let bindings = gradient.bind(device, &optimizer, course, settings, buffers)?;
            let mut curvatures = Vec::new();
            let mut first = course.first;
            for members in &course.groups {
                if members.curvature.is_some() {
                    curvatures.push(curvature_pass(
                        device, &plan, &optimizer, members, first, &hessians,
                    )?);
                }
                first += members.starts.len();
            }
            let rates = course
                .groups
                .iter()
                .map(|members| (members.group, members.rate.clone()));
            parts.push(Part {
                bindings,
                workgroups: kernels::workgroups(settings.count),
                rates: rates.collect(),
                curvatures,
                optimizer,
            });
        }
        Ok(Self {
            device: device.clone(),
            queue: queue.clone(),
            plan,
            parts,
            gradient,
            moments,
            positions,
            points,
            slots,
            most_steps: (MOST_UPDATES / groups as u64).clamp(1, MOST_STEPS),
            done: 0,
        })
    }

    /// Submits the next chunk of steps; None once no step is left.
    fn submit(&mut self) -> Result<Option<Submitted>> {
        if self.done == self.plan.steps {
            return Ok(None);
        }
        let mut kept = Vec::new();
        let mut numbers = Vec::new();
        let most = self.most_steps.min(self.plan.steps - self.done);
        // The gradient of the next step stands after each: the first step's has no other place.
        if self.done == 0 {
            self.push_moment(&mut numbers, 0, NOWHERE);
        }
        let first = self.done;
        while self.done < first + most && (kept.len() as u64) < self.slots {
            self.done += 1;
            let mut slot = NOWHERE;
            if self.plan.keeps(self.done) {
                slot = kept.len() as u32;
                kept.push(self.done);
            }
            self.push_moment(&mut numbers, self.done, slot);
        }
        self.queue.write_buffer(&self.moments, 0, &numbers);
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let mut moment = 0;
        if first == 0 {
            self.differentiate(&mut encoder, moment);
            moment += 1;
        }
        for step in first..self.done {
            self.step(&mut encoder, step)?;
            self.differentiate(&mut encoder, moment);
            moment += 1;
        }
        self.queue.submit([encoder.finish()]);
        Ok(Some(Submitted {
            done: self.done,
            kept,
        }))
    }

    /// The numbers of the gradient after `done` steps.
    fn push_moment(&self, numbers: &mut Vec<u8>, done: u64, slot: u32) {
        let end = numbers.len() + MOMENT_STRIDE as usize;
        numbers.extend_from_slice(bytemuck::cast_slice(&[done as u32 + 1, slot]));
        numbers.resize(end, 0);
    }

    /// Records the gradients at all points.
    fn differentiate(&self, encoder: &mut wgpu::CommandEncoder, moment: u32) {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        for part in &self.parts {
            pass.set_pipeline(&self.gradient.pipeline);
            pass.set_bind_group(0, &part.bindings, &[moment * MOMENT_STRIDE as u32]);
            pass.dispatch_workgroups(part.workgroups, 1, 1);
            for curvature in &part.curvatures {
                pass.set_pipeline(&curvature.pipeline);
                pass.set_bind_group(0, &curvature.bindings, &[]);
                pass.dispatch_workgroups(curvature.workgroups, 1, 1);
            }
        }
    }

    /// Records the update after `done` steps.
    fn step(&mut self, encoder: &mut wgpu::CommandEncoder, done: u64) -> Result<()> {
        for part in &mut self.parts {
            for (group, rate) in &part.rates {
                if let Some(lr) = rate.next(done) {
                    part.optimizer.set_lr(*group, lr)?;
                }
            }
            for curvature in &part.curvatures {
                part.optimizer.refresh(curvature.group)?;
            }
            part.optimizer.step(encoder)?;
        }
        Ok(())
    }

    fn range(&self, submitted: &Submitted) -> BufferRange {
        BufferRange {
            buffer: self.positions.clone(),
            offset: 0,
            size: 8 * (self.points * submitted.kept.len()) as u64,
        }
    }

    fn chunk(&self, submitted: Submitted, numbers: &[f32]) -> Chunk {
        let frames = numbers.chunks_exact(2 * self.points);
        let frames = submitted.kept.iter().zip(frames).map(|(&step, numbers)| {
            let positions = numbers.as_chunks::<2>().0.iter();
            Frame {
                step,
                positions: positions.map(|xy| xy.map(f64::from)).collect(),
            }
        });
        Chunk {
            done: submitted.done,
            frames: frames.collect(),
        }
    }

    /// [`advance`](super::Descent::advance) for the web.
    #[cfg(target_family = "wasm")]
    pub async fn advance_async(&mut self) -> Result<Option<Chunk>> {
        let Some(submitted) = self.submit()? else {
            return Ok(None);
        };
        let range = self.range(&submitted);
        let numbers = read(&self.device, &self.queue, &range).await?;
        Ok(Some(self.chunk(submitted, &numbers)))
    }
}

#[cfg(not(target_family = "wasm"))]
impl super::Descent for OnGpu<'_> {
    fn advance(&mut self) -> Result<Option<Chunk>> {
        let Some(submitted) = self.submit()? else {
            return Ok(None);
        };
        let range = self.range(&submitted);
        let numbers = read_blocking(&self.device, &self.queue, &range)?;
        Ok(Some(self.chunk(submitted, &numbers)))
    }
}

impl Drop for OnGpu<'_> {
    /// On the web a buffer that is dropped stays until the garbage collector comes.
    fn drop(&mut self) {
        self.moments.destroy();
        self.positions.destroy();
    }
}

/// All of a course at once: tensor by tensor, ten thousand points would be ten thousand writes.
fn write_starts(queue: &wgpu::Queue, optimizer: &Optimizer, course: &Course) -> Result<()> {
    let mut arena: Vec<f32> = Vec::new();
    let mut buffer = None;
    for (tensor, start) in course.points() {
        let range = optimizer.param(tensor)?;
        let first = (range.offset / 4) as usize;
        let count = range.element_count();
        if arena.len() < first + count {
            arena.resize(first + count, 0.0);
        }
        let start = start.map(|x| x as f32);
        arena[first..first + count].copy_from_slice(&start[..count]);
        buffer = Some(range.buffer);
    }
    if let Some(buffer) = buffer {
        queue.write_buffer(&buffer, 0, bytemuck::cast_slice(&arena));
    }
    Ok(())
}

/// What hands `members`, whose first point is `first` among all, the curvature that their rule takes.
fn curvature_pass(
    device: &wgpu::Device,
    plan: &Plan<'_>,
    optimizer: &Optimizer,
    members: &Members,
    first: usize,
    hessians: &wgpu::Buffer,
) -> Result<CurvaturePass> {
    let Some(curvature) = members.curvature else {
        anyhow::bail!("A rule that takes no curvature was to be given one.");
    };
    let ranges = members.tensors.iter();
    let ranges = ranges.map(|&tensor| optimizer.state(tensor, curvature.slot));
    let ranges: Vec<BufferRange> = ranges.collect::<Result<_, _>>()?;
    let offset = ranges[0].offset;
    let stride = ranges.get(1).map_or(0, |second| second.offset - offset);
    for (range, index) in ranges.iter().zip(0..) {
        ensure!(
            range.offset == offset + index * stride,
            "The library does not keep the {} of points at equal distances.",
            curvature.slot
        );
    }
    let settings = [
        first as u32,
        members.tensors.len() as u32,
        (offset / 4) as u32,
        (stride / 4) as u32,
        plan.function.dimensions() as u32,
        u32::from(curvature.whole),
        0,
        0,
    ];
    let settings = device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: Some("curvature"),
        contents: bytemuck::cast_slice(&settings),
        usage: wgpu::BufferUsages::UNIFORM,
    });
    let CurvatureKernel { pipeline } = CurvatureKernel::new(device);
    let bindings = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("curvature"),
        layout: &pipeline.get_bind_group_layout(0),
        entries: &kernels::entries([&settings, hessians, &ranges[0].buffer]),
    });
    Ok(CurvaturePass {
        group: members.group,
        pipeline,
        bindings,
        workgroups: kernels::workgroups(members.tensors.len() as u32),
    })
}
