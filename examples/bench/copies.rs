//! Shaders that do nothing but move memory: the ceiling of an update that moves as much.

use std::fmt;
use std::ops::Deref;

use anyhow::Result;
use wgpu_optim::{Gpu, wgpu};

use crate::clock::Clock;
use crate::statistics::Quartiles;
use crate::streams::Streams;

/// How a copy shader goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Neighbouring f32 that move at once: 1 or 4.
    width: usize,
    workgroup: usize,
    /// How many times each thread moves.
    per_thread: usize,
}

/// What is tried: workgroup sizes, elements per thread, quads and scalars.
pub const SHAPES: [Shape; 8] = [
    Shape::new(4, 64, 1),
    Shape::new(4, 128, 1),
    Shape::new(4, 256, 1),
    Shape::new(4, 64, 4),
    Shape::new(4, 256, 2),
    Shape::new(4, 256, 4),
    Shape::new(1, 256, 1),
    Shape::new(1, 256, 4),
];

/// All of [`SHAPES`] divide it.
const BLOCK: usize = 4096;

/// Rounds of the contest between shapes.
const CONTEST_ROUNDS: usize = 7;

impl Shape {
    const fn new(width: usize, workgroup: usize, per_thread: usize) -> Self {
        Self {
            width,
            workgroup,
            per_thread,
        }
    }

    /// The shader. What is read and not written is added to what is written; the rest changes
    /// places, or a compiler might see that nothing is to be done.
    fn text(self, streams: Streams, folded: bool) -> String {
        let Streams { reads, writes, .. } = streams;
        let Self {
            width,
            workgroup,
            per_thread,
        } = self;
        let mut text = String::new();
        let element = ["f32", "vec4<f32>"][usize::from(width == 4)];
        for array in 0..reads {
            let access = ["read", "read_write"][usize::from(array < writes)];
            text += &format!(
                "@group(0) @binding({array}) var<storage, {access}> a{array}: array<{element}>;\n"
            );
        }
        let row = ["group.x", "(group.y * 65535u + group.x)"][usize::from(folded)];
        text += &format!(
            "@compute @workgroup_size({workgroup})\nfn main(\n    @builtin(workgroup_id) group: vec3<u32>,\n    @builtin(local_invocation_index) lane: u32,\n) {{\n"
        );
        for turn in 0..per_thread {
            text += &format!(
                "    let i{turn} = ({row} * {per_thread}u + {turn}u) * {workgroup}u + lane;\n"
            );
            for array in 0..reads {
                text += &format!("    let x{array}_{turn} = a{array}[i{turn}];\n");
            }
        }
        for turn in 0..per_thread {
            for array in 0..writes {
                let mut value = format!("x{}_{turn}", (array + 1) % writes);
                if array == 0 {
                    for other in writes..reads {
                        value += &format!(" + x{other}_{turn}");
                    }
                }
                text += &format!("    a{array}[i{turn}] = {value};\n");
            }
        }
        text + "}\n"
    }

    fn groups(self, elements: usize) -> u32 {
        elements.div_ceil(self.width * self.workgroup * self.per_thread) as u32
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            width,
            workgroup,
            per_thread,
        } = self;
        let text = match width {
            4 => format!("vec4 × {per_thread}, {workgroup} threads"),
            _ => format!("f32 × {per_thread}, {workgroup} threads"),
        };
        f.pad(&text)
    }
}

/// A copy, ready to run.
pub struct Copy {
    pub shape: Shape,
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    grid: [u32; 2],
}

impl Copy {
    /// Over [`arrays`] of `elements`.
    pub fn new(
        gpu: &Gpu,
        shape: Shape,
        streams: Streams,
        arrays: &[wgpu::Buffer],
        elements: usize,
    ) -> Self {
        let groups = shape.groups(elements);
        let folded = groups > 65_535;
        let text = shape.text(streams, folded);
        let module = gpu
            .device
            .create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some("copy"),
                source: wgpu::ShaderSource::Wgsl(text.into()),
            });
        let descriptor = wgpu::ComputePipelineDescriptor {
            label: Some("copy"),
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: Default::default(),
            cache: None,
        };
        let pipeline = gpu.device.create_compute_pipeline(&descriptor);
        let entries: Vec<_> = arrays
            .iter()
            .enumerate()
            .map(|(binding, array)| wgpu::BindGroupEntry {
                binding: binding as u32,
                resource: array.as_entire_binding(),
            })
            .collect();
        let bind_group = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("copy"),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        let grid = match folded {
            true => [65_535, groups.div_ceil(65_535)],
            false => [groups, 1],
        };
        Self {
            shape,
            pipeline,
            bind_group,
            grid,
        }
    }

    pub fn record(&self, encoder: &mut wgpu::CommandEncoder) {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.dispatch_workgroups(self.grid[0], self.grid[1], 1);
    }

    /// Milliseconds of `repetitions`.
    pub async fn time(&self, clock: &Clock, repetitions: usize) -> Result<f64> {
        let record = |encoder: &mut wgpu::CommandEncoder| {
            (0..repetitions).for_each(|_| self.record(encoder));
            Ok(())
        };
        clock.time(record).await
    }
}

