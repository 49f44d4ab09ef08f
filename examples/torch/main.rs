//! Resumes a run of PyTorch.
//!
//!     cargo run --example torch -- fresh fresh.safetensors --group "adamw:lr=0.01 fc.weight=4x3 fc.bias=4"
//!     python3 examples/torch/from_torch.py fresh.safetensors train:build run.pt run.safetensors
//!     cargo run --example torch -- resume run.safetensors grads.safetensors later.safetensors --group …
//!
//! README.md has the way back too, and what becomes of each rule.

mod layout;
mod optimizers;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};
use safetensors::{Dtype, SafeTensors};
use wgpu_optim::{Checkpoint, Layout};

use layout::{GroupText, layout};
use optimizers::{On, Resumes};

#[derive(Parser)]
#[command(about = "Goes on where PyTorch stopped.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes a checkpoint before any step, for from_torch.py to fill in.
    Fresh {
        to: PathBuf,
        #[command(flatten)]
        setup: Setup,
    },
    /// Goes on from a checkpoint: one step for each gradient in a file. Saves what comes out.
    Resume {
        from: PathBuf,
        /// A .safetensors file. It has grad.NAME for each tensor, of one dimension more than the
        /// tensor, the first, which counts steps. It may have lr, f64, of steps × groups.
        grads: PathBuf,
        to: PathBuf,
        #[command(flatten)]
        setup: Setup,
    },
}

#[derive(Args)]
struct Setup {
    /// A group: RULE[:KEY=VALUE]… NAME=SHAPE…, such as "adamw:lr=0.01 fc.weight=4x3 fc.bias=4".
    #[arg(long = "group", required = true)]
    groups: Vec<GroupText>,
    /// What the optimizer runs on.
    #[arg(long, default_value = "f32")]
    on: On,
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Fresh { to, setup } => {
            let optimizer = setup.on.open(&layout(&setup.groups)?)?;
            optimizer.save(&to)
        }
        Command::Resume {
            from,
            grads,
            to,
            setup,
        } => {
            let layout = layout(&setup.groups)?;
            let mut optimizer = setup.on.open(&layout)?;
            optimizer.load(&Checkpoint::open(from)?)?;
            take_steps(&mut *optimizer, &layout, setup.on.dtype(), &grads)?;
            optimizer.save(&to)
        }
    }
}

/// Takes the steps whose gradients, of type `dtype`, are in the file `grads`.
fn take_steps(
    optimizer: &mut dyn Resumes,
    layout: &Layout,
    dtype: Dtype,
    grads: &Path,
) -> Result<()> {
    let bytes = std::fs::read(grads).with_context(|| format!("{}", grads.display()))?;
    let file = SafeTensors::deserialize(&bytes)?;
    let mut steps = None;
    let mut of_tensors = Vec::new();
    for tensor in layout.tensors() {
        let name = format!("grad.{}", layout.name(tensor)?);
        let stack = file.tensor(&name).with_context(|| name.clone())?;
        let (shape, found) = (layout.shape(tensor)?, stack.shape());
        ensure!(
            stack.dtype() == dtype && found.get(1..) == Some(shape),
            "{name}: expected {dtype:?} of [steps] and {shape:?}, found {:?} of {found:?}",
            stack.dtype()
        );
        let expected = *steps.get_or_insert(found[0]);
        ensure!(
            found[0] == expected,
            "{name}: {} steps, and {expected} of others",
            found[0]
        );
        let grad_bytes = shape.iter().product::<usize>() * dtype.bitsize() / 8;
        of_tensors.push((tensor, stack.data().chunks_exact(grad_bytes)));
    }
    let steps = steps.unwrap_or(0);
    let groups = layout.groups().len();
    let lr: Option<Vec<f64>> = match file.tensor("lr") {
        Ok(lr) => {
            ensure!(
                lr.dtype() == Dtype::F64 && lr.shape() == [steps, groups],
                "lr: expected F64 of {:?}, found {:?} of {:?}",
                [steps, groups],
                lr.dtype(),
                lr.shape()
            );
            Some(bytemuck::pod_collect_to_vec(lr.data()))
        }
        Err(_) => None,
    };
    for step in 0..steps {
        for (index, group) in layout.groups().enumerate() {
            if let Some(lr) = &lr {
                optimizer.set_lr(group, lr[step * groups + index])?;
            }
        }
        for (tensor, grads) in &mut of_tensors {
            let grad = grads.next().context("a gradient is missing")?;
            optimizer.set_grad(*tensor, grad)?;
        }
        optimizer.step()?;
    }
    Ok(())
}
