//! Every rule against the twin in f64.

use wgpu_optim::{Extent, Gpu, Layout, Optimizer, Options, cpu, rules};

use crate::{Outcome, ensure};

const STEPS: usize = 4;

/// Of what parameters move at the most.
const OF_MOVEMENT: f64 = 2e-4;

/// Parameters stay about below 1, where each step rounds by 2⁻²⁵.
const OF_ROUNDING: f64 = STEPS as f64 / (1 << 25) as f64;

/// Numbers from -1 to 1 that look random.
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    let number = |index: usize| {
        let mixed = (index as u32 + 1).wrapping_mul(2654435761) ^ (seed as u32).wrapping_mul(40503);
        let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(2246822519);
        (mixed >> 8) as f32 / 8388608.0 - 1.0
    };
    (0..count).map(number).collect()
}

pub async fn all(gpu: &Gpu) -> Outcome {
    let mut worst = (0.0f64, "");
    for name in rules::names() {
        let part = of_rule(gpu, name).await?;
        if !(part <= worst.0) {
            worst = (part, name);
        }
    }
    let (part, name) = worst;
    ensure(part < 1.0, || {
        format!("{name} is off by {part} of the tolerance")
    })?;
    let count = rules::names().count();
    Ok(format!(
        "{count} rules, {name} at {part:.2} of the tolerance"
    ))
}

/// The largest difference after some steps, as a part of the tolerance.
async fn of_rule(gpu: &Gpu, name: &str) -> Result<f64, Box<dyn std::error::Error>> {
    let mut layout = Layout::new();
    let group = layout.group(rules::by_name(name)?)?;
    let inputs = layout.rule(group)?.slots();
    let inputs = inputs.into_iter().filter(|slot| slot.used && slot.input);
    let inputs: Vec<_> = inputs.collect();
    for (index, shape) in [[8, 16], [5, 3]].iter().enumerate() {
        layout.tensor(group, &index.to_string(), shape)?;
    }
    let mut optimizer = Optimizer::new_async(&gpu.device, &layout, Options::default()).await?;
    let mut twin = cpu::Optimizer::<f64>::new(&layout)?;
    let widened = |values: &[f32]| values.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
    for (index, tensor) in layout.tensors().enumerate() {
        let start = numbers(layout.element_count(tensor)?, index);
        optimizer.write_param(&gpu.queue, tensor, &start)?;
        twin.param_mut(tensor)?.copy_from_slice(&widened(&start));
    }
    for step in 1..=STEPS {
        for (index, tensor) in layout.tensors().enumerate() {
            let count = layout.element_count(tensor)?;
            let grad = numbers(count, 10 * step + index);
            optimizer.write_grad(&gpu.queue, tensor, &grad)?;
            twin.grad_mut(tensor)?.copy_from_slice(&widened(&grad));
            for slot in &inputs {
                // Curvatures: positive, and a matrix with a strong diagonal.
                let values: Vec<f32> = match slot.extent {
                    Extent::Pair => (0..count * count)
                        .map(|place| if place % (count + 1) == 0 { 2.0 } else { 0.001 })
                        .collect(),
                    _ => grad.iter().map(|x| 1.0 + x.abs()).collect(),
                };
                optimizer.write_state(&gpu.queue, tensor, slot.name, &values)?;
                twin.state_mut(tensor, slot.name)?
                    .copy_from_slice(&widened(&values));
            }
        }
        if !inputs.is_empty() {
            optimizer.refresh(group)?;
            twin.refresh(group)?;
        }
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        optimizer.step(&mut encoder)?;
        gpu.queue.submit([encoder.finish()]);
        twin.step()?;
    }
    let (mut error, mut moved) = (0.0f64, 0.0f64);
    for (index, tensor) in layout.tensors().enumerate() {
        let found = optimizer.read_param(&gpu.queue, tensor).await?;
        let start = numbers(found.len(), index);
        for ((found, truth), start) in found.iter().zip(twin.param(tensor)?).zip(start) {
            error = error.max((f64::from(*found) - truth).abs());
            moved = moved.max((truth - f64::from(start)).abs());
        }
    }
    ensure(moved > 0.0, || format!("{name} moves nothing"))?;
    Ok(error / (OF_MOVEMENT * moved + OF_ROUNDING))
}
