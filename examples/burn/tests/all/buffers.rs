//! Where tensors lie, who else holds them, and when they are copied.

use burn::module::{Module, Param};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Distribution, Tensor};
use wgpu_optim_burn::rules::{Adam, Sgd};
use wgpu_optim_burn::{Copied, FusedOptimizer, Operand, Options, Reason};

use crate::support::{Cnn, Gradients, Params, Transformer, device, gap, gradients, values};

fn adam() -> FusedOptimizer {
    FusedOptimizer::new(
        Adam {
            eps: 1e-5,
            ..Default::default()
        },
        Options::default(),
    )
}

#[test]
fn tensors_of_every_size_and_at_any_offset_are_updated_and_nothing_beside_them() {
    let device = device();
    let mut lengths: Vec<usize> = (1..=70).collect();
    lengths.extend([127, 128, 129, 255, 257, 1023, 1024, 1025, 4099, 65_537]);
    let mut model = Params::new(&lengths, &device);
    let mut theirs = model.clone();
    let (mut ours, mut burn) = (adam(), AdamConfig::new().init());
    // What lies in the same pool is not to change.
    let beside: Vec<Tensor<1>> = (1..40)
        .map(|length| Tensor::random([length], Distribution::Default, &device.clone().inner()))
        .collect();
    let before: Vec<_> = beside
        .iter()
        .map(|tensor| tensor.clone().into_data())
        .collect();
    for step in 0..5 {
        let grads = Gradients(gradients(&model, step));
        theirs = burn.step(1e-2, theirs, grads.all(&model));
        model = ours.step(1e-2, model, grads.0);
    }
    assert!(gap(&values(&theirs), &values(&model)) < 1e-6);
    for (tensor, before) in beside.into_iter().zip(before) {
        tensor.into_data().assert_eq(&before, true);
    }
}

#[test]
fn a_clone_of_the_module_keeps_its_values() {
    let device = device();
    let mut model = Transformer::new(&device);
    let mut optim = adam();
    for round in 0..3 {
        let kept = model.clone();
        let before = values(&kept);
        for step in 0..2 {
            let grads = gradients(&model, 2 * round + step);
            model = optim.step(1e-2, model, grads);
        }
        assert_eq!(values(&kept), before);
        assert!(gap(&values(&model), &before) > 1e-3);
    }
    let tensors = values(&model).len() as u64;
    let counts = optim.counts();
    // The first copies are those that gather; later a clone costs one copy of each parameter.
    assert_eq!(counts.gathered, tensors, "{counts:?}");
    assert_eq!(counts.shared, 2 * tensors, "{counts:?}");
    let said: Vec<_> = optim
        .copies()
        .iter()
        .filter(|copied| copied.reason == Reason::Shared)
        .collect();
    assert_eq!(said.len() as u64, tensors, "each is said once");
}

#[test]
fn a_graph_from_before_a_step_still_has_the_values_from_before() {
    let device = device();
    let mut optim = FusedOptimizer::new(Sgd::default(), Options::default());
    let mut model = Params::new(&[5], &device);
    // A first step, so that the parameter lies where steps leave it.
    let grads = gradients(&model, 0);
    model = optim.step(0.1, model, grads);
    let before = values(&model)["all.0"].clone();

    let x = Tensor::<1>::ones([5], &device).require_grad();
    let loss = (x.clone() * model.all[0].val()).sum();
    let grads = gradients(&model, 1);
    model = optim.step(10.0, model, grads);
    assert_ne!(values(&model)["all.0"], before);
    drop(model);
    // The derivative by x is the parameter as it was.
    let of_x = x.grad(&loss.backward()).unwrap().into_data();
    assert_eq!(of_x.iter::<f32>().collect::<Vec<_>>(), before);
}

#[test]
fn a_steady_training_copies_nothing_and_binds_nothing_anew() {
    let device = device();
    let mut model = Cnn::new(&device);
    let mut optim = adam();
    let mut later = None;
    for step in 0..40 {
        let grads = GradientsParams::from_grads(model.loss(step, &device).backward(), &model);
        model = optim.step(1e-2, model, grads);
        if step == 20 {
            later = Some(optim.counts().clone());
        }
    }
    let (later, end) = (later.unwrap(), optim.counts());
    assert_eq!(end.shared, 0, "{end:?}");
    assert_eq!(end.gathered, later.gathered);
    assert_eq!((end.moved, end.regrouped), (later.moved, 1), "{end:?}");
    assert!(end.buffers <= 4, "{end:?}");
}

#[derive(Module, Debug)]
struct Matrix {
    weight: Param<Tensor<2>>,
}

#[test]
fn a_tensor_that_is_not_in_order_is_copied_and_that_is_said_once() {
    let device = device();
    let inner = device.clone().inner();
    let values = Tensor::<2>::random([3, 5], Distribution::Default, &inner);
    let transposed = Tensor::from_inner(values.clone().transpose()).require_grad();
    let mut model = Matrix {
        weight: Param::from_tensor(transposed),
    };
    let mut optim = FusedOptimizer::new(Sgd::default(), Options::default());
    let grad = Tensor::<2>::random([3, 5], Distribution::Default, &inner);
    for _ in 0..3 {
        let mut grads = GradientsParams::new();
        grads.register(model.weight.id, grad.clone().transpose());
        model = optim.step(0.5, model, grads);
    }
    let expected = (values - grad.mul_scalar(1.5)).transpose().into_data();
    let got = model.weight.val().into_data();
    got.assert_approx_eq::<f32>(&expected, burn::tensor::Tolerance::absolute(1e-5));
    let copied = |operand| Copied {
        path: "weight".to_owned(),
        operand,
        reason: Reason::NotContiguous,
    };
    assert_eq!(
        optim.copies(),
        [copied(Operand::Grad), copied(Operand::Param)]
    );
    assert_eq!(optim.counts().not_contiguous, 4);
}

#[test]
fn a_step_on_another_thread_is_the_same_step() {
    let device = device();
    let mut here = Cnn::new(&device);
    let mut there = here.clone();
    let (mut of_here, mut of_there) = (adam(), adam());
    for step in 0..4 {
        let grads = Gradients(gradients(&here, step));
        let all = grads.all(&here);
        there = std::thread::scope(|scope| {
            scope
                .spawn(|| of_there.step(1e-2, there, all))
                .join()
                .unwrap()
        });
        here = of_here.step(1e-2, here, grads.0);
    }
    assert_eq!(values(&here), values(&there));
}
