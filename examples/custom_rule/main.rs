//! Optimizers of your own: WGSL and its twin in Rust, and they get all that the rules of this crate
//! get: parameter groups, schedules, arenas or your buffers, per-step gradients, clipping, loss
//! scaling, saved state, and the check against f64.
//!
//!     cargo run --release --example custom_rule
//!
//! `elementwise.rs` looks at a parameter and its gradient, `per_tensor.rs` at a whole tensor first. A
//! mistake in your WGSL comes back as `Error::Shader` with the line and column in your text.

mod elementwise;
mod per_tensor;

use elementwise::AdaHb;
use per_tensor::NormalizedDescent;
use wgpu_optim::{Gpu, GpuOptions, Layout, Optimizer, Options, Rule, Tensor, cpu};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let gpu = Gpu::open_blocking(&GpuOptions::default())?;
    let momentum = AdaHb {
        weight_decay: 1e-3,
        ..Default::default()
    };
    check(&gpu, momentum, 0.2)?;
    check(&gpu, NormalizedDescent::default(), 0.5)
}

/// Minimises `Σ ½aᵢ(pᵢ − 1)²` on the GPU and on the twin in f64, and compares the two. No parameter
/// may end farther than `most` from its minimum.
fn check(gpu: &Gpu, rule: impl Rule + 'static, most: f32) -> Result<(), Failure> {
    const STEPS: usize = 200;
    const SIZES: [usize; 2] = [10_000, 37];
    let name = rule.name().to_owned();
    let mut layout = Layout::new();
    let group = layout.group(rule)?;
    let mut tensors = Vec::new();
    for (index, size) in SIZES.into_iter().enumerate() {
        tensors.push(layout.tensor(group, &format!("weight{index}"), &[size])?);
    }
    let mut optimizer = Optimizer::new(&gpu.device, &layout, Options::default())?;
    let mut truth = cpu::Optimizer::<f64>::new(&layout)?;
    for _ in 0..STEPS {
        for &tensor in &tensors {
            write_gradients(gpu, &optimizer, &mut truth, tensor)?;
        }
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        optimizer.step(&mut encoder)?;
        gpu.queue.submit([encoder.finish()]);
        truth.step()?;
    }

    let (mut error, mut farthest, mut all_finite) = (0.0f64, 0.0f32, true);
    for &tensor in &tensors {
        let found = optimizer.read_param_blocking(&gpu.queue, tensor)?;
        // One after the other: rustc 1.95 crashes on both maxima in one loop, in release. A maximum
        // leaves out what is not a number.
        all_finite &= found.iter().all(|p| p.is_finite());
        farthest = found
            .iter()
            .map(|p| (p - 1.0).abs())
            .fold(farthest, f32::max);
        error = found
            .iter()
            .zip(truth.param(tensor)?)
            .map(|(&p, truth)| (f64::from(p) - truth).abs())
            .fold(error, f64::max);
    }
    println!("{STEPS} steps of {name} on {}", gpu.info.name);
    println!("  farthest from the minimum: {farthest:.3}");
    println!("  largest difference from f64 on the CPU: {error:.1e}");
    if all_finite && error < 1e-5 && farthest < most {
        return Ok(());
    }
    Err(format!("{name} does not do what it should").into())
}

/// What your backward pass would do on the GPU: the same gradients for both.
fn write_gradients(
    gpu: &Gpu,
    optimizer: &Optimizer,
    truth: &mut cpu::Optimizer<f64>,
    tensor: Tensor,
) -> Result<(), Failure> {
    let params = optimizer.read_param_blocking(&gpu.queue, tensor)?;
    let count = params.len() as f32;
    let steepness = (0..params.len()).map(|i| 0.1 + i as f32 / count);
    let grads: Vec<f32> = params
        .iter()
        .zip(steepness)
        .map(|(p, a)| a * (p - 1.0))
        .collect();
    optimizer.write_grad(&gpu.queue, tensor, &grads)?;
    for (to, from) in truth.grad_mut(tensor)?.iter_mut().zip(grads) {
        *to = f64::from(from);
    }
    Ok(())
}

#[test]
fn the_rules_converge_and_agree_with_their_twins() {
    main().unwrap();
}
