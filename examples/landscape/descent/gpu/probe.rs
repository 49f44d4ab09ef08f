//! A kernel by itself, for tests.

use wgpu_optim::wgpu::{self, util::DeviceExt};
use wgpu_optim::{BufferRange, Gpu, read_blocking};

use super::kernels::entries;

/// What `main` of `wgsl` writes to binding 1, `count` f32, from the `input` at binding 0.
pub fn run(
    gpu: &Gpu,
    wgsl: &str,
    constants: &[(&str, f64)],
    input: &[u8],
    count: usize,
    workgroups: usize,
) -> Vec<f32> {
    let Gpu { device, queue, .. } = gpu;
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(wgsl.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants,
            ..Default::default()
        },
        cache: None,
    });
    let input = device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: None,
        contents: input,
        usage: wgpu::BufferUsages::STORAGE,
    });
    let output = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 4 * count as u64,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    });
    let bindings = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &entries([&input, &output]),
    });
    let mut encoder = device.create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    pass.set_pipeline(&pipeline);
    pass.set_bind_group(0, &bindings, &[]);
    pass.dispatch_workgroups(workgroups as u32, 1, 1);
    drop(pass);
    queue.submit([encoder.finish()]);
    read_blocking(device, queue, &BufferRange::whole(&output)).unwrap()
}
