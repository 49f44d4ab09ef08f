use anyhow::{Context, Result};
use burn::module::{Module, Param};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    AdaGradConfig, AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer, RmsPropConfig,
    SgdConfig,
};
use burn::tensor::{Device, Tensor, TensorData};

use super::{ALPHA, BETA1, BETA2, EPS, Fill, LR, MOMENTUM, Problem, Rule, Stepper, WEIGHT_DECAY};
use crate::timing::Contestant;

/// A model that is nothing but its parameters.
#[derive(Module, Debug)]
struct Params {
    all: Vec<Param<Tensor<1>>>,
}

pub struct Steps<'p> {
    problem: &'p Problem,
    device: Device,
    /// Absent only during a step.
    params: Option<Params>,
    gradients: Vec<Tensor<1>>,
    /// Copies of them for the next step, which uses them up.
    prepared: GradientsParams,
    optimizer: ModuleOptimizer,
}

impl<'p> Steps<'p> {
    pub fn new(problem: &'p Problem, device: &Device) -> Result<Self> {
        // As in training.
        let autodiff = device.clone().autodiff();
        let param = |index| Param::from_data(data(problem, Fill::Params, index), &autodiff);
        let mut steps = Self {
            problem,
            device: device.clone(),
            params: Some(Params {
                all: (0..problem.tensors).map(param).collect(),
            }),
            gradients: Vec::new(),
            prepared: GradientsParams::new(),
            optimizer: optimizer(problem.rule),
        };
        steps.set_gradients(Fill::FirstGradients)?;
        Ok(steps)
    }
}

fn data(problem: &Problem, fill: Fill, tensor: usize) -> TensorData {
    TensorData::new(problem.values(fill, tensor), [problem.length])
}

impl Stepper for Steps<'_> {
    fn set_gradients(&mut self, fill: Fill) -> Result<()> {
        let gradient = |index| Tensor::from_data(data(self.problem, fill, index), &self.device);
        self.gradients = (0..self.problem.tensors).map(gradient).collect();
        self.finish()
    }

    fn param(&self, tensor: usize) -> Result<Vec<f32>> {
        let params = self.params.as_ref().context("no parameters")?;
        Ok(params.all[tensor].val().try_into_data()?.try_to_vec()?)
    }
}

impl Contestant for Steps<'_> {
    fn prepare(&mut self) -> Result<()> {
        let params = self.params.as_ref().context("no parameters")?;
        for (param, gradient) in params.all.iter().zip(&self.gradients) {
            self.prepared
                .register(param.id, gradient.clone().mul_scalar(1.0));
        }
        self.finish()
    }

    fn step(&mut self) -> Result<()> {
        let params = self.params.take().context("no parameters")?;
        let gradients = std::mem::take(&mut self.prepared);
        self.params = Some(self.optimizer.step(LR, params, gradients));
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        Ok(self.device.sync()?)
    }
}

fn optimizer(rule: Rule) -> ModuleOptimizer {
    match rule {
        Rule::Sgd => {
            let momentum = MomentumConfig::new()
                .with_momentum(MOMENTUM)
                .with_dampening(0.0);
            SgdConfig::new().with_momentum(Some(momentum)).init()
        }
        Rule::Adagrad => AdaGradConfig::new().with_epsilon(EPS as f32).init(),
        Rule::RmsProp => RmsPropConfig::new()
            .with_alpha(ALPHA as f32)
            .with_momentum(0.0)
            .with_epsilon(EPS as f32)
            .init(),
        Rule::Adam => AdamConfig::new()
            .with_beta_1(BETA1 as f32)
            .with_beta_2(BETA2 as f32)
            .with_epsilon(EPS as f32)
            .init(),
        Rule::AdamW => AdamWConfig::new()
            .with_beta_1(BETA1 as f32)
            .with_beta_2(BETA2 as f32)
            .with_epsilon(EPS as f32)
            .with_weight_decay(WEIGHT_DECAY as f32)
            .init(),
    }
}
