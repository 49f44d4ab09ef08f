//! What may happen around an update: clipping, skipping, accumulation, 8-bit state.

use burn::grad_clipping::GradientClippingConfig;
use burn::optim::{GradientsAccumulator, GradientsParams, SgdConfig};
use burn::tensor::Tensor;
use wgpu_optim_burn::rules::{Adam, ScheduleFreeSgd, Sgd};
use wgpu_optim_burn::{Average, Clip, Format, Formats, FusedOptimizer, LossScale, Options};

use crate::support::{Cnn, Gradients, Transformer, device, gap, gradients, values, way};

#[test]
fn clipping_by_value_and_by_norm_of_each_tensor_is_burns() {
    let device = device();
    for (theirs, clip) in [
        (GradientClippingConfig::Value(0.3), Clip::Value(0.3)),
        (GradientClippingConfig::Norm(0.5), Clip::TensorNorm(0.5)),
    ] {
        let mut a = Cnn::new(&device);
        let start = values(&a);
        let mut b = a.clone();
        let options = Options {
            clip,
            ..Default::default()
        };
        let mut ours = FusedOptimizer::new(Sgd::default(), options);
        let mut burn = SgdConfig::new().with_gradient_clipping(Some(theirs)).init();
        for step in 0..5 {
            let grads = Gradients(gradients(&a, step));
            b = burn.step(0.1, b, grads.all(&a));
            a = ours.step(0.1, a, grads.0);
        }
        let (a, b) = (values(&a), values(&b));
        assert!(gap(&a, &b) < 1e-5 * way(&start, &b), "{clip:?}");
    }
}

#[test]
fn a_step_with_a_nan_is_skipped_and_not_counted_as_performed() {
    let device = device();
    let options = Options {
        clip: Clip::GlobalNorm(1.0),
        ..Default::default()
    };
    let mut model = Cnn::new(&device);
    let mut other = model.clone();
    let (mut a, mut b) = (
        FusedOptimizer::new(Adam::default(), options.clone()),
        FusedOptimizer::new(Adam::default(), options),
    );
    for step in 0..3 {
        let grads = gradients(&model, step);
        model = a.step(1e-2, model, grads);
        let mut grads = gradients(&model, step);
        let bias = model.output.bias.as_ref().unwrap().id;
        grads.register(
            bias,
            Tensor::<1>::full([10], f32::NAN, &device.clone().inner()),
        );
        model = a.step(1e-2, model, grads);
        let grads = gradients(&other, step);
        other = b.step(1e-2, other, grads);
    }
    assert_eq!(values(&model), values(&other));
    assert_eq!(a.step_count(model.output.weight.id), 6);
}

#[test]
fn gradients_that_burn_adds_up_are_divided_by_their_number() {
    let device = device();
    let mut a = Cnn::new(&device);
    let mut b = a.clone();
    let options = Options {
        accumulate: 4,
        ..Default::default()
    };
    let mut ours = FusedOptimizer::new(Sgd::default(), options);
    let mut burn = SgdConfig::new().init();
    let mut accumulator = GradientsAccumulator::new();
    for _ in 0..4 {
        accumulator.accumulate(&a, gradients(&a, 3));
    }
    let grads = gradients(&b, 3);
    b = burn.step(0.5, b, grads);
    a = ours.step(0.5, a, accumulator.grads());
    assert!(gap(&values(&a), &values(&b)) < 1e-6);
}

#[test]
fn state_in_eight_bits_learns_as_well() {
    let device = device();
    let mut losses = Vec::new();
    for state in [Format::F32, Format::Int8] {
        let mut model = Transformer::new(&device);
        let mut optim =
            FusedOptimizer::new(Adam::default(), Options::default()).with_formats(Formats {
                state,
                ..Default::default()
            });
        for _ in 0..30 {
            let grads = GradientsParams::from_grads(model.loss(0, &device).backward(), &model);
            model = optim.step(1e-2, model, grads);
        }
        losses.push(model.loss(0, &device).into_scalar::<f32>());
        let (tensor, _) = optim.tensor(model.head.weight.id).unwrap();
        let state = optim.optimizer().unwrap().state(tensor, "exp_avg").unwrap();
        println!("{} bytes", state.size);
    }
    assert!(losses[0] < 0.5, "{losses:?}");
    assert!((losses[0] - losses[1]).abs() < 0.1, "{losses:?}");
}

#[test]
fn the_average_of_the_parameters_is_had_beside_the_training_which_goes_on_unchanged() {
    let device = device();
    let average = Average {
        decay: 0.5,
        debias: false,
    };
    let options = Options {
        average: Some(average),
        ..Default::default()
    };
    let new = || FusedOptimizer::new(Adam::default(), options.clone());
    let (mut optim, mut undisturbed) = (new(), new());
    let mut model = Cnn::new(&device);
    let mut other = model.clone();
    // Before the first step there is nothing to average.
    assert_eq!(values(&optim.evaluated(&model).unwrap()), values(&model));
    let mut mean = values(&model);
    for step in 0..5 {
        let grads = gradients(&model, step);
        model = optim.step(1e-2, model, grads);
        let grads = gradients(&other, step);
        other = undisturbed.step(1e-2, other, grads);
        for (path, values) in values(&model) {
            for (mean, value) in mean.get_mut(&path).unwrap().iter_mut().zip(values) {
                *mean += 0.5 * (value - *mean);
            }
        }
        let evaluated = values(&optim.evaluated(&model).unwrap());
        assert!(gap(&evaluated, &mean) < 1e-6);
        assert!(gap(&evaluated, &values(&model)) > 1e-3);
        assert_eq!(values(&model), values(&other));
    }
}

#[test]
fn a_schedule_free_rule_is_evaluated_elsewhere_than_it_trains() {
    let device = device();
    let rule = ScheduleFreeSgd::default();
    let mut optim = FusedOptimizer::new(rule, Options::default());
    let mut model = Cnn::new(&device);
    for step in 0..3 {
        let grads = gradients(&model, step);
        model = optim.step(1e-1, model, grads);
    }
    let before = values(&model);
    let evaluated = optim.evaluated(&model).unwrap();
    assert!(gap(&values(&evaluated), &before) > 1e-3);
    assert_eq!(values(&model), before);
    assert!(evaluated.output.weight.is_require_grad());
}

#[test]
fn a_scaled_loss_gives_the_same_steps() {
    let device = device();
    let scaled = Options {
        loss_scale: Some(LossScale {
            init_scale: 1024.0,
            growth_interval: 2,
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut ours = FusedOptimizer::new(Sgd::default(), scaled);
    let mut plain = FusedOptimizer::new(Sgd::default(), Options::default());
    let mut a = Cnn::new(&device);
    let mut b = a.clone();
    let mut scales = Vec::new();
    for step in 0..5 {
        let scale = ours.loss_scale(&device).unwrap();
        scales.push(scale.clone().into_scalar::<f32>());
        let loss = a.loss(step, &device) * Tensor::from_inner(scale);
        let grads = GradientsParams::from_grads(loss.backward(), &a);
        a = ours.step(0.1, a, grads);
        let grads = GradientsParams::from_grads(b.loss(step, &device).backward(), &b);
        b = plain.step(0.1, b, grads);
    }
    assert_eq!(scales, [1024.0, 1024.0, 2048.0, 2048.0, 4096.0]);
    assert!(gap(&values(&a), &values(&b)) < 1e-6);
}