/// What is copied, and destroyed at the end: a browser would keep it.
pub struct Arrays(Vec<wgpu::Buffer>);

impl Drop for Arrays {
    fn drop(&mut self) {
        self.0.iter().for_each(wgpu::Buffer::destroy);
    }
}

impl Deref for Arrays {
    type Target = [wgpu::Buffer];

    fn deref(&self) -> &[wgpu::Buffer] {
        &self.0
    }
}

/// What to copy: as many arrays as are read, padded to whole blocks.
pub fn arrays(gpu: &Gpu, streams: Streams, elements: usize) -> Arrays {
    let padded = elements.next_multiple_of(BLOCK);
    // Zeros move faster on some devices.
    let numbers: Vec<f32> = (0..padded)
        .map(|index| (index % 1000) as f32 * 1e-3)
        .collect();
    let array = |_| {
        let array = gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("copied"),
            size: 4 * padded as u64,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        gpu.queue
            .write_buffer(&array, 0, bytemuck::cast_slice(&numbers));
        gpu.queue.submit([]);
        array
    };
    Arrays((0..streams.reads).map(array).collect())
}

/// The two fastest of [`SHAPES`] on `arrays`, `repetitions` in a sample. Where a host is busy, which of
/// them it is shows only in more rounds than a contest has.
pub async fn finalists(
    gpu: &Gpu,
    clock: &Clock,
    streams: Streams,
    arrays: &[wgpu::Buffer],
    elements: usize,
    repetitions: usize,
) -> Result<[Shape; 2]> {
    let copies = SHAPES.map(|shape| Copy::new(gpu, shape, streams, arrays, elements));
    let mut times = vec![Vec::new(); copies.len()];
    for _ in 0..CONTEST_ROUNDS {
        for (copy, times) in copies.iter().zip(&mut times) {
            times.push(copy.time(clock, repetitions).await?);
        }
    }
    let mut ranking: Vec<_> = SHAPES
        .into_iter()
        .zip(times.into_iter().map(|times| Quartiles::of(times).median))
        .collect();
    ranking.sort_by(|a, b| a.1.total_cmp(&b.1));
    Ok([ranking[0].0, ranking[1].0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgpu_optim::{BufferRange, GpuOptions, read_blocking};

    #[test]
    fn every_copy_moves_every_element() {
        let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
        let streams = Streams {
            reads: 3,
            writes: 2,
            bytes_per_element: 20.0,
        };
        for shape in SHAPES {
            let array = |start: f32| {
                let numbers: Vec<f32> = (0..2 * BLOCK).map(|index| start + index as f32).collect();
                let usage = wgpu::BufferUsages::STORAGE
                    | wgpu::BufferUsages::COPY_SRC
                    | wgpu::BufferUsages::COPY_DST;
                let array = gpu.device.create_buffer(&wgpu::BufferDescriptor {
                    label: None,
                    size: 8 * BLOCK as u64,
                    usage,
                    mapped_at_creation: false,
                });
                gpu.queue
                    .write_buffer(&array, 0, bytemuck::cast_slice(&numbers));
                array
            };
            let arrays = [0.0, 1e5, 2e5].map(array);
            let copy = Copy::new(&gpu, shape, streams, &arrays, 2 * BLOCK);
            let mut encoder = gpu.device.create_command_encoder(&Default::default());
            copy.record(&mut encoder);
            gpu.queue.submit([encoder.finish()]);
            let read =
                |array| read_blocking(&gpu.device, &gpu.queue, &BufferRange::whole(array)).unwrap();
            let moved = |start: f32, times: f32| -> Vec<f32> {
                let numbers = 0..2 * BLOCK;
                numbers.map(|index| start + times * index as f32).collect()
            };
            assert_eq!(read(&arrays[0]), moved(3e5, 2.0), "{shape}");
            assert_eq!(read(&arrays[1]), moved(0.0, 1.0), "{shape}");
        }
    }

    #[test]
    fn more_groups_than_one_dimension_holds_fold() {
        let shape = Shape::new(4, 64, 1);
        assert_eq!(shape.groups(1 << 26), 1 << 18);
        let streams = Streams {
            reads: 2,
            writes: 1,
            bytes_per_element: 12.0,
        };
        assert!(shape.text(streams, true).contains("group.y"));
    }
}
