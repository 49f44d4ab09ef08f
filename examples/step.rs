//! The smallest example: one AdamW step over buffers that are yours, checked against the CPU twin.
//!
//!     cargo run --release --example step

use wgpu_optim::{
    BufferRange, Buffers, Gpu, GpuOptions, Layout, Optimizer, Options, cpu, read_blocking,
    rules::AdamW, wgpu,
};

const COUNT: usize = 1_000_003;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // What you have already: a device, a queue, and buffers that your shaders fill.
    let Gpu {
        device,
        queue,
        info,
        ..
    } = Gpu::open_blocking(&GpuOptions::default())?;
    let start: Vec<f32> = (0..COUNT).map(|i| (i as f32 * 0.37).sin()).collect();
    let grad: Vec<f32> = (0..COUNT).map(|i| (i as f32 * 0.11).cos()).collect();
    let weights = buffer_of(&device, &queue, &start);
    let gradients = buffer_of(&device, &queue, &grad);

    // The dozen lines.
    let mut layout = Layout::new();
    let group = layout.group(AdamW {
        weight_decay: 0.1,
        ..Default::default()
    })?;
    let weight = layout.tensor(group, "weight", &[COUNT])?;
    let buffers = Buffers {
        params: vec![BufferRange::whole(&weights)],
        grads: Some(vec![BufferRange::whole(&gradients)]),
        ..Default::default()
    };
    let mut optimizer = Optimizer::over(&device, &layout, buffers, Options::default())?;

    for step in 0..10 {
        let mut encoder = device.create_command_encoder(&Default::default());
        // … your forward and backward passes …
        optimizer.set_lr(group, 1e-2 / (1.0 + f64::from(step)))?;
        optimizer.step(&mut encoder)?;
        queue.submit([encoder.finish()]);
    }

    // Is it right? The same steps on the CPU, in f64.
    let found = read_blocking(&device, &queue, &BufferRange::whole(&weights))?;
    let mut twin = cpu::Optimizer::<f64>::new(&layout)?;
    copy(&start, twin.param_mut(weight)?);
    copy(&grad, twin.grad_mut(weight)?);
    for step in 0..10 {
        twin.set_lr(group, 1e-2 / (1.0 + f64::from(step)))?;
        twin.step()?;
    }
    let truth = twin.param(weight)?;
    let distances = found
        .iter()
        .zip(truth)
        .map(|(gpu, cpu)| (f64::from(*gpu) - cpu).abs());
    let error = distances.fold(0.0, f64::max);
    println!("10 AdamW steps over {COUNT} parameters on {}", info.name);
    println!("largest difference from f64 on the CPU: {error:.1e}");
    if error < 1e-6 {
        return Ok(());
    }
    Err("the GPU and its CPU twin disagree".into())
}

fn buffer_of(device: &wgpu::Device, queue: &wgpu::Queue, values: &[f32]) -> wgpu::Buffer {
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 4 * values.len() as u64,
        usage: wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    queue.write_buffer(&buffer, 0, bytemuck::cast_slice(values));
    buffer
}

fn copy(from: &[f32], to: &mut [f64]) {
    for (from, to) in from.iter().zip(to) {
        *to = f64::from(*from);
    }
}

#[test]
fn the_example_agrees_with_its_twin() {
    main().unwrap();
}
