//! The optimizers that can resume: the twin in f64 and in f32, and a GPU's.

use std::path::Path;

use anyhow::Result;
use safetensors::Dtype;
use wgpu_optim::{
    Checkpoint, Gpu, GpuOptions, Group, Layout, Optimizer, Options, Save, Tensor, cpu,
};

/// Where an optimizer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum On {
    /// The CPU, in f64.
    F64,
    /// The CPU, in f32.
    F32,
    /// A GPU, or a software driver.
    Gpu,
}

impl On {
    pub fn dtype(self) -> Dtype {
        match self {
            Self::F64 => Dtype::F64,
            Self::F32 | Self::Gpu => Dtype::F32,
        }
    }

    pub fn open(self, layout: &Layout) -> Result<Box<dyn Resumes>> {
        Ok(match self {
            Self::F64 => Box::new(cpu::Optimizer::<f64>::new(layout)?),
            Self::F32 => Box::new(cpu::Optimizer::<f32>::new(layout)?),
            Self::Gpu => {
                let gpu = Gpu::open_blocking(&GpuOptions::default())?;
                let optimizer = Optimizer::new(&gpu.device, layout, Options::default())?;
                Box::new(OnGpu { gpu, optimizer })
            }
        })
    }
}

/// What goes on from a checkpoint.
pub trait Resumes {
    fn load(&mut self, checkpoint: &Checkpoint) -> Result<()>;
    fn set_lr(&mut self, group: Group, lr: f64) -> Result<()>;
    /// `grad` is little-endian and of the optimizer's type.
    fn set_grad(&mut self, tensor: Tensor, grad: &[u8]) -> Result<()>;
    fn step(&mut self) -> Result<()>;
    fn save(&self, path: &Path) -> Result<()>;
}

impl<T: cpu::Real> Resumes for cpu::Optimizer<T> {
    fn load(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        Ok(self.load(checkpoint)?)
    }

    fn set_lr(&mut self, group: Group, lr: f64) -> Result<()> {
        Ok(self.set_lr(group, lr)?)
    }

    fn set_grad(&mut self, tensor: Tensor, grad: &[u8]) -> Result<()> {
        let grad: Vec<T> = bytemuck::pod_collect_to_vec(grad);
        self.grad_mut(tensor)?.copy_from_slice(&grad);
        Ok(())
    }

    fn step(&mut self) -> Result<()> {
        Ok(self.step()?)
    }

    fn save(&self, path: &Path) -> Result<()> {
        Ok(self.save(path, &Save::default())?)
    }
}

struct OnGpu {
    gpu: Gpu,
    optimizer: Optimizer,
}

impl Resumes for OnGpu {
    fn load(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        Ok(self.optimizer.load(&self.gpu.queue, checkpoint)?)
    }

    fn set_lr(&mut self, group: Group, lr: f64) -> Result<()> {
        Ok(self.optimizer.set_lr(group, lr)?)
    }

    fn set_grad(&mut self, tensor: Tensor, grad: &[u8]) -> Result<()> {
        let grad: Vec<f32> = bytemuck::pod_collect_to_vec(grad);
        Ok(self.optimizer.write_grad(&self.gpu.queue, tensor, &grad)?)
    }

    fn step(&mut self) -> Result<()> {
        let Gpu { device, queue, .. } = &self.gpu;
        let mut encoder = device.create_command_encoder(&Default::default());
        self.optimizer.step(&mut encoder)?;
        queue.submit([encoder.finish()]);
        Ok(())
    }

    fn save(&self, path: &Path) -> Result<()> {
        let save = Save::default();
        Ok(self.optimizer.save_blocking(&self.gpu.queue, path, &save)?)
    }
}
