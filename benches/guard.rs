//! What looking at the gradients costs a step: AdamW over 16.8 million parameters with clipping and
//! loss scaling, against the same step without, one after the other in turns.
//!
//!     cargo bench --bench guard

use std::time::Instant;

use wgpu_optim::{
    Average, Clip, Gpu, GpuOptions, Layout, LossScale, Optimizer, Options, rules::AdamW, wgpu,
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

fn main() {
    let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
    let mut layout = Layout::new();
    let group = layout.group(AdamW::default()).unwrap();
    layout.tensor(group, "weight", &[PARAMETERS]).unwrap();
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
    let mut optimizers =
        cases.map(|(name, options)| (name, Optimizer::new(&gpu.device, &layout, options).unwrap()));
    let grads: Vec<f32> = (0..PARAMETERS).map(|i| (i as f32 * 0.1).sin()).collect();
    for (_, optimizer) in &mut optimizers {
        let tensor = layout.tensors().next().unwrap();
        optimizer.write_grad(&gpu.queue, tensor, &grads).unwrap();
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
