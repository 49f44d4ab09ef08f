//! Generated data sets. Their seed is fixed: `--seed` changes the training, not the data.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Dataset, Labelled, Samples, TEST_EVERY, Task};

/// 2 000 samples of y = M·x + c + noise, 8 features to 2 outputs, noise uniform in ±0.1.
///
/// A linear model reaches a mean squared error of 0.1²/3 ≈ 0.0033: the noise itself.
pub fn regression() -> Dataset {
    const FEATURES: usize = 8;
    const OUTPUTS: usize = 2;
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut uniform = |bound: f32| random.random_range(-bound..bound);
    let matrix: Vec<f32> = (0..FEATURES * OUTPUTS).map(|_| uniform(2.0)).collect();
    let offset: Vec<f32> = (0..OUTPUTS).map(|_| uniform(2.0)).collect();
    let mut samples = |count: usize| {
        let inputs: Vec<f32> = (0..count * FEATURES).map(|_| uniform(1.0)).collect();
        let mut targets = Vec::with_capacity(count * OUTPUTS);
        for x in inputs.chunks(FEATURES) {
            for (row, c) in matrix.chunks(FEATURES).zip(&offset) {
                let product: f32 = row.iter().zip(x).map(|(m, x)| m * x).sum();
                targets.push(product + c + uniform(0.1));
            }
        }
        Samples {
            count,
            inputs,
            targets,
        }
    };
    Dataset {
        name: "synthetic regression".into(),
        task: Task::Regression,
        features: FEATURES,
        image: None,
        outputs: OUTPUTS,
        train: samples(1600),
        test: samples(400),
    }
}

/// The classic demonstration: 1 000 samples of y = m·x + c + noise to train on, 20 features to one
/// number, and 250 to test. Features have variance 1, coefficients lie in ±1, noise in ±0.1, all
/// uniform.
///
/// A linear model reaches a mean squared error of 0.1²/3 ≈ 0.0033: the noise itself.
pub fn linear_regression() -> Dataset {
    const FEATURES: usize = 20;
    let bound = 3f32.sqrt();
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut uniform = |bound: f32| random.random_range(-bound..bound);
    let coefficients: Vec<f32> = (0..FEATURES).map(|_| uniform(1.0)).collect();
    let offset = uniform(1.0);
    let mut samples = |count: usize| {
        let inputs: Vec<f32> = (0..count * FEATURES).map(|_| uniform(bound)).collect();
        let target = |x: &[f32]| {
            let product: f32 = coefficients.iter().zip(x).map(|(m, x)| m * x).sum();
            product + offset + uniform(0.1)
        };
        Samples {
            count,
            targets: inputs.chunks(FEATURES).map(target).collect(),
            inputs,
        }
    };
    Dataset {
        name: "linear regression".into(),
        task: Task::Regression,
        features: FEATURES,
        image: None,
        outputs: 1,
        train: samples(1000),
        test: samples(250),
    }
}

/// Three spiral arms in the plane, 500 points each: no linear model tells them apart.
pub fn classification() -> Dataset {
    const ARMS: usize = 3;
    const POINTS: usize = 500;
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let mut train = Labelled::new(ARMS);
    let mut test = Labelled::new(ARMS);
    for arm in 0..ARMS {
        for point in 1..=POINTS {
            let radius = point as f32 / POINTS as f32;
            let turn =
                arm as f32 / ARMS as f32 + 0.75 * radius + random.random_range(-0.04..0.04f32);
            let angle = turn * std::f32::consts::TAU;
            let part = if point % TEST_EVERY == 0 {
                &mut test
            } else {
                &mut train
            };
            part.push([radius * angle.cos(), radius * angle.sin()], arm);
        }
    }
    Dataset {
        name: "synthetic classification".into(),
        task: Task::Classification,
        features: 2,
        image: None,
        outputs: ARMS,
        train: train.samples,
        test: test.samples,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_data_are_the_same_every_time() {
        assert_eq!(regression(), regression());
        assert_eq!(classification(), classification());
        assert_eq!(linear_regression(), linear_regression());
    }

    #[test]
    fn shapes_fit_the_counts() {
        for data in [regression(), classification(), linear_regression()] {
            for part in [&data.train, &data.test] {
                assert_eq!(
                    part.inputs.len(),
                    part.count * data.features,
                    "{}",
                    data.name
                );
                assert_eq!(
                    part.targets.len(),
                    part.count * data.outputs,
                    "{}",
                    data.name
                );
            }
        }
    }
}
