//! Parameter groups, frozen parameters, parameters without a gradient, parameters in two places.

use burn::lr_scheduler::{
    LrSchedulerConfig, linear::LinearLrSchedulerConfig,
    module_lr_scheduler::ModuleLrSchedulerConfig,
};
use burn::module::{Module, ParamGroup};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams, SgdConfig};
use burn::tensor::{Device, Tensor};
use wgpu_optim_burn::rules::{Adam, AdamW, Muon, Sgd};
use wgpu_optim_burn::{FusedOptimizer, Options};

use crate::support::{Cnn, Gradients, Transformer, device, filled, gap, gradients, values};

/// As burn's default.
fn adam() -> Adam {
    Adam {
        eps: 1e-5,
        ..Default::default()
    }
}

#[test]
fn groups_by_pattern_have_rules_of_their_own_and_the_last_one_counts() {
    let device = device();
    let mut model = Transformer::new(&device);
    let start = values(&model);
    let decayed = Sgd {
        weight_decay: 0.5,
        ..Default::default()
    };
    let mut optim = FusedOptimizer::new(decayed, Options::default())
        .with_group(ParamGroup::from_predicate("norm"), adam())
        .with_group(
            ParamGroup::from_any_regexes(vec![r"norm_\d\.", "bias$", r"\.beta$"]).unwrap(),
            Sgd::default(),
        );
    let grads = gradients(&model, 0);
    let of_grads = {
        let grads = Gradients(gradients(&model, 0));
        let mut stepped = SgdConfig::new()
            .init()
            .step(1.0, model.clone(), grads.all(&model));
        stepped = stepped.no_grad();
        values(&stepped)
    };
    model = optim.step(0.1, model, grads);
    let mut seen = [0; 2];
    for (path, stepped) in values(&model) {
        let plain = path.contains("norm_") || path.ends_with("bias") || path.ends_with(".beta");
        seen[usize::from(plain)] += 1;
        let decay = if plain { 0.0 } else { 0.5 };
        for ((p, after), with_one) in start[&path].iter().zip(&stepped).zip(&of_grads[&path]) {
            let grad = p - with_one;
            let expected = p - 0.1 * (grad + decay * p);
            assert!(
                (after - expected).abs() < 1e-5,
                "{path}: {after}, not {expected}"
            );
        }
    }
    assert!(seen.iter().all(|&count| count > 3), "{seen:?}");
    // The rule in the middle has lost all its parameters to the last.
    assert_eq!(optim.optimizer().unwrap().layout().groups().len(), 2);
}

#[test]
fn muon_for_matrices_and_adamw_for_the_rest_learn() {
    let device = device();
    let mut model = Transformer::new(&device);
    let rest = AdamW {
        weight_decay: 0.0,
        ..Default::default()
    };
    let matrices = ParamGroup::from_regex(r"(query|key|value|output|linear_\w+)\.weight$").unwrap();
    let mut optim =
        FusedOptimizer::new(rest, Options::default()).with_group(matrices, Muon::default());
    let first = model.loss(0, &device).into_scalar::<f32>();
    for _ in 0..20 {
        let grads = model.loss(0, &device).backward();
        let grads = GradientsParams::from_grads(grads, &model);
        model = optim.step(1e-2, model, grads);
    }
    let last = model.loss(0, &device).into_scalar::<f32>();
    assert!(last < 0.7 * first, "from {first} to {last}");
    let (tensor, group) = optim
        .tensor(model.encoder.layers[0].mha.query.weight.id)
        .unwrap();
    let optimizer = optim.optimizer().unwrap();
    assert_eq!(optimizer.layout().rule(group).unwrap().name(), "muon");
    assert_eq!(optimizer.layout().shape(tensor).unwrap(), [16, 16]);
}

#[test]
fn a_frozen_layer_stays_as_it_is_and_without_a_gradient() {
    let device = device();
    let mut model = Cnn::new(&device);
    model.conv1 = model.conv1.no_grad();
    let start = values(&model);
    let mut optim = FusedOptimizer::new(adam(), Options::default());
    for step in 0..3 {
        let grads = model.loss(step, &device).backward();
        let grads = GradientsParams::from_grads(grads, &model);
        model = optim.step(1e-2, model, grads);
    }
    let end = values(&model);
    for (path, start) in &start {
        let moved = *start != end[path];
        assert_eq!(moved, !path.starts_with("conv1"), "{path}");
    }
    assert!(!model.conv1.weight.is_require_grad());
    assert!(model.conv2.weight.is_require_grad());
}

/// Which parameters have a gradient in a step: some come late, some are away now and then.
fn takes_part(step: u32, path: &str) -> bool {
    match path {
        "conv1.weight" => !step.is_multiple_of(3),
        "conv2.bias" => step >= 5,
        "output.weight" => !(4..=8).contains(&step),
        _ => true,
    }
}

