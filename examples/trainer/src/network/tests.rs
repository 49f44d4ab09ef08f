//! The GPU network against finite differences and against the CPU network.
//!
//! `WGPU_ADAPTER_NAME` and `WGPU_BACKEND` choose the driver; without any driver these tests fail.

use std::sync::OnceLock;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use wgpu_optim::{Average, Gpu, GpuOptions, LossScale, Options, Rule, read_blocking, rules, wgpu};

use super::cpu::{CpuNetwork, Scalar};
use super::gpu::GpuNetwork;
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

/// Random inputs in ±1 and targets that suit the loss.
fn random_data(sizes: &[usize], loss: Loss, train: usize, test: usize) -> Dataset {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let (features, outputs) = (sizes[0], sizes[sizes.len() - 1]);
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
        outputs,
        train: samples(train),
        test: samples(test),
    }
}

/// The same network on both devices, with biases that are not zero.
struct Pair {
    gpu: GpuNetwork<'static>,
    cpu: CpuNetwork<f64>,
    layers: Vec<Linear>,
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
        let layers = registered.layers.clone();
        let gpu = GpuNetwork::new(gpu(), registered.clone(), data, batch_size, 3).unwrap();
        let mut cpu = CpuNetwork::new(registered, data, batch_size, 3).unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(11);
        for layer in &layers {
            cpu.optimizer
                .param_mut(layer.bias)
                .unwrap()
                .fill_with(|| f64::from(random.random_range(-0.5..0.5f32)));
            for tensor in [layer.weight, layer.bias] {
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
        Self { gpu, cpu, layers }
    }

    fn tensors(&self) -> Vec<Tensor> {
        self.layers
            .iter()
            .flat_map(|layer| [layer.weight, layer.bias])
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

/// Finite differences of every activation with every loss, for the networks of these sizes.
fn check_against_finite_differences(sizes: &[usize], rows: usize) {
    for activation in ACTIVATIONS {
        for loss in LOSSES {
            let architecture = Architecture {
                sizes: sizes.to_vec(),
                activation,
                loss,
            };
            let data = random_data(sizes, loss, rows, 1);
            let mut pair = Pair::new(&architecture, &data, rows);
            pair.visit(0);
            for tensor in pair.tensors() {
                let expected = finite_differences(&mut pair.cpu, tensor);
                let what = format!("{activation:?}, {loss:?}, {sizes:?}, {rows} rows");
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
    }
}

#[test]
fn gradients_without_hidden_layers_are_the_finite_differences() {
    check_against_finite_differences(&[7, 5], 9);
}

#[test]
fn gradients_of_a_single_sample_are_the_finite_differences() {
    check_against_finite_differences(&[3, 35, 2], 1);
}

#[test]
fn gradients_with_two_hidden_layers_are_the_finite_differences() {
    check_against_finite_differences(&[6, 17, 33, 3], 37);
}

#[test]
fn gradients_with_three_hidden_layers_are_the_finite_differences() {
    check_against_finite_differences(&[4, 9, 1, 10, 5], 6);
}

#[test]
fn gradients_of_shapes_around_the_tile_are_the_cpu_networks() {
    for (sizes, rows) in [
        (vec![31, 32, 33], 32),
        (vec![64, 65, 63, 10], 33),
        (vec![100, 130, 2], 31),
        (vec![1, 1], 1),
        (vec![15, 16, 17, 1], 257),
    ] {
        let loss = Loss::Mse;
        let architecture = Architecture {
            sizes,
            activation: Activation::Gelu,
            loss,
        };
        let data = random_data(&architecture.sizes, loss, rows, 1);
        let mut pair = Pair::new(&architecture, &data, rows);
        pair.visit(0);
        pair.compare_gradients(2e-5, &format!("{:?}, {rows} rows", architecture.sizes));
    }
}

#[test]
fn extreme_activations_leave_losses_and_gradients_finite_and_right() {
    let sizes = [5, 8, 6, 4];
    for activation in ACTIVATIONS {
        for loss in LOSSES {
            let architecture = Architecture {
                sizes: sizes.to_vec(),
                activation,
                loss,
            };
            let data = random_data(&sizes, loss, 11, 1);
            // Sums up to about 10^4, and 10^12 above a second unbounded layer.
            let mut pair = Pair::scaled(&architecture, &data, 11, 4096.0);
            pair.visit(0);
            let what = format!("{activation:?}, {loss:?}");
            let gpu = pair.gpu.train_score().unwrap().loss;
            let cpu = pair.cpu.train_score().unwrap().loss;
            assert!(
                (gpu - cpu).abs() <= 1e-5 * cpu.abs(),
                "{what}: loss {gpu} instead of {cpu}"
            );
            // f32 holds a sum of 10^4 to 10^-3.
            pair.compare_gradients(1e-3, &what);
        }
    }
}

#[test]
fn a_smaller_last_batch_is_averaged_over_its_own_size() {
    let sizes = [6, 40, 3];
    let loss = Loss::CrossEntropy;
    let architecture = Architecture {
        sizes: sizes.to_vec(),
        activation: Activation::Tanh,
        loss,
    };
    for (samples, batch_size) in [(7, 3), (70, 33), (65, 64)] {
        let data = random_data(&sizes, loss, samples, 5);
        let mut pair = Pair::new(&architecture, &data, batch_size);
        for batch in 0..batch_count(samples, batch_size) {
            pair.visit(batch);
        }
        pair.compare_gradients(2e-5, &format!("{samples} samples by {batch_size}"));
        let (gpu, cpu) = (
            pair.gpu.train_score().unwrap(),
            pair.cpu.train_score().unwrap(),
        );
        assert!(
            (gpu.loss - cpu.loss).abs() < 1e-6,
            "{gpu:?} instead of {cpu:?}"
        );
        assert_eq!(gpu.accuracy, cpu.accuracy);
    }
}

#[test]
fn test_scores_are_the_same_on_both_devices() {
    let sizes = [6, 20, 4];
    for loss in LOSSES {
        let architecture = Architecture {
            sizes: sizes.to_vec(),
            activation: Activation::Relu,
            loss,
        };
        // More test data than fit one scoring batch.
        let data = random_data(&sizes, loss, 10, 1100);
        let mut pair = Pair::new(&architecture, &data, 4);
        let (gpu, cpu) = (
            pair.gpu.test_score().unwrap(),
            pair.cpu.test_score().unwrap(),
        );
        assert!(
            (gpu.loss - cpu.loss).abs() < 1e-5 * cpu.loss,
            "{gpu:?} instead of {cpu:?}"
        );
        assert_eq!(gpu.accuracy, cpu.accuracy, "{loss:?}");
    }
}

fn small(loss: Loss) -> Architecture {
    Architecture {
        sizes: vec![6, 40, 3],
        activation: Activation::Tanh,
        loss,
    }
}

#[test]
fn a_loss_scale_multiplies_gradients_and_leaves_scores_alone() {
    for loss in LOSSES {
        let architecture = small(loss);
        let data = random_data(&architecture.sizes, loss, 37, 5);
        let options = Options {
            loss_scale: Some(LossScale::fixed(1024.0)),
            ..Options::default()
        };
        let mut plain = Pair::new(&architecture, &data, 37);
        let mut scaled = Pair::around(&architecture, &data, 37, 1.0, options);
        plain.backward(0);
        scaled.backward(0);
        scaled.compare_with(&plain, 1024.0, &format!("{loss:?}"));
        let score = plain.cpu.train_score().unwrap();
        assert_eq!(scaled.cpu.train_score().unwrap(), score);
        let on_gpu = scaled.gpu.train_score().unwrap();
        assert_eq!(on_gpu, plain.gpu.train_score().unwrap());
    }
}

#[test]
fn batches_that_add_up_make_the_step_of_the_whole_batch() {
    let loss = Loss::CrossEntropy;
    let architecture = small(loss);
    let data = random_data(&architecture.sizes, loss, 66, 5);
    let options = Options {
        accumulate: 2,
        zero_grad: true,
        loss_scale: Some(LossScale::fixed(8.0)),
        ..Options::default()
    };
    let mut whole = Pair::new(&architecture, &data, 66);
    let mut halves = Pair::around(&architecture, &data, 33, 1.0, options);
    // The second round meets what the first step leaves.
    for round in 1..=2 {
        whole.backward(0);
        halves.backward(0);
        halves.backward(1);
        let what = format!("round {round}");
        halves.compare_with(&whole, 2.0 * 8.0, &what);
        whole.update(0.5);
        halves.update(0.5);
        for (tensor, theirs) in halves.tensors().into_iter().zip(whole.tensors()) {
            let expected = whole.cpu.optimizer.param(theirs).unwrap();
            halves.gpu.train_score().unwrap();
            let optimizer = &halves.gpu.optimizer;
            let actual = optimizer.read_param_blocking(&gpu_queue(), tensor).unwrap();
            compare(&actual, expected, 2e-6, &what);
            let cpu = halves.cpu.optimizer.param(tensor).unwrap();
            let cpu: Vec<f32> = cpu.iter().map(|&p| p as f32).collect();
            compare(&cpu, expected, 1e-7, &format!("CPU network: {what}"));
        }
    }
}

#[test]
fn averaged_weights_are_tested_and_trained_weights_go_on() {
    let loss = Loss::CrossEntropy;
    let architecture = small(loss);
    let data = random_data(&architecture.sizes, loss, 64, 50);
    let options = Options {
        average: Some(Average {
            decay: 0.9,
            debias: true,
        }),
        ..Options::default()
    };
    let mut raw = Pair::new(&architecture, &data, 64);
    let mut averaged = Pair::around(&architecture, &data, 64, 1.0, options);
    let near = |a: Score, b: Score| (a.loss - b.loss).abs() < 1e-5 * b.loss;
    // Without a step there is no average yet.
    let start = raw.cpu.test_score().unwrap();
    assert!(near(averaged.cpu.test_score().unwrap(), start));
    assert!(near(averaged.gpu.test_score().unwrap(), start));
    for _ in 0..10 {
        for pair in [&mut raw, &mut averaged] {
            pair.backward(0);
            pair.update(0.5);
        }
        let averaged_score = averaged.cpu.test_score().unwrap();
        assert!(near(averaged.gpu.test_score().unwrap(), averaged_score));
    }
    let (mean, last) = (averaged.cpu.test_score(), raw.cpu.test_score());
    let (mean, last) = (mean.unwrap().loss, last.unwrap().loss);
    assert!((mean - last).abs() > 1e-3 * last, "{mean} and {last}");
    // Scoring has put the trained weights back.
    for (tensor, theirs) in averaged.tensors().into_iter().zip(raw.tensors()) {
        let expected = raw.cpu.optimizer.param(theirs).unwrap();
        assert_eq!(averaged.cpu.optimizer.param(tensor).unwrap(), expected);
    }
}

#[test]
fn a_poisoned_step_is_skipped_on_both_devices_and_the_next_is_not() {
    let loss = Loss::CrossEntropy;
    let architecture = small(loss);
    let data = random_data(&architecture.sizes, loss, 64, 50);
    for accumulate in [1, 2] {
        let options = Options {
            loss_scale: Some(LossScale::default()),
            accumulate,
            zero_grad: accumulate > 1,
            ..Options::default()
        };
        let mut pair = Pair::around(&architecture, &data, 64, 1.0, options);
        let start = pair.cpu.test_score().unwrap();
        for poisoned in [true, false] {
            for _ in 0..accumulate {
                pair.backward(0);
            }
            if poisoned {
                pair.gpu.poison().unwrap();
                pair.cpu.poison().unwrap();
            }
            pair.update(0.5);
            let (gpu, cpu) = (pair.gpu.stats().unwrap(), pair.cpu.stats().unwrap());
            for stats in [gpu, cpu] {
                assert_eq!(stats.skipped, 1);
                assert_eq!(stats.performed, u64::from(!poisoned));
                assert_eq!(stats.loss_scale, 32768.0);
            }
            let (gpu, cpu) = (
                pair.gpu.test_score().unwrap(),
                pair.cpu.test_score().unwrap(),
            );
            assert_eq!(cpu == start, poisoned);
            assert!(
                (gpu.loss - cpu.loss).abs() < 1e-5,
                "{gpu:?} instead of {cpu:?}"
            );
        }
    }
}

fn digits() -> (Dataset, Architecture) {
    let data = Source::parse("digits").load(10).unwrap();
    let architecture = Architecture {
        sizes: vec![data.features, 128, 64, data.outputs],
        activation: Activation::Relu,
        loss: Loss::CrossEntropy,
    };
    (data, architecture)
}

fn adamw(architecture: &Architecture) -> Registered {
    architecture
        .clone()
        .register(rule("adamw"), Options::default())
        .unwrap()
}

fn new_cpu<T: Scalar>(seed: u64) -> CpuNetwork<T> {
    let (data, architecture) = digits();
    CpuNetwork::new(adamw(&architecture), &data, 32, seed).unwrap()
}

fn new_gpu(seed: u64) -> GpuNetwork<'static> {
    let (data, architecture) = digits();
    GpuNetwork::new(gpu(), adamw(&architecture), &data, 32, seed).unwrap()
}

#[test]
fn the_same_seed_gives_both_devices_the_same_starting_weights() {
    let tensors = |seed| {
        let (gpu, cpu) = (new_gpu(seed), new_cpu::<f32>(seed));
        let both = |tensors: (Tensor, Tensor)| {
            let on_gpu = gpu
                .optimizer
                .read_param_blocking(&gpu_queue(), tensors.0)
                .unwrap();
            assert_eq!(on_gpu, cpu.optimizer.param(tensors.1).unwrap());
            on_gpu
        };
        let layers = gpu.registered.layers.iter().zip(&cpu.registered.layers);
        let pairs = layers.flat_map(|(a, b)| [(a.weight, b.weight), (a.bias, b.bias)]);
        pairs.map(both).collect::<Vec<_>>()
    };
    assert_ne!(tensors(1), tensors(2));
}

#[test]
fn losses_agree_over_the_first_100_steps() {
    let device = gpu().device.clone();
    let (mut gpu, mut cpu) = (new_gpu(1), new_cpu::<f32>(1));
    let (samples, batch_size) = (digits().0.train.count, 32);
    let mut shuffle = Shuffle::new(samples, 1);
    let mut steps = 0;
    while steps < 100 {
        let order = shuffle.next_epoch().to_vec();
        gpu.start_epoch(&order).unwrap();
        cpu.start_epoch(&order).unwrap();
        let mut expected = Vec::new();
        for batch in 0..batch_count(samples, batch_size) {
            let before = cpu.tally.loss;
            cpu.step(batch, 1e-3).unwrap();
            gpu.step(batch, 1e-3).unwrap();
            expected.push(cpu.tally.loss - before);
        }
        gpu.train_score().unwrap();
        let scores = read_blocking(&device, &gpu_queue(), &gpu.train.scores);
        for (batch, scores) in scores.unwrap().chunks(2 * batch_size).enumerate() {
            let actual: f64 = scores.iter().step_by(2).map(|&loss| f64::from(loss)).sum();
            let expected = expected[batch];
            assert!(
                (actual - expected).abs() <= 1e-3 * expected,
                "step {steps}: {actual} instead of {expected}"
            );
            steps += 1;
        }
    }
}

/// Losses of two epochs and the weights after them.
fn two_epochs(network: &mut dyn Network, samples: usize) -> Vec<Score> {
    let mut shuffle = Shuffle::new(samples, 5);
    let mut scores = Vec::new();
    for _ in 0..2 {
        network.start_epoch(shuffle.next_epoch()).unwrap();
        for batch in 0..batch_count(samples, 32) {
            network.step(batch, 1e-3).unwrap();
        }
        scores.push(network.train_score().unwrap());
        scores.push(network.test_score().unwrap());
    }
    scores
}

#[test]
fn the_same_run_twice_is_bit_equal_on_the_gpu() {
    let run = || {
        let mut network = new_gpu(4);
        let scores = two_epochs(&mut network, digits().0.train.count);
        let layers = &network.registered.layers;
        let read = |layer: &Linear| {
            network
                .optimizer
                .read_param_blocking(&gpu_queue(), layer.weight)
                .unwrap()
        };
        (scores, layers.iter().map(read).collect::<Vec<_>>())
    };
    assert!(run() == run());
}

#[test]
fn the_same_run_twice_is_bit_equal_on_the_cpu() {
    let run = || {
        let mut network = new_cpu::<f32>(4);
        let scores = two_epochs(&mut network, digits().0.train.count);
        let layers = &network.registered.layers;
        let read = |layer: &Linear| network.optimizer.param(layer.weight).unwrap().to_vec();
        (scores, layers.iter().map(read).collect::<Vec<_>>())
    };
    assert!(run() == run());
}

/// A device that binds no more than 16 KiB at once.
fn narrow_gpu() -> Gpu {
    let wide = gpu();
    let limits = wgpu::Limits {
        max_storage_buffer_binding_size: 16 << 10,
        ..wide.adapter.limits()
    };
    let descriptor = wgpu::DeviceDescriptor {
        required_limits: limits,
        ..Default::default()
    };
    let (device, queue) = pollster::block_on(wide.adapter.request_device(&descriptor)).unwrap();
    Gpu {
        device,
        queue,
        ..wide.clone()
    }
}

#[test]
fn a_data_set_beyond_the_binding_limit_is_gathered_from_pages() {
    let sizes = [20, 3];
    let loss = Loss::CrossEntropy;
    let architecture = Architecture {
        sizes: sizes.to_vec(),
        activation: Activation::Relu,
        loss,
    };
    // 12 000 numbers, of which a page holds 204 rows of 20.
    let data = random_data(&sizes, loss, 600, 100);
    let narrow = narrow_gpu();
    let mut gpu = GpuNetwork::new(&narrow, adamw(&architecture), &data, 50, 1).unwrap();
    let mut cpu = CpuNetwork::<f32>::new(adamw(&architecture), &data, 50, 1).unwrap();
    let mut shuffle = Shuffle::new(600, 1);
    let order = shuffle.next_epoch();
    gpu.start_epoch(order).unwrap();
    cpu.start_epoch(order).unwrap();
    for batch in 0..12 {
        gpu.step(batch, 1e-3).unwrap();
        cpu.step(batch, 1e-3).unwrap();
    }
    let (gpu, cpu) = (gpu.train_score().unwrap(), cpu.train_score().unwrap());
    assert!(
        (gpu.loss - cpu.loss).abs() < 1e-5,
        "{gpu:?} instead of {cpu:?}"
    );
    assert_eq!(gpu.accuracy, cpu.accuracy);
}

#[test]
fn a_batch_beyond_the_binding_limit_is_an_error_that_names_the_flag() {
    let architecture = Architecture {
        sizes: vec![20, 3],
        activation: Activation::Relu,
        loss: Loss::CrossEntropy,
    };
    let data = random_data(&architecture.sizes, architecture.loss, 600, 100);
    let narrow = narrow_gpu();
    let network = GpuNetwork::new(&narrow, adamw(&architecture), &data, 600, 1);
    let error = network.err().unwrap().to_string();
    assert!(error.contains("--batch-size"), "{error}");
}

/// llvmpipe would end the sums of a larger one.
#[test]
fn the_largest_batch_on_llvmpipe_is_right_and_a_larger_one_an_error() {
    const MOST: usize = 48_000;
    let architecture = Architecture {
        sizes: vec![2, 3],
        activation: Activation::Relu,
        loss: Loss::CrossEntropy,
    };
    let data = random_data(&architecture.sizes, architecture.loss, MOST + 1, 10);
    let refused = GpuNetwork::new(gpu(), adamw(&architecture), &data, MOST + 1, 1).err();
    let data = random_data(&architecture.sizes, architecture.loss, MOST, 10);
    let is_llvmpipe = gpu().info.name.contains("llvmpipe");
    assert_eq!(refused.is_some(), is_llvmpipe);
    if let Some(error) = refused {
        assert!(error.to_string().contains("--batch-size"), "{error}");
    }
    let mut on_gpu = GpuNetwork::new(gpu(), adamw(&architecture), &data, MOST, 1).unwrap();
    let mut on_cpu = CpuNetwork::<f32>::new(adamw(&architecture), &data, MOST, 1).unwrap();
    let mut shuffle = Shuffle::new(MOST, 1);
    let order = shuffle.next_epoch();
    let networks: [&mut dyn Network; 2] = [&mut on_gpu, &mut on_cpu];
    let losses = networks.map(|network| {
        for _ in 0..2 {
            network.start_epoch(order).unwrap();
            network.step(0, 0.1).unwrap();
        }
        network.train_score().unwrap().loss
    });
    let [gpu, cpu] = losses;
    assert!((gpu - cpu).abs() < 1e-5, "{gpu} instead of {cpu}");
}

/// llvmpipe would end the loops over more.
#[test]
fn the_most_outputs_on_llvmpipe_are_right_and_more_an_error() {
    const MOST: usize = 16_000;
    let of = |outputs: usize| {
        let architecture = Architecture {
            sizes: vec![2, outputs],
            activation: Activation::Relu,
            loss: Loss::CrossEntropy,
        };
        let data = random_data(&architecture.sizes, architecture.loss, 4, 1);
        (architecture, data)
    };
    let (architecture, data) = of(MOST + 1);
    let refused = GpuNetwork::new(gpu(), adamw(&architecture), &data, 4, 1).err();
    let is_llvmpipe = gpu().info.name.contains("llvmpipe");
    assert_eq!(refused.is_some(), is_llvmpipe);
    let (architecture, data) = of(MOST);
    let mut on_gpu = GpuNetwork::new(gpu(), adamw(&architecture), &data, 4, 1).unwrap();
    let mut on_cpu = CpuNetwork::<f32>::new(adamw(&architecture), &data, 4, 1).unwrap();
    let networks: [&mut dyn Network; 2] = [&mut on_gpu, &mut on_cpu];
    let [gpu, cpu] = networks.map(|network| {
        for _ in 0..2 {
            network.start_epoch(&[0, 1, 2, 3]).unwrap();
            network.step(0, 0.1).unwrap();
        }
        network.train_score().unwrap().loss
    });
    assert!((gpu - cpu).abs() < 1e-4, "{gpu} instead of {cpu}");
}

#[test]
fn a_network_of_absurd_size_is_an_error() {
    let architecture = Architecture {
        sizes: vec![64, 65_536, 65_536, 10],
        activation: Activation::Relu,
        loss: Loss::Mse,
    };
    let error = architecture
        .register(rule("sgd"), Options::default())
        .err()
        .unwrap();
    assert!(error.to_string().contains("parameters"), "{error}");
}

#[test]
fn scoring_a_batch_leaves_the_gradient_alone_and_scores_what_the_test_would() {
    let sizes = [5, 7, 3];
    let mut data = random_data(&sizes, Loss::CrossEntropy, 20, 1);
    data.test = data.train.clone();
    let architecture = Architecture {
        sizes: sizes.to_vec(),
        activation: Activation::Tanh,
        loss: Loss::CrossEntropy,
    };
    let mut pair = Pair::new(&architecture, &data, 8);
    pair.backward(0);
    let order: Vec<u32> = (0..20).collect();
    let networks: [&mut dyn Network; 2] = [&mut pair.gpu, &mut pair.cpu];
    for network in networks {
        network.start_epoch(&order).unwrap();
        (0..3).for_each(|batch| network.score_batch(batch).unwrap());
        let (scored, test) = (
            network.train_score().unwrap(),
            network.test_score().unwrap(),
        );
        assert!(
            (scored.loss - test.loss).abs() < 1e-6,
            "{scored:?}, {test:?}"
        );
        assert_eq!(scored.accuracy, test.accuracy);
    }
    let mut fresh = Pair::new(&architecture, &data, 8);
    fresh.backward(0);
    pair.compare_with(&fresh, 1.0, "gradient after a score");
}
