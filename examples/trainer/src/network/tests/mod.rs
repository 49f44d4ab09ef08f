//! The GPU network against finite differences and against the CPU network.
//!
//! `WGPU_ADAPTER_NAME` and `WGPU_BACKEND` choose the driver; without any driver these tests fail.

mod around;
mod digits;
mod images;
mod limits;
mod perceptrons;

use std::sync::OnceLock;

use flags::Rules;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use wgpu_optim::{
    Average, Format, Formats, Gpu, GpuOptions, LossScale, Options, Rule, Tensor, read_blocking,
    rules, wgpu,
};

use super::cpu::{CpuNetwork, Scalar, Trained};
use super::gpu::GpuNetwork;
use super::registered::Parameters;
use super::*;
use crate::data::{Dataset, Samples, Source, Task};
use crate::training::Shuffle;

const ACTIVATIONS: [Activation; 4] = [
    Activation::Relu,
    Activation::Tanh,
    Activation::Sigmoid,
    Activation::Gelu,
];
const LOSSES: [Loss; 3] = [Loss::CrossEntropy, Loss::BinaryCrossEntropy, Loss::Mse];

pub fn gpu() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| Gpu::open_blocking(&options()).expect("these tests need a GPU driver"))
}

fn options() -> GpuOptions {
    GpuOptions {
        name: std::env::var("WGPU_ADAPTER_NAME").ok(),
        ..GpuOptions::default()
    }
}

/// A rule that starts at a learning rate of 1, so that a part of it is a learning rate.
fn rule(name: &str) -> Box<dyn Rule> {
    let mut rule = rules::by_name(name).unwrap();
    rule.set("lr", "1").unwrap();
    rule
}

trait Step: Network {
    /// One step from the gradient of one batch.
    fn step(&mut self, batch: usize, lr: f64) -> Result<()> {
        self.backward(batch)?;
        self.update(lr)
    }
}

impl<N: Network + ?Sized> Step for N {}

fn perceptron(sizes: &[usize], activation: Activation, loss: Loss) -> Architecture {
    Architecture::perceptron(sizes, activation, loss).unwrap()
}

/// Random inputs in ±1 and targets that suit the loss.
fn random_data(architecture: &Architecture, train: usize, test: usize) -> Dataset {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let (features, outputs) = (
        architecture.input().numbers(),
        architecture.output().numbers(),
    );
    let loss = architecture.loss;
    let mut samples = |count: usize| {
        let mut targets = vec![0.0; count * outputs];
        for row in targets.chunks_mut(outputs) {
            match loss {
                Loss::CrossEntropy => row[random.random_range(0..outputs)] = 1.0,
                Loss::BinaryCrossEntropy => {
                    row.fill_with(|| f32::from(random.random_bool(0.5)));
                }
                Loss::Mse => row.fill_with(|| random.random_range(-2.0..2.0)),
            }
        }
        let inputs = (0..count * features)
            .map(|_| random.random_range(-1.0..1.0))
            .collect();
        Samples {
            count,
            inputs,
            targets,
        }
    };
    Dataset {
        name: "random".into(),
        task: Task::Classification,
        features,
        image: None,
        outputs,
        train: samples(train),
        test: samples(test),
    }
}

/// The same network on both devices, with biases that are not zero.
struct Pair {
    gpu: GpuNetwork<'static>,
    cpu: CpuNetwork<f64>,
    parameters: Vec<Parameters>,
}

impl Pair {
    fn new(architecture: &Architecture, data: &Dataset, batch_size: usize) -> Self {
        Self::scaled(architecture, data, batch_size, 1.0)
    }

    /// All parameters times `scale`.
    fn scaled(architecture: &Architecture, data: &Dataset, batch_size: usize, scale: f32) -> Self {
        let options = Options::default();
        Self::around(architecture, data, batch_size, scale, options)
    }

    /// All parameters times `scale`, and steps with these options around them.
    fn around(
        architecture: &Architecture,
        data: &Dataset,
        batch_size: usize,
        scale: f32,
        options: Options,
    ) -> Self {
        let registered = architecture.clone().register(rule("sgd"), options).unwrap();
        let parameters: Vec<_> = registered.parameters().copied().collect();
        let gpu = GpuNetwork::new(gpu(), registered.clone(), data, batch_size, 3).unwrap();
        let mut cpu = CpuNetwork::new(registered, data, batch_size, 3).unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(11);
        for tensors in &parameters {
            cpu.optimizer
                .param_mut(tensors.bias)
                .unwrap()
                .fill_with(|| f64::from(random.random_range(-0.5..0.5f32)));
            for tensor in [tensors.weight, tensors.bias] {
                let parameters = cpu.optimizer.param_mut(tensor).unwrap();
                parameters
                    .iter_mut()
                    .for_each(|parameter| *parameter *= f64::from(scale));
                let rounded: Vec<f32> = parameters.iter().map(|&p| p as f32).collect();
                gpu.optimizer
                    .write_param(&gpu_queue(), tensor, &rounded)
                    .unwrap();
            }
        }
        Self {
            gpu,
            cpu,
            parameters,
        }
    }

