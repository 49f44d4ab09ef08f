//! The same gradients to burn's own optimizers and to these: 100 steps of real models.
//!
//! The gradients are burn's, at the parameters of burn's run. So a difference is one of the updates,
//! and does not grow as two trainings would part.

use burn::module::Module;
use burn::optim::{
    AdaGradConfig, AdamConfig, AdamWConfig, GradientsParams, LionConfig, ModuleOptimizer,
    RmsPropConfig, SgdConfig, decay::WeightDecayConfig, momentum::MomentumConfig,
};
use burn::tensor::{Device, Tensor};
use wgpu_optim_burn::rules::{Adagrad, Adam, AdamW, Lion, RmsProp, Sgd};
use wgpu_optim_burn::{FusedOptimizer, Options};

use crate::support::{Cnn, Gradients, Transformer, device, further_apart, gap, values, way};

/// Of the way that the parameters went.
const MOST: f32 = 2e-5;

fn pairs() -> Vec<(&'static str, f64, ModuleOptimizer, FusedOptimizer)> {
    let options = Options::default;
    vec![
        (
            "adam",
            1e-2,
            AdamConfig::new().init(),
            FusedOptimizer::new(
                Adam {
                    eps: 1e-5,
                    ..Default::default()
                },
                options(),
            ),
        ),
        (
            "adam with decay",
            1e-2,
            AdamConfig::new()
                .with_weight_decay(Some(WeightDecayConfig::new(0.05)))
                .init(),
            FusedOptimizer::new(
                Adam {
                    eps: 1e-5,
                    weight_decay: 0.05,
                    ..Default::default()
                },
                options(),
            ),
        ),
        (
            "adamw",
            1e-2,
            AdamWConfig::new().with_weight_decay(0.1).init(),
            FusedOptimizer::new(
                AdamW {
                    eps: 1e-5,
                    weight_decay: 0.1,
                    ..Default::default()
                },
                options(),
            ),
        ),
        (
            "sgd with momentum",
            3e-2,
            SgdConfig::new()
                .with_momentum(Some(MomentumConfig::new()))
                .init(),
            FusedOptimizer::new(
                Sgd {
                    momentum: 0.9,
                    dampening: 0.1,
                    ..Default::default()
                },
                options(),
            ),
        ),
        (
            "rmsprop",
            1e-3,
            RmsPropConfig::new().init(),
            FusedOptimizer::new(
                RmsProp {
                    alpha: 0.99,
                    momentum: 0.9,
                    eps: 1e-5,
                    ..Default::default()
                },
                options(),
            ),
        ),
        (
            "adagrad",
            3e-2,
            AdaGradConfig::new().init(),
            FusedOptimizer::new(
                Adagrad {
                    eps: 1e-5,
                    ..Default::default()
                },
                options(),
            ),
        ),
        (
            "lion",
            1e-3,
            LionConfig::new().init(),
            FusedOptimizer::new(Lion::default(), options()),
        ),
    ]
}

fn follow<M: Module>(new: impl Fn(&Device) -> M, loss: impl Fn(&M, u32, &Device) -> Tensor<1>) {
    let device = device();
    for (name, lr, mut burn, mut ours) in pairs() {
        let mut model = new(&device);
        let start = values(&model);
        let mut stepped = model.clone();
        for step in 0..100 {
            let grads = loss(&model, step, &device).backward();
            let grads = Gradients(GradientsParams::from_grads(grads, &model));
            stepped = ours.step(lr, stepped, grads.all(&model));
            model = burn.step(lr, model, grads.0);
        }
        let (theirs, ours) = (values(&model), values(&stepped));
        let (gap, way) = (gap(&theirs, &ours), way(&start, &theirs));
        println!("{name}: {gap:.1e} apart after a way of {way:.1e}");
        assert!(way > 0.01, "{name}: it did not move");
        if name == "lion" {
            // It moves by a sign. One that rounding turns takes an element off by twice the rate.
            let (turned, count) = further_apart(&theirs, &ours, MOST * way);
            assert!(gap < 4.1 * lr as f32, "{name}: {gap} apart");
            assert!(1000 * turned <= count, "{name}: {turned} of {count} turned");
            continue;
        }
        assert!(gap < MOST * way, "{name}: {gap} apart after a way of {way}");
    }
}

#[test]
fn a_convolutional_network_goes_the_way_that_it_goes_with_burns_optimizers() {
    follow(Cnn::new, Cnn::loss);
}

#[test]
fn a_transformer_goes_the_way_that_it_goes_with_burns_optimizers() {
    follow(Transformer::new, Transformer::loss);
}

/// Whole trainings part in the end, as burn's own do. The losses must be as low.
#[test]
fn a_training_of_its_own_gets_as_far_as_burns() {
    let device = device();
    let mut ours = FusedOptimizer::new(
        Adam {
            eps: 1e-5,
            ..Default::default()
        },
        Options::default(),
    );
    let mut burn = AdamConfig::new().init();
    let (mut a, mut b) = (Cnn::new(&device), Cnn::new(&device));
    let mut losses = (0.0, 0.0);
    for _ in 0..60 {
        let (of_a, of_b) = (a.loss(0, &device), b.loss(0, &device));
        losses = (
            of_a.clone().into_scalar::<f32>(),
            of_b.clone().into_scalar::<f32>(),
        );
        let grads = GradientsParams::from_grads(of_a.backward(), &a);
        a = ours.step(1e-2, a, grads);
        let grads = GradientsParams::from_grads(of_b.backward(), &b);
        b = burn.step(1e-2, b, grads);
    }
    let (of_a, of_b) = losses;
    assert!(of_b < 0.1, "burn's own did not learn: {of_b}");
    assert!(
        (of_a - of_b).abs() < 0.02 * (0.1 + of_b),
        "{of_a} and {of_b}"
    );
}
