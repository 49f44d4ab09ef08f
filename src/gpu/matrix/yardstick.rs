//! The trainer's product of matrices: how fast this device multiplies for a program that needs no more than
//! that. The products here are measured beside it.

use std::{sync::Arc, time::Instant};

use crate::{
    Gpu,
    gpu::{binding::filled_buffer, owning::OwningDevice},
};

const MATMUL: &str = include_str!("../../../examples/trainer/src/network/shaders/matmul.wgsl");
const TILE: u32 = 64;

/// One product in the trainer's terms. The operands lie row by row, or column by column if transposed.
pub(super) struct Product<'a> {
    pub rows: u32,
    pub columns: u32,
    pub inner: u32,
    pub left: wgpu::BufferBinding<'a>,
    pub is_left_transposed: bool,
    pub right: wgpu::BufferBinding<'a>,
    pub is_right_transposed: bool,
    pub result: wgpu::BufferBinding<'a>,
}

/// The trainer's kernel with its operands.
pub(super) struct Planned {
    pipeline: wgpu::ComputePipeline,
    groups: [wgpu::BindGroup; 2],
    grid: [u32; 2],
}

impl Planned {
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        for (index, group) in (0..).zip(&self.groups) {
            pass.set_bind_group(index, group, &[]);
        }
        let [x, y] = self.grid;
        pass.dispatch_workgroups(x, y, 1);
    }
}

/// A product of 1024² by 1024²: large enough for the trainer's kernel to be at its fastest.
pub(super) struct Large {
    planned: Planned,
    /// Owns the operands.
    _device: Arc<OwningDevice>,
}

impl Large {
    /// Operations of the product.
    pub const FLOPS: f64 = 2.0 * (1u64 << 30) as f64;

    pub fn new(gpu: &Gpu) -> Self {
        const SIDE: u32 = 1024;
        let device = OwningDevice::new(&gpu.device);
        let ones = vec![1.0f32; (SIDE * SIDE) as usize];
        let storage = wgpu::BufferUsages::STORAGE;
        let made =
            |_| filled_buffer(&device, "ones", storage, bytemuck::cast_slice(&ones)).unwrap();
        let [left, right, result] = [0, 1, 2].map(made);
        let product = Product {
            rows: SIDE,
            columns: SIDE,
            inner: SIDE,
            left: left.as_entire_buffer_binding(),
            is_left_transposed: false,
            right: right.as_entire_buffer_binding(),
            is_right_transposed: false,
            result: result.as_entire_buffer_binding(),
        };
        Self {
            planned: Yardstick::new(gpu).plan(&device, product),
            _device: device,
        }
    }

    pub fn run(&self, gpu: &Gpu) {
        run(gpu, |pass| self.planned.record(pass));
    }
}

/// Submits what `record` records.
pub(super) fn run(gpu: &Gpu, record: impl FnOnce(&mut wgpu::ComputePass<'_>)) {
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    record(&mut encoder.begin_compute_pass(&Default::default()));
    gpu.queue.submit([encoder.finish()]);
}

/// The fewest seconds of each of `work`, in turns.
pub(super) fn fastest<const N: usize>(
    gpu: &Gpu,
    rounds: usize,
    work: [&dyn Fn(&Gpu); N],
) -> [f64; N] {
    let mut best = [f64::INFINITY; N];
    for round in 0..=rounds {
        for (work, best) in work.iter().zip(&mut best) {
            let start = Instant::now();
            work(gpu);
            let wait = wgpu::PollType::wait_indefinitely();
            gpu.device.poll(wait).unwrap();
            // The first round compiles.
            if round > 0 {
                *best = best.min(start.elapsed().as_secs_f64());
            }
        }
    }
    best
}

/// The kernel in its four forms.
pub(super) struct Yardstick {
    /// By whether left and right are transposed.
    pipelines: [[wgpu::ComputePipeline; 2]; 2],
}

impl Yardstick {
    pub fn new(gpu: &Gpu) -> Self {
        let of = |is_left_transposed, is_right_transposed| {
            let product = format!(
                "const TRANSPOSE_LEFT = {is_left_transposed};\n\
                 const TRANSPOSE_RIGHT = {is_right_transposed};\n\
                 @group(1) @binding(3) var<storage, read_write> product: array<f32>;\n\
                 fn extents() -> Extents {{\n    \
                 return Extents(batch.rows, layer.outputs, layer.inputs);\n}}\n\
                 fn store(index: u32, row: u32, column: u32, value: f32) {{\n    \
                 product[index] = value;\n}}\n"
            );
            let text = [MATMUL, &product].concat();
            let module = gpu
                .device
                .create_shader_module(wgpu::ShaderModuleDescriptor {
                    label: Some("the trainer's product"),
                    source: wgpu::ShaderSource::Wgsl(text.into()),
                });
            gpu.device
                .create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                    label: Some("the trainer's product"),
                    layout: None,
                    module: &module,
                    entry_point: Some("main"),
                    compilation_options: Default::default(),
                    cache: None,
                })
        };
        Self {
            pipelines: [false, true].map(|left| [false, true].map(|right| of(left, right))),
        }
    }

    pub fn plan(&self, device: &OwningDevice, product: Product<'_>) -> Planned {
        let left = usize::from(product.is_left_transposed);
        let right = usize::from(product.is_right_transposed);
        let pipeline = &self.pipelines[left][right];
        let storage = wgpu::BufferUsages::STORAGE;
        let numbers = |numbers: [u32; 4]| {
            filled_buffer(device, "numbers", storage, bytemuck::cast_slice(&numbers)).unwrap()
        };
        let batch = numbers([0, product.rows, 0, 0]);
        let layer = numbers([product.inner, product.columns, 1, product.inner]);
        let group = |index, buffers: Vec<wgpu::BindingResource<'_>>| {
            let entries = (0..).zip(buffers);
            let entries =
                entries.map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource });
            device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: None,
                layout: &pipeline.get_bind_group_layout(index),
                entries: &entries.collect::<Vec<_>>(),
            })
        };
        let operands = [product.left, product.right, product.result];
        let operands = operands.map(wgpu::BindingResource::Buffer).into_iter();
        let of_layer = std::iter::once(layer.as_entire_binding()).chain(operands);
        Planned {
            pipeline: pipeline.clone(),
            groups: [
                group(0, vec![batch.as_entire_binding()]),
                group(1, of_layer.collect()),
            ],
            grid: [product.columns.div_ceil(TILE), product.rows.div_ceil(TILE)],
        }
    }
}
