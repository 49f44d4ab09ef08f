//! What surrounds a step: loss scale, accumulation, averages, poison.

use super::*;

fn small(loss: Loss) -> Architecture {
    perceptron(&[6, 40, 3], Activation::Tanh, loss)
}

#[test]
fn a_loss_scale_multiplies_gradients_and_leaves_scores_alone() {
    for loss in LOSSES {
        let architecture = small(loss);
        let data = random_data(&architecture, 37, 5);
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
    let data = random_data(&architecture, 66, 5);
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
    let data = random_data(&architecture, 64, 50);
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
    let data = random_data(&architecture, 64, 50);
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
