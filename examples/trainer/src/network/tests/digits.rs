//! Trainings on the digits: the same on both devices and in every run.

use super::*;

fn digits() -> (Dataset, Architecture) {
    let data = Source::parse("digits").load(10).unwrap();
    let architecture = perceptron(
        &[data.features, 128, 64, data.outputs],
        Activation::Relu,
        Loss::CrossEntropy,
    );
    (data, architecture)
}

fn new_cpu<T: Scalar>(seed: u64) -> CpuNetwork<T> {
    let (data, architecture) = digits();
    CpuNetwork::new(adamw(&architecture), &data, 32, seed).unwrap()
}

fn new_gpu(seed: u64) -> GpuNetwork<'static> {
    let (data, architecture) = digits();
    GpuNetwork::new(gpu(), adamw(&architecture), &data, 32, seed).unwrap()
}

/// The same network on both devices, stored in these formats.
fn both_in(formats: Formats, seed: u64) -> (GpuNetwork<'static>, CpuNetwork<f32>) {
    let (data, architecture) = digits();
    let rules = Rules {
        formats,
        ..rule("adamw").into()
    };
    let registered = architecture.register(rules, Options::default()).unwrap();
    let cpu = CpuNetwork::new(registered.clone(), &data, 32, seed).unwrap();
    (
        GpuNetwork::new(gpu(), registered, &data, 32, seed).unwrap(),
        cpu,
    )
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
        let layers = gpu.registered.parameters().zip(cpu.registered.parameters());
        let pairs = layers.flat_map(|(a, b)| [(a.weight, b.weight), (a.bias, b.bias)]);
        pairs.map(both).collect::<Vec<_>>()
    };
    assert_ne!(tensors(1), tensors(2));
}

#[test]
fn losses_agree_over_the_first_100_steps_in_all_formats() {
    let [f32, bf16, f16, plus_8] = [Format::F32, Format::Bf16, Format::F16, Format::Bf16Plus8];
    // Sums of f32 end otherwise here and there. What is rounded after them may then become a neighbour
    // that is a 256th away.
    for (params, grads, most) in [
        (f32, f32, 1e-3),
        (f32, f16, 1e-2),
        (bf16, bf16, 2e-2),
        (plus_8, f16, 1e-2),
    ] {
        let formats = Formats {
            params,
            grads,
            ..Formats::default()
        };
        losses_agree(formats, most);
    }
}

fn losses_agree(formats: Formats, most: f64) {
    let device = gpu().device.clone();
    let (mut gpu, mut cpu) = both_in(formats, 1);
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
                (actual - expected).abs() <= most * expected,
                "{formats:?}, step {steps}: {actual} instead of {expected}"
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
        let layers = network.registered.parameters();
        let read = |layer: &Parameters| {
            network
                .optimizer
                .read_param_blocking(&gpu_queue(), layer.weight)
                .unwrap()
        };
        (scores, layers.map(read).collect::<Vec<_>>())
    };
    assert!(run() == run());
}

#[test]
fn the_same_run_twice_is_bit_equal_on_the_cpu() {
    let run = || {
        let mut network = new_cpu::<f32>(4);
        let scores = two_epochs(&mut network, digits().0.train.count);
        let layers = network.registered.parameters();
        let read = |layer: &Parameters| network.optimizer.param(layer.weight).unwrap().to_vec();
        (scores, layers.map(read).collect::<Vec<_>>())
    };
    assert!(run() == run());
}

#[test]
fn a_trained_network_that_is_asked_is_as_often_right_as_its_score_says() {
    let (data, architecture) = digits();
    let mut network = new_gpu(4);
    let score = two_epochs(&mut network, data.train.count)[3];
    let weights = network.weights().unwrap();
    let trained = Trained::new(adamw(&architecture), &weights).unwrap();
    let parts = trained.probabilities(&data.test.inputs).unwrap();
    let pairs = parts.chunks(10).zip(data.test.targets.chunks(10));
    let (mut hits, mut loss) = (0, 0.0);
    for (parts, targets) in pairs {
        assert!((parts.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        let right = targets.iter().position(|&target| target == 1.0).unwrap();
        hits += usize::from(parts.iter().all(|&part| part <= parts[right]));
        loss -= f64::from(parts[right].ln()) / data.test.count as f64;
    }
    assert!(score.accuracy > 0.5, "{score:?}");
    let found = hits as f64 / data.test.count as f64;
    assert!(
        (found - score.accuracy).abs() < 1.5 / data.test.count as f64,
        "{found}, {score:?}"
    );
    assert!((loss / score.loss - 1.0).abs() < 1e-4, "{loss}, {score:?}");
}

#[test]
fn weights_of_another_network_are_refused() {
    let (_, architecture) = digits();
    let mut weights = new_cpu::<f32>(4).weights().unwrap();
    weights[1].bias.pop();
    let error = Trained::new(adamw(&architecture), &weights).err().unwrap();
    assert!(error.to_string().contains("no room for 63"), "{error}");
    weights.pop();
    let error = Trained::new(adamw(&architecture), &weights).err().unwrap();
    assert!(error.to_string().contains("expected 3"), "{error}");
}
