//! What cannot be done is said, and the module comes back.

use burn::module::{Module, Param};
use burn::optim::{AdamConfig, GradientsParams, OptimizerRecord};
use burn::tensor::{DType, Tensor};
use wgpu_optim_burn::rules::{Adam, AdamW, Muon, Sgd};
use wgpu_optim_burn::{Error, Format, Formats, FusedOptimizer, Options};

use crate::support::{Cnn, device, gradients, values};

/// Tries a step, which must fail, and gives the error's text.
fn refused(mut optim: FusedOptimizer, change: impl Fn(&Cnn, &mut GradientsParams)) -> String {
    let device = device();
    let model = Cnn::new(&device);
    let before = values(&model);
    let mut grads = gradients(&model, 0);
    change(&model, &mut grads);
    let refused = optim.try_step(0.1, model, grads).unwrap_err();
    assert_eq!(values(&refused.module), before);
    // The module that came back can be trained.
    let mut optim = FusedOptimizer::new(Sgd::default(), Options::default());
    let grads = gradients(&refused.module, 1);
    let stepped = optim.try_step(0.1, refused.module, grads).unwrap();
    assert_ne!(values(&stepped), before);
    refused.error.to_string()
}

fn sgd() -> FusedOptimizer {
    FusedOptimizer::new(Sgd::default(), Options::default())
}

#[test]
fn hyperparameters_out_of_range() {
    let rule = Adam {
        beta1: 1.5,
        ..Default::default()
    };
    let message = refused(FusedOptimizer::new(rule, Options::default()), |_, _| ());
    assert_eq!(
        message,
        "adam: beta1 = 1.5 is not allowed; expected a number in [0, 1)"
    );
}

#[test]
fn a_learning_rate_that_is_none() {
    let device = device();
    let model = Cnn::new(&device);
    let before = values(&model);
    let grads = gradients(&model, 0);
    let refused = sgd().try_step(f64::NAN, model, grads).unwrap_err();
    assert!(refused.to_string().contains("lr = NaN"), "{refused}");
    assert_eq!(values(&refused.module), before);
}

#[test]
fn options_that_have_no_meaning_here() {
    let options = Options {
        zero_grad: true,
        ..Default::default()
    };
    let message = refused(FusedOptimizer::new(Sgd::default(), options), |_, _| ());
    assert!(
        message.contains("zero_grad = true") && message.contains("expected false"),
        "{message}"
    );
    let formats = Formats {
        params: Format::Bf16,
        ..Default::default()
    };
    let message = refused(sgd().with_formats(formats), |_, _| ());
    assert!(
        message.contains("it is F32, and Formats::params of its group is bf16"),
        "{message}"
    );
    for formats in [
        Formats {
            grads: Format::F16,
            ..Default::default()
        },
        Formats {
            copy: Some(Format::F16),
            ..Default::default()
        },
    ] {
        let message = refused(sgd().with_formats(formats), |_, _| ());
        assert!(message.contains("= f16 is not allowed"), "{message}");
    }
}

#[test]
fn a_rule_for_matrices_alone_names_the_parameter_that_is_none() {
    let message = refused(
        FusedOptimizer::new(Muon::default(), Options::default()),
        |_, _| (),
    );
    assert!(
        message.contains("conv1.weight") && message.contains("matrices"),
        "{message}"
    );
}

#[test]
fn a_gradient_of_another_shape() {
    let message = refused(sgd(), |model, grads| {
        let id = model.output.weight.id;
        let grad = grads.remove::<2>(id).unwrap();
        grads.register(id, grad.transpose());
    });
    assert!(
        message.contains("output.weight") && message.contains("[10, 32]"),
        "{message}"
    );
}

#[derive(Module, Debug)]
struct Double {
    weight: Param<Tensor<1>>,
}

#[test]
fn a_parameter_in_64_bits() {
    let device = device();
    if !device.supports_dtype(DType::F64) {
        println!("not run: this device has no f64");
        return;
    }
    let model = Double {
        weight: Param::from_tensor(Tensor::<1>::ones([4], (&device, DType::F64))),
    };
    let mut grads = GradientsParams::new();
    grads.register(
        model.weight.id,
        Tensor::<1>::ones([4], (&device.inner(), DType::F64)),
    );
    let refused = sgd().try_step(0.1, model, grads).unwrap_err();
    let message = refused.error.to_string();
    assert!(
        message.contains("it is F64; expected F32, F16 or BF16"),
        "{message}"
    );
}

#[test]
fn an_optimizer_goes_on_after_a_refused_step() {
    let device = device();
    let mut model = Cnn::new(&device);
    let mut other = model.clone();
    let mut optim = FusedOptimizer::new(AdamW::default(), Options::default());
    let mut undisturbed = FusedOptimizer::new(AdamW::default(), Options::default());
    for step in 0..4 {
        let grads = gradients(&model, step);
        model = optim.step(1e-2, model, grads);
        let grads = gradients(&model, 100);
        model = optim.try_step(-1.0, model, grads).unwrap_err().module;
        let grads = gradients(&other, step);
        other = undisturbed.step(1e-2, other, grads);
    }
    assert_eq!(values(&model), values(&other));
    assert_eq!(optim.step_count(model.output.weight.id), 4);
}

#[test]
fn records_that_are_not_of_this_optimizer() {
    let device = device();
    let model = Cnn::new(&device);
    let mut burn = AdamConfig::new().init();
    let grads = gradients(&model, 0);
    let model = burn.step(1e-3, model, grads);
    let (_, error) = sgd().try_load_record(burn.to_record()).err().unwrap();
    assert!(matches!(error, Error::Record { .. }), "{error}");
    assert!(
        error.to_string().contains("of another optimizer"),
        "{error}"
    );

    // Through burn's own call it is the next step that says so, once.
    let mut optim = sgd().load_record(burn.to_record());
    let before = values(&model);
    let grads = gradients(&model, 1);
    let refused = optim.try_step(0.1, model, grads).unwrap_err();
    assert!(
        refused.to_string().contains("of another optimizer"),
        "{refused}"
    );
    assert_eq!(values(&refused.module), before);

    // One of another rule is known only when the module is there.
    let mut of_adam = FusedOptimizer::new(Adam::default(), Options::default());
    let grads = gradients(&refused.module, 2);
    let model = of_adam.step(1e-3, refused.module, grads);
    let mut optim = sgd().try_load_record(of_adam.to_record()).ok().unwrap();
    let grads = gradients(&model, 3);
    let refused = optim.try_step(0.1, model, grads).unwrap_err();
    assert!(refused.to_string().contains("adam"), "{refused}");

    // Nothing was done yet, so there is nothing to load.
    let empty = sgd().to_record();
    assert!(empty.is_empty());
    assert!(sgd().try_load_record(OptimizerRecord::default()).is_ok());
}
