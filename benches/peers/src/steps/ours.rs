use anyhow::Result;
use wgpu_optim::wgpu::PollType;
use wgpu_optim::{Gpu, Layout, Optimizer, Options, Tensor, rules};

use super::{ALPHA, BETA1, BETA2, EPS, Fill, LR, MOMENTUM, Problem, Rule, Stepper, WEIGHT_DECAY};
use crate::timing::Contestant;

pub struct Steps<'p> {
    problem: &'p Problem,
    gpu: &'p Gpu,
    tensors: Vec<Tensor>,
    optimizer: Optimizer,
}

impl<'p> Steps<'p> {
    pub fn new(problem: &'p Problem, gpu: &'p Gpu) -> Result<Self> {
        let mut layout = Layout::new();
        let group = layout.group(rule(problem.rule))?;
        let tensors = (0..problem.tensors)
            .map(|index| layout.tensor(group, &index.to_string(), &[problem.length]))
            .collect::<Result<Vec<_>, _>>()?;
        let optimizer = Optimizer::new(&gpu.device, &layout, Options::default())?;
        for (index, &tensor) in tensors.iter().enumerate() {
            optimizer.write_param(&gpu.queue, tensor, &problem.values(Fill::Params, index))?;
        }
        let mut steps = Self {
            problem,
            gpu,
            tensors,
            optimizer,
        };
        steps.set_gradients(Fill::FirstGradients)?;
        Ok(steps)
    }
}

impl Stepper for Steps<'_> {
    fn set_gradients(&mut self, fill: Fill) -> Result<()> {
        for (index, &tensor) in self.tensors.iter().enumerate() {
            let values = self.problem.values(fill, index);
            self.optimizer
                .write_grad(&self.gpu.queue, tensor, &values)?;
        }
        Ok(())
    }

    fn param(&self, tensor: usize) -> Result<Vec<f32>> {
        Ok(self
            .optimizer
            .read_param_blocking(&self.gpu.queue, self.tensors[tensor])?)
    }
}

impl Contestant for Steps<'_> {
    fn step(&mut self) -> Result<()> {
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        self.optimizer.step(&mut encoder)?;
        self.gpu.queue.submit([encoder.finish()]);
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.gpu.device.poll(PollType::wait_indefinitely())?;
        Ok(())
    }
}

fn rule(rule: Rule) -> Box<dyn wgpu_optim::Rule> {
    match rule {
        Rule::Sgd => Box::new(rules::Sgd {
            lr: LR,
            momentum: MOMENTUM,
            ..Default::default()
        }),
        Rule::Adagrad => Box::new(rules::Adagrad {
            lr: LR,
            eps: EPS,
            ..Default::default()
        }),
        Rule::RmsProp => Box::new(rules::RmsProp {
            lr: LR,
            alpha: ALPHA,
            eps: EPS,
            ..Default::default()
        }),
        Rule::Adam => Box::new(rules::Adam {
            lr: LR,
            beta1: BETA1,
            beta2: BETA2,
            eps: EPS,
            ..Default::default()
        }),
        Rule::AdamW => Box::new(rules::AdamW {
            lr: LR,
            beta1: BETA1,
            beta2: BETA2,
            eps: EPS,
            weight_decay: WEIGHT_DECAY,
            ..Default::default()
        }),
    }
}