    fn tensors(&self) -> Vec<Tensor> {
        self.parameters
            .iter()
            .flat_map(|tensors| [tensors.weight, tensors.bias])
            .collect()
    }

    /// Trains both on one batch with a learning rate of zero, for the gradients alone.
    fn visit(&mut self, batch: usize) {
        self.backward(batch);
        self.update(0.0);
    }

    /// Both devices' backward passes over one batch, without a step.
    fn backward(&mut self, batch: usize) {
        self.gpu.backward(batch).unwrap();
        self.cpu.backward(batch).unwrap();
    }

    fn update(&mut self, lr: f64) {
        self.gpu.update(lr).unwrap();
        self.cpu.update(lr).unwrap();
    }

    /// Fails unless both devices' gradients are `factor` times those of `other` on the CPU.
    fn compare_with(&mut self, other: &Self, factor: f64, what: &str) {
        for (tensor, theirs) in self.tensors().into_iter().zip(other.tensors()) {
            let expected = other.cpu.optimizer.grad(theirs).unwrap();
            let expected: Vec<f64> = expected.iter().map(|g| factor * g).collect();
            compare(&self.gpu_gradient(tensor), &expected, 2e-5, what);
            let cpu = self.cpu.optimizer.grad(tensor).unwrap();
            let cpu: Vec<f32> = cpu.iter().map(|&g| g as f32).collect();
            compare(&cpu, &expected, 1e-6, &format!("CPU network: {what}"));
        }
    }

    fn gpu_gradient(&mut self, tensor: Tensor) -> Vec<f32> {
        self.gpu.train_score().unwrap();
        self.gpu
            .optimizer
            .read_grad_blocking(&gpu_queue(), tensor)
            .unwrap()
    }

    /// Fails unless each of the GPU's gradients is the CPU's.
    fn compare_gradients(&mut self, tolerance: f64, what: &str) {
        for tensor in self.tensors() {
            let actual = self.gpu_gradient(tensor);
            let expected = self.cpu.optimizer.grad(tensor).unwrap();
            compare(&actual, expected, tolerance, what);
        }
    }
}

fn gpu_queue() -> wgpu::Queue {
    gpu().queue.clone()
}

/// Fails unless every difference is within `tolerance` of the largest expected magnitude.
fn compare(actual: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(actual.len(), expected.len());
    let largest = expected
        .iter()
        .fold(0.0f64, |largest, value| largest.max(value.abs()));
    for (index, (&actual, &expected)) in actual.iter().zip(expected).enumerate() {
        let error = (f64::from(actual) - expected).abs();
        assert!(
            error <= tolerance * largest + 1e-9,
            "{what}: element {index} is {actual} instead of {expected}, {} of the largest",
            error / largest
        );
    }
}

/// Central differences of the CPU network's mean loss on batch 0, in f64.
fn finite_differences(cpu: &mut CpuNetwork<f64>, tensor: Tensor) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    let batch = cpu.batch(0);
    let loss_at = |cpu: &mut CpuNetwork<f64>, index: usize, value: f64| {
        cpu.optimizer.param_mut(tensor).unwrap()[index] = value;
        let tally = cpu.pass(&batch, false).unwrap();
        tally.loss / tally.count as f64
    };
    let start = cpu.optimizer.param(tensor).unwrap().to_vec();
    let mut differences = Vec::with_capacity(start.len());
    for (index, &value) in start.iter().enumerate() {
        let above = loss_at(cpu, index, value + STEP);
        let below = loss_at(cpu, index, value - STEP);
        loss_at(cpu, index, value);
        differences.push((above - below) / (2.0 * STEP));
    }
    differences
}

/// Fails unless both devices' gradients on `rows` random rows are the finite differences.
fn check_finite_differences(architecture: &Architecture, rows: usize) {
    let data = random_data(architecture, rows, 1);
    let mut pair = Pair::new(architecture, &data, rows);
    pair.visit(0);
    for tensor in pair.tensors() {
        let expected = finite_differences(&mut pair.cpu, tensor);
        let what = format!("{architecture:?}, {rows} rows");
        compare(&pair.gpu_gradient(tensor), &expected, 2e-5, &what);
        let cpu: Vec<f32> = pair
            .cpu
            .optimizer
            .grad(tensor)
            .unwrap()
            .iter()
            .map(|&g| g as f32)
            .collect();
        compare(&cpu, &expected, 1e-6, &format!("CPU network: {what}"));
    }
}

fn adamw(architecture: &Architecture) -> Registered {
    architecture
        .clone()
        .register(rule("adamw"), Options::default())
        .unwrap()
}
