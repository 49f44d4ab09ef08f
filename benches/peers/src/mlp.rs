//! Training a multi-layer perceptron: burn's with autodiff, ours of examples/trainer.

use anyhow::{Context, Result, anyhow, ensure};
use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Int, Tensor, TensorData, activation::relu};
use flags::Rules;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use trainer::data::{Dataset, Samples, Task};
use trainer::network::gpu::GpuNetwork;
use trainer::network::{Activation, Architecture, Loss, Network};
use wgpu_optim::{Gpu, Options, Rule, rules};

use crate::timing::{self, Contestant};

const STEPS_PER_ROUND: usize = 100;
const SEED: u64 = 1;
/// Of the loss after ten steps.
const TOLERANCE: f64 = 1e-4;

/// One hidden layer with ReLU, and one batch that is learned again and again.
struct Problem {
    sizes: [usize; 3],
    inputs: Vec<f32>,
    classes: Vec<usize>,
}

impl Problem {
    fn new(sizes: [usize; 3], batch_size: usize) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(SEED);
        let count = batch_size * sizes[0];
        Self {
            sizes,
            inputs: (0..count).map(|_| random.random_range(0.0..1.0)).collect(),
            classes: (0..batch_size)
                .map(|_| random.random_range(0..sizes[2]))
                .collect(),
        }
    }

    fn architecture(&self) -> Result<Architecture> {
        Architecture::perceptron(&self.sizes, Activation::Relu, Loss::CrossEntropy)
    }

    fn samples(&self) -> Samples {
        let mut targets = vec![0.0; self.classes.len() * self.sizes[2]];
        for (row, class) in targets.chunks_mut(self.sizes[2]).zip(&self.classes) {
            row[*class] = 1.0;
        }
        Samples {
            count: self.classes.len(),
            inputs: self.inputs.clone(),
            targets,
        }
    }
}

const LR: f64 = 1e-3;
const BETAS: [f64; 2] = [0.9, 0.999];
const EPS: f64 = 1e-8;

/// Our trainer. It also picks the batch's rows out of a data set and scores each, in every step.
struct Ours<'g>(GpuNetwork<'g>);

impl<'g> Ours<'g> {
    fn new(problem: &Problem, gpu: &'g Gpu) -> Result<Self> {
        let adam: Box<dyn Rule> = Box::new(rules::Adam {
            lr: LR,
            beta1: BETAS[0],
            beta2: BETAS[1],
            eps: EPS,
            ..Default::default()
        });
        let registered = problem
            .architecture()?
            .register(Rules::from(adam), Options::default())?;
        let data = Dataset {
            name: "random".into(),
            task: Task::Classification,
            features: problem.sizes[0],
            image: None,
            outputs: problem.sizes[2],
            train: problem.samples(),
            test: problem.samples(),
        };
        let network = GpuNetwork::new(gpu, registered, &data, problem.classes.len(), SEED)?;
        Ok(Self(network))
    }

    /// Of the last step's batch, before that step.
    fn loss(&mut self) -> Result<f64> {
        Ok(self.0.train_score()?.loss)
    }
}

impl Contestant for Ours<'_> {
    fn step(&mut self) -> Result<()> {
        self.0.backward(0)?;
        self.0.update(1.0)
    }

    fn finish(&mut self) -> Result<()> {
        self.0.stats()?;
        Ok(())
    }
}

#[derive(Module, Debug)]
struct Model {
    hidden: Linear,
    output: Linear,
}

struct Burn {
    device: Device,
    inputs: Tensor<2>,
    classes: Tensor<1, Int>,
    /// Absent only during an update.
    model: Option<Model>,
    cross_entropy: CrossEntropyLoss,
    optimizer: ModuleOptimizer,
    /// Of the last step's batch, before that step.
    loss: Option<Tensor<1>>,
}

impl Burn {
    fn new(problem: &Problem, device: &Device) -> Result<Self> {
        let device = device.clone().autodiff();
        let [features, hidden, outputs] = problem.sizes;
        let rows = problem.classes.len();
        let inputs = TensorData::new(problem.inputs.clone(), [rows, features]);
        let classes = problem.classes.iter().map(|&class| class as i32);
        let classes = TensorData::new(classes.collect::<Vec<_>>(), [rows]);
        let weights = problem.architecture()?.initial_weights(SEED);
        let [first, second] = &weights[..] else {
            return Err(anyhow!("{} layers in place of two", weights.len()));
        };
        let adam = AdamConfig::new()
            .with_beta_1(BETAS[0] as f32)
            .with_beta_2(BETAS[1] as f32)
            .with_epsilon(EPS as f32);
        Ok(Self {
            inputs: Tensor::from_data(inputs, &device),
            classes: Tensor::from_data(classes, &device),
            model: Some(Model {
                hidden: linear(first, features, hidden, &device),
                output: linear(second, hidden, outputs, &device),
            }),
            cross_entropy: CrossEntropyLossConfig::new().init(&device),
            optimizer: adam.init(),
            loss: None,
            device,
        })
    }

    fn loss(&self) -> Result<f64> {
        let loss = self.loss.as_ref().context("no step yet")?;
        Ok(f64::from(loss.clone().try_into_scalar::<f32>()?))
    }
}

/// Burn keeps `[inputs, outputs]`, we keep `[outputs, inputs]`.
fn linear(weights: &[f32], inputs: usize, outputs: usize, device: &Device) -> Linear {
    let transposed = (0..inputs * outputs)
        .map(|index| weights[index % outputs * inputs + index / outputs])
        .collect::<Vec<_>>();
    let weights = TensorData::new(transposed, [inputs, outputs]);
    let biases = TensorData::new(vec![0_f32; outputs], [outputs]);
    Linear {
        weight: Param::from_data(weights, device),
        bias: Some(Param::from_data(biases, device)),
    }
}

impl Contestant for Burn {
    fn step(&mut self) -> Result<()> {
        let model = self.model.take().context("no model")?;
        let hidden = relu(model.hidden.forward(self.inputs.clone()));
        let outputs = model.output.forward(hidden);
        let loss = self.cross_entropy.forward(outputs, self.classes.clone());
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        self.model = Some(self.optimizer.step(LR, model, gradients));
        self.loss = Some(loss);
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        Ok(self.device.sync()?)
    }
}

pub fn run(gpu: &Gpu, burn: &Device, rounds: usize) -> Result<()> {
    for (sizes, batch_size) in [([64, 64, 10], 32), ([784, 128, 10], 64)] {
        let problem = Problem::new(sizes, batch_size);
        let (mut ours, ours_start) = timing::start(|| Ours::new(&problem, gpu))?;
        let (mut burn, burn_start) = timing::start(|| Burn::new(&problem, burn))?;
        check_equal(ours.loss()?, burn.loss()?)?;
        let times = timing::interleave(rounds, STEPS_PER_ROUND, &mut ours, &mut burn)?;
        let [features, hidden, outputs] = sizes;
        let what = format!("train {features}-{hidden}-{outputs}, batch {batch_size}");
        timing::print(&what, &times, &ours_start, &burn_start);
    }
    Ok(())
}

/// So that nobody times another network, or another start.
fn check_equal(ours: f64, burn: f64) -> Result<()> {
    ensure!(
        (ours - burn).abs() <= TOLERANCE * burn,
        "after ten steps our loss is {ours} and burn's {burn}"
    );
    Ok(())
}
