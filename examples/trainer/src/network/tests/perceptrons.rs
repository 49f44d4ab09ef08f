//! Gradients and scores of multi-layer perceptrons.

use super::*;

/// Finite differences of every activation with every loss, for the networks of these sizes.
fn check_perceptrons(sizes: &[usize], rows: usize) {
    for activation in ACTIVATIONS {
        for loss in LOSSES {
            check_finite_differences(&perceptron(sizes, activation, loss), rows);
        }
    }
}

#[test]
fn gradients_without_hidden_layers_are_the_finite_differences() {
    check_perceptrons(&[7, 5], 9);
}

#[test]
fn gradients_of_a_single_sample_are_the_finite_differences() {
    check_perceptrons(&[3, 35, 2], 1);
}

#[test]
fn gradients_with_two_hidden_layers_are_the_finite_differences() {
    check_perceptrons(&[6, 17, 33, 3], 37);
}

#[test]
fn gradients_with_three_hidden_layers_are_the_finite_differences() {
    check_perceptrons(&[4, 9, 1, 10, 5], 6);
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
        let architecture = perceptron(&sizes, Activation::Gelu, loss);
        let data = random_data(&architecture, rows, 1);
        let mut pair = Pair::new(&architecture, &data, rows);
        pair.visit(0);
        pair.compare_gradients(2e-5, &format!("{architecture:?}, {rows} rows"));
    }
}

#[test]
fn extreme_activations_leave_losses_and_gradients_finite_and_right() {
    let sizes = [5, 8, 6, 4];
    for activation in ACTIVATIONS {
        for loss in LOSSES {
            let architecture = perceptron(&sizes, activation, loss);
            let data = random_data(&architecture, 11, 1);
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
    let architecture = perceptron(&sizes, Activation::Tanh, loss);
    for (samples, batch_size) in [(7, 3), (70, 33), (65, 64)] {
        let data = random_data(&architecture, samples, 5);
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
        let architecture = perceptron(&sizes, Activation::Relu, loss);
        // More test data than fit one scoring batch.
        let data = random_data(&architecture, 10, 1100);
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

#[test]
fn scoring_a_batch_leaves_the_gradient_alone_and_scores_what_the_test_would() {
    let architecture = perceptron(&[5, 7, 3], Activation::Tanh, Loss::CrossEntropy);
    let mut data = random_data(&architecture, 20, 1);
    data.test = data.train.clone();
    let mut pair = Pair::new(&architecture, &data, 8);
    pair.backward(0);
    let order: Vec<u32> = (0..20).collect();
    let networks: [&mut dyn Network; 2] = [&mut pair.gpu, &mut pair.cpu];
    for network in networks {
        network.start_epoch(&order).unwrap();
        (0..3).for_each(|batch| network.score_batch(batch).unwrap());
        let scored = network.train_score().unwrap();
        let test = network.test_score().unwrap();
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
