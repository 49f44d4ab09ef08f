//! What can be put to the test: the GPU and the CPU twins, behind one face.

use wgpu_optim::{Error, Gpu, Group, Optimizer, Tensor, cpu, wgpu};

/// Something that keeps parameters and steps them.
pub trait Subject {
    fn set_param(&mut self, tensor: Tensor, values: &[f32]) -> Result<(), Error>;
    fn set_grad(&mut self, tensor: Tensor, values: &[f32]) -> Result<(), Error>;
    fn set_rate(&mut self, group: Group, lr: f64) -> Result<(), Error>;
    /// Fills an input of a rule, such as a curvature.
    fn set_input(&mut self, tensor: Tensor, slot: &str, values: &[f32]) -> Result<(), Error>;
    /// Says that the inputs of `group` were filled anew for the next step.
    fn set_refreshed(&mut self, group: Group) -> Result<(), Error>;
    fn take_step(&mut self) -> Result<(), Error>;
    /// Switches to the parameters to evaluate with, or back to those to train with.
    fn set_evaluating(&mut self, evaluating: bool) -> Result<(), Error>;
}

/// One that can be looked at on the spot; on the web, reading back from a device takes its time.
pub trait Readable: Subject {
    /// The parameters of `tensor` as they are, widened.
    fn values(&self, tensor: Tensor) -> Result<Vec<f64>, Error>;
    /// The state `slot` of `tensor`, widened.
    fn state_values(&self, tensor: Tensor, slot: &str) -> Result<Vec<f64>, Error>;
}

/// An optimizer on a device.
pub struct OnGpu<'a> {
    pub gpu: &'a Gpu,
    pub optimizer: &'a mut Optimizer,
}

impl OnGpu<'_> {
    fn submit(
        &mut self,
        record: impl FnOnce(&mut Optimizer, &mut wgpu::CommandEncoder) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let device = &self.gpu.device;
        let mut encoder = device.create_command_encoder(&Default::default());
        record(self.optimizer, &mut encoder)?;
        self.gpu.queue.submit([encoder.finish()]);
        Ok(())
    }
}

impl Subject for OnGpu<'_> {
    fn set_param(&mut self, tensor: Tensor, values: &[f32]) -> Result<(), Error> {
        self.optimizer.write_param(&self.gpu.queue, tensor, values)
    }

    fn set_grad(&mut self, tensor: Tensor, values: &[f32]) -> Result<(), Error> {
        self.optimizer.write_grad(&self.gpu.queue, tensor, values)
    }

    fn set_rate(&mut self, group: Group, lr: f64) -> Result<(), Error> {
        self.optimizer.set_lr(group, lr)
    }

    fn set_input(&mut self, tensor: Tensor, slot: &str, values: &[f32]) -> Result<(), Error> {
        let queue = &self.gpu.queue;
        self.optimizer.write_state(queue, tensor, slot, values)
    }

    fn set_refreshed(&mut self, group: Group) -> Result<(), Error> {
        self.optimizer.refresh(group)
    }

    fn set_evaluating(&mut self, evaluating: bool) -> Result<(), Error> {
        self.submit(|optimizer, encoder| match evaluating {
            true => optimizer.evaluate(encoder),
            false => optimizer.train(encoder),
        })
    }

    fn take_step(&mut self) -> Result<(), Error> {
        self.submit(Optimizer::step)
    }
}

#[cfg(not(target_family = "wasm"))]
impl Readable for OnGpu<'_> {
    fn values(&self, tensor: Tensor) -> Result<Vec<f64>, Error> {
        let queue = &self.gpu.queue;
        Ok(widened(&self.optimizer.read_param_blocking(queue, tensor)?))
    }

    fn state_values(&self, tensor: Tensor, slot: &str) -> Result<Vec<f64>, Error> {
        let queue = &self.gpu.queue;
        let values = self.optimizer.read_state_blocking(queue, tensor, slot)?;
        Ok(widened(&values))
    }
}

impl<T: cpu::Real> Subject for cpu::Optimizer<T> {
    fn set_param(&mut self, tensor: Tensor, values: &[f32]) -> Result<(), Error> {
        copy(values, self.param_mut(tensor)?);
        Ok(())
    }

    fn set_grad(&mut self, tensor: Tensor, values: &[f32]) -> Result<(), Error> {
        copy(values, self.grad_mut(tensor)?);
        Ok(())
    }

    fn set_rate(&mut self, group: Group, lr: f64) -> Result<(), Error> {
        self.set_lr(group, lr)
    }

    fn set_input(&mut self, tensor: Tensor, slot: &str, values: &[f32]) -> Result<(), Error> {
        copy(values, self.state_mut(tensor, slot)?);
        Ok(())
    }

    fn set_refreshed(&mut self, group: Group) -> Result<(), Error> {
        self.refresh(group)
    }

    fn set_evaluating(&mut self, evaluating: bool) -> Result<(), Error> {
        match evaluating {
            true => self.evaluate(),
            false => self.train(),
        }
        Ok(())
    }

    fn take_step(&mut self) -> Result<(), Error> {
        self.step()
    }
}

impl<T: cpu::Real> Readable for cpu::Optimizer<T> {
    fn values(&self, tensor: Tensor) -> Result<Vec<f64>, Error> {
        Ok(widened(self.param(tensor)?))
    }

    fn state_values(&self, tensor: Tensor, slot: &str) -> Result<Vec<f64>, Error> {
        Ok(widened(&self.state(tensor, slot)?))
    }
}

fn copy<T: cpu::Real>(from: &[f32], to: &mut [T]) {
    for (from, to) in from.iter().zip(to) {
        *to = T::from_f64(f64::from(*from));
    }
}

fn widened<T: cpu::Real>(values: &[T]) -> Vec<f64> {
    let values = values.iter();
    // Both kinds of Real are numbers that an f64 holds.
    values
        .map(|value| value.to_f64().unwrap_or(f64::NAN))
        .collect()
}