#[test]
fn a_parameter_without_a_gradient_keeps_its_own_count_of_steps() {
    let device = device();
    let mut model = Cnn::new(&device);
    let start = values(&model);
    let mut stepped = model.clone();
    let mut ours = FusedOptimizer::new(adam(), Options::default());
    let mut burn = AdamConfig::new().init();
    for step in 0..16 {
        let grads = model.loss(step, &device).backward();
        let grads = Gradients(GradientsParams::from_grads(grads, &model));
        let keep = |path: &str| takes_part(step, path);
        stepped = ours.step(1e-2, stepped, grads.of(&model, keep));
        let grads = grads.of(&model, keep);
        model = burn.step(1e-2, model, grads);
    }
    let (theirs, got) = (values(&model), values(&stepped));
    let (apart, way) = (gap(&theirs, &got), gap(&start, &theirs));
    assert!(apart < 2e-5 * way, "{apart} of {way}");
    let counts = [
        (model.conv1.weight.id, "conv1.weight"),
        (model.conv2.bias.as_ref().unwrap().id, "conv2.bias"),
        (model.output.weight.id, "output.weight"),
        (model.conv2.weight.id, "conv2.weight"),
    ];
    for (id, path) in counts {
        let expected = (0..16).filter(|&step| takes_part(step, path)).count();
        assert_eq!(ours.step_count(id), expected as u64, "{path}");
    }
    // Patterns that were there before need nothing new.
    let regrouped = ours.counts().regrouped;
    assert!(regrouped <= 6, "{regrouped}");
}

#[test]
fn a_step_without_any_gradient_does_nothing() {
    let device = device();
    let model = Cnn::new(&device);
    let start = values(&model);
    let mut optim = FusedOptimizer::new(adam(), Options::default());
    let model = optim.step(0.1, model, GradientsParams::new());
    assert_eq!(values(&model), start);
    assert_eq!(optim.counts().steps, 0);
}

#[test]
fn learning_rates_of_burns_schedulers_may_differ_by_group_and_change_at_each_step() {
    let device = device();
    let model = Cnn::new(&device);
    let rates = || {
        let biases = LinearLrSchedulerConfig::new(0.5, 0.1, 10);
        ModuleLrSchedulerConfig::new(LrSchedulerConfig::Constant(0.25))
            .with_group(ParamGroup::from_predicate("bias"), biases)
            .init()
            .unwrap()
    };
    let (mut of_ours, mut of_burns) = (rates(), rates());
    let mut ours = FusedOptimizer::new(Sgd::default(), Options::default());
    let mut burn = SgdConfig::new().init();
    let (mut a, mut b) = (model.clone(), model);
    for step in 0..6 {
        let grads = Gradients(gradients(&a, step));
        b = burn.step(of_burns.step(), b, grads.all(&a));
        a = ours.step(of_ours.step(), a, grads.0);
    }
    assert!(gap(&values(&a), &values(&b)) < 1e-5);
    // They parted at the first step, and never again.
    assert_eq!(ours.counts().regrouped, 1);
    assert_eq!(ours.optimizer().unwrap().layout().groups().len(), 2);
}

#[derive(Module, Debug)]
struct Tied {
    first: Linear,
    second: Linear,
}

impl Tied {
    fn new(device: &Device) -> Self {
        let first = filled(LinearConfig::new(6, 6).with_bias(false).init(device));
        let second = first.clone();
        Self { first, second }
    }

    fn loss(&self, device: &Device) -> Tensor<1> {
        let x = Tensor::<2>::ones([3, 6], device);
        self.second
            .forward(self.first.forward(x))
            .powf_scalar(2.0)
            .mean()
    }
}

#[derive(Module, Debug)]
struct One {
    only: Linear,
}

#[test]
fn a_parameter_in_two_places_stays_one() {
    let device = device();
    let mut tied = Tied::new(&device);
    assert_eq!(tied.first.weight.id, tied.second.weight.id);
    let mut one = One {
        only: tied.first.clone(),
    };
    let options = Options::default;
    let mut of_tied = FusedOptimizer::new(adam(), options());
    let mut of_one = FusedOptimizer::new(adam(), options());
    for _ in 0..6 {
        let grads = GradientsParams::from_grads(tied.loss(&device).backward(), &tied);
        tied = of_tied.step(1e-2, tied, grads);
        let x = Tensor::<2>::ones([3, 6], &device);
        let x = one.only.forward(one.only.forward(x));
        let grads = x.powf_scalar(2.0).mean().backward();
        let grads = GradientsParams::from_grads(grads, &one);
        one = of_one.step(1e-2, one, grads);
    }
    let (tied, one) = (values(&tied), values(&one));
    assert_eq!(tied["first.weight"], tied["second.weight"]);
    assert_eq!(tied["first.weight"], one["only.weight"]);
    // The second place holds the buffer, so each step after the first makes another.
    assert_eq!(of_tied.counts().shared, 5);
    assert_eq!(of_one.counts().shared, 0);
}
