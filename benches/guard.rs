//! What looking at the gradients costs a step, and what a caller's ranges do: AdamW over 16.8 million
//! parameters with clipping and loss scaling, or out of the arenas, against the same step without, one
//! after the other in turns.
//!
//!     cargo bench --bench guard

use std::time::Instant;

use wgpu_optim::{
    Average, BufferRange, Buffers, Clip, Gpu, GpuOptions, Layout, LossScale, Optimizer, Options,
    rules::AdamW, wgpu,
};

const PARAMETERS: usize = 1 << 24;
const ROUNDS: usize = 41;

/// Seconds of one step.
fn step(gpu: &Gpu, optimizer: &mut Optimizer) -> f64 {
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    optimizer.step(&mut encoder).unwrap();
    let start = Instant::now();
    gpu.queue.submit([encoder.finish()]);
    gpu.device
        .poll(wgpu::PollType::wait_indefinitely())
        .unwrap();
    start.elapsed().as_secs_f64()
}

/// The parameters in so many tensors.
fn layout(tensors: usize) -> Layout {
    let mut layout = Layout::new();
    let group = layout.group(AdamW::default()).unwrap();
    for index in 0..tensors {
        let shape = [PARAMETERS / tensors];
        layout.tensor(group, &index.to_string(), &shape).unwrap();
    }
    layout
}

/// An optimizer over ranges of one buffer for parameters and of another for gradients, with a gap behind
/// each.
fn over_ranges(gpu: &Gpu, tensors: usize) -> Optimizer {
    let (size, gap) = ((4 * PARAMETERS / tensors) as u64, 256);
    let ranges = || {
        let buffer = gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: tensors as u64 * (size + gap),
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let range = |index| BufferRange {
            buffer: buffer.clone(),
            offset: index * (size + gap),
            size,
        };
        (0..tensors as u64).map(range).collect::<Vec<_>>()
    };
    let buffers = Buffers {
        params: ranges(),
        grads: Some(ranges()),
        ..Default::default()
    };
    Optimizer::over(&gpu.device, &layout(tensors), buffers, Options::default()).unwrap()
}

fn main() {
    let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
    let layout = layout(1);
    let plain = Options::default();
    let cases = [
        ("plain", plain.clone()),
        (
            "global norm and loss scale",
            Options {
                clip: Clip::GlobalNorm(1.0),
                loss_scale: Some(LossScale::default()),
                ..plain.clone()
            },
        ),
        (
            "tensor norm and loss scale",
            Options {
                clip: Clip::TensorNorm(1.0),
                loss_scale: Some(LossScale::default()),
                ..plain.clone()
            },
        ),
        (
            "zeroing the gradients",
            Options {
                zero_grad: true,
                ..plain.clone()
            },
        ),
        (
            "averaging the parameters",
            Options {
                average: Some(Average {
                    decay: 0.999,
                    debias: true,
                }),
                ..plain
            },
        ),
    ];
    let in_arenas =
        cases.map(|(name, options)| (name, Optimizer::new(&gpu.device, &layout, options).unwrap()));
    let mut optimizers = Vec::from(in_arenas);
    optimizers.extend([
        ("one tensor in a range", over_ranges(&gpu, 1)),
        ("two, which have a table", over_ranges(&gpu, 2)),
    ]);
    let grads: Vec<f32> = (0..PARAMETERS).map(|i| (i as f32 * 0.1).sin()).collect();
    for (_, optimizer) in &mut optimizers {
        let tensors: Vec<_> = optimizer.layout().tensors().collect();
        for (tensor, grads) in tensors.iter().zip(grads.chunks(PARAMETERS / tensors.len())) {
            optimizer.write_grad(&gpu.queue, *tensor, grads).unwrap();
        }
        step(&gpu, optimizer);
    }
    let mut ratios = vec![Vec::new(); optimizers.len()];
    let mut times = vec![Vec::new(); optimizers.len()];
    for _ in 0..ROUNDS {
        let round: Vec<_> = optimizers
            .iter_mut()
            .map(|(_, optimizer)| step(&gpu, optimizer))
            .collect();
        for (index, seconds) in round.iter().enumerate() {
            ratios[index].push(seconds / round[0]);
            times[index].push(*seconds);
        }
    }
    println!(
        "AdamW, {PARAMETERS} parameters, {} ({})",
        gpu.info.name, gpu.info.backend
    );
    println!(
        "{:<28} {:>8}  ratio to plain: median (quartiles), of the fastest",
        "", "ms"
    );
    let fastest = |times: &[f64]| times.iter().copied().fold(f64::INFINITY, f64::min);
    let plain = fastest(&times[0]);
    for (index, (name, _)) in optimizers.iter().enumerate() {
        let [ratios, times] = [&mut ratios[index], &mut times[index]];
        ratios.sort_by(f64::total_cmp);
        times.sort_by(f64::total_cmp);
        println!(
            "{name:<28} {:>8.1}  {:.3} ({:.3} … {:.3}), {:.3}",
            1e3 * times[ROUNDS / 2],
            ratios[ROUNDS / 2],
            ratios[ROUNDS / 4],
            ratios[3 * ROUNDS / 4],
            times[0] / plain,
        );
    }
}
