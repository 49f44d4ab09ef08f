//! Parameters and gradients in 16 bits.
//!
//! What they should be is known to the bit: an f32 module that gets the same gradients, and what is nearest
//! to it in 16 bits.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamGroup};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Distribution, Tensor, bf16, f16};
use wgpu_optim_burn::rules::{Adam, Sgd};
use wgpu_optim_burn::{Average, Copied, Format, Formats, FusedOptimizer, Operand, Options, Reason};

use crate::support::{Params, device, gap, gradients, values, way};

type Values = BTreeMap<String, Vec<f32>>;

/// Puts everything into a type, by way of the host: a device need not compute with it.
struct Cast<'a>(&'a dyn Fn(&str) -> DType, Vec<String>);

impl ModuleMapper for Cast<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.1.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.1.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (dtype, device) = (self.0(&self.1.join(".")), param.device());
        param.map(|tensor| {
            let data = tensor.into_data().convert_dtype(dtype);
            Tensor::from_data(data, (&device, dtype)).require_grad()
        })
    }
}

fn cast<M: Module>(module: &M, dtype: impl Fn(&str) -> DType) -> M {
    module.clone().map(&mut Cast(&dtype, Vec::new()))
}

/// Gradients of a module, in a type for each of its parameters.
struct CastGrads<'a> {
    from: &'a GradientsParams,
    dtype: &'a dyn Fn(&str) -> Option<DType>,
    path: Vec<String>,
    made: GradientsParams,
}

impl ModuleVisitor for CastGrads<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.from.get::<D>(param.id)
            && let Some(dtype) = (self.dtype)(&self.path.join("."))
        {
            let data = grad.into_data().convert_dtype(dtype);
            let device = param.device().inner();
            let grad = Tensor::<D>::from_data(data, (&device, dtype));
            self.made.register(param.id, grad);
        }
    }
}

fn cast_grads<M: Module>(
    module: &M,
    from: &GradientsParams,
    dtype: impl Fn(&str) -> Option<DType>,
) -> GradientsParams {
    let mut cast = CastGrads {
        from,
        dtype: &dtype,
        path: Vec::new(),
        made: GradientsParams::new(),
    };
    module.visit(&mut cast);
    cast.made
}

/// Gradients that f16 and bf16 have.
fn short_gradients<M: Module>(module: &M, step: u32) -> GradientsParams {
    let grads = gradients(module, step);
    let grads = cast_grads(module, &grads, |_| Some(DType::F16));
    let grads = cast_grads(module, &grads, |_| Some(DType::BF16));
    cast_grads(module, &grads, |_| Some(DType::F32))
}

/// Whether the device computes in f16. If it does not, tests of that say so.
fn has_f16(device: &Device) -> bool {
    let has = device.supports_dtype(DType::F16);
    if !has {
        println!("not run: this device has no f16");
    }
    has
}

fn nearest(values: &Values, round: impl Fn(f32) -> f32) -> Values {
    let rounded = |(path, values): (&String, &Vec<f32>)| {
        let values = values.iter().map(|&value| round(value)).collect();
        (path.clone(), values)
    };
    values.iter().map(rounded).collect()
}

fn nearest_f16(values: &Values) -> Values {
    nearest(values, |value| f16::from_f32(value).to_f32())
}

fn nearest_bf16(values: &Values) -> Values {
    nearest(values, |value| bf16::from_f32(value).to_f32())
}

/// Odd lengths too: two elements share a word.
const LENGTHS: [usize; 6] = [1, 2, 7, 64, 129, 1000];

fn adam() -> FusedOptimizer {
    FusedOptimizer::new(Adam::default(), Options::default())
}

fn momentum(options: Options) -> FusedOptimizer {
    let rule = Sgd {
        momentum: 0.9,
        ..Default::default()
    };
    FusedOptimizer::new(rule, options)
}

#[test]
fn a_module_in_f16_is_the_nearest_to_what_it_would_be_in_f32() {
    let device = device();
    if !has_f16(&device) {
        return;
    }
    let mut half = cast(&Params::new(&LENGTHS, &device), |_| DType::F16);
    let start = values(&half);
    let mut full = cast(&half, |_| DType::F32);
    let (mut of_half, mut of_full) = (adam(), adam());
    for step in 0..40 {
        let grads = short_gradients(&full, step);
        let halves = cast_grads(&full, &grads, |_| Some(DType::F16));
        full = of_full.step(2e-5, full, grads);
        half = of_half.step(2e-5, half, halves);
    }
    // Each step alone is less than f16 can tell from nothing, for all but small elements.
    let (full, half_values) = (values(&full), values(&half));
    assert!(way(&start, &half_values) > 4e-4);
    assert_eq!(half_values, nearest_f16(&full));
    assert_eq!(half.all[0].val().dtype(), DType::F16);
    assert!(half.all[0].val().is_require_grad());
    // It is said once that parameters and gradients are copied.
    let copied = |operand| {
        let of_path = move |index| Copied {
            path: format!("all.{index}"),
            operand,
            reason: Reason::OtherDtype,
        };
        (0..LENGTHS.len()).map(of_path)
    };
    let said: Vec<_> = copied(Operand::Param)
        .chain(copied(Operand::Grad))
        .collect();
    assert_eq!(of_half.copies(), said);
}

#[test]
fn a_module_in_f16_that_was_changed_between_steps_goes_on_from_there() {
    let device = device();
    if !has_f16(&device) {
        return;
    }
    struct Double;
    impl ModuleMapper for Double {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|tensor| Tensor::from_inner(tensor.inner().mul_scalar(2.0)).require_grad())
        }
    }
    let mut half = cast(&Params::new(&LENGTHS, &device), |_| DType::F16);
    let mut full = cast(&half, |_| DType::F32);
    let (mut of_half, mut of_full) = (momentum(Options::default()), momentum(Options::default()));
    for step in 0..12 {
        if step == 4 || step == 8 {
            // What f16 does not have is gone.
            half = half.map(&mut Double);
            full = cast(&half, |_| DType::F32);
        }
        if step == 6 {
            // So it is where another module of the same parameters is stepped.
            half = cast(&half, |_| DType::F16);
            full = cast(&half, |_| DType::F32);
        }
        let grads = short_gradients(&full, step);
        let halves = cast_grads(&full, &grads, |_| Some(DType::F16));
        full = of_full.step(1e-3, full, grads);
        half = of_half.step(1e-3, half, halves);
        assert_eq!(values(&half), nearest_f16(&values(&full)), "step {step}");
    }
}

#[test]
fn a_clone_of_a_module_in_f16_keeps_its_values() {
    let device = device();
    if !has_f16(&device) {
        return;
    }
    let mut half = cast(&Params::new(&LENGTHS, &device), |_| DType::F16);
    let mut full = cast(&half, |_| DType::F32);
    let (mut of_half, mut of_full) = (adam(), adam());
    for step in 0..4 {
        let (kept, before) = (half.clone(), values(&half));
        let grads = short_gradients(&full, step);
        let halves = cast_grads(&full, &grads, |_| Some(DType::F16));
        full = of_full.step(1e-3, full, grads);
        half = of_half.step(1e-3, half, halves);
        assert_eq!(values(&kept), before);
        assert_eq!(values(&half), nearest_f16(&values(&full)));
    }
}

#[test]
fn parameters_in_f16_may_be_absent_and_have_groups_and_averages() {
    let device = device();
    if !has_f16(&device) {
        return;
    }
    let options = Options {
        average: Some(Average {
            decay: 0.75,
            debias: false,
        }),
        ..Default::default()
    };
    let optimizer = || {
        let group = ParamGroup::from_predicate("all.3");
        momentum(options.clone()).with_group(group, Adam::default())
    };
    let mut half = cast(&Params::new(&LENGTHS, &device), |_| DType::F16);
    let mut full = cast(&half, |_| DType::F32);
    let (mut of_half, mut of_full) = (optimizer(), optimizer());
    for step in 0..8_u32 {
        let is_there = |path: &str| path != "all.2" || !step.is_multiple_of(3);
        let grads = short_gradients(&full, step);
        let in_type = |dtype| cast_grads(&full, &grads, |path| is_there(path).then_some(dtype));
        let (fulls, halves) = (in_type(DType::F32), in_type(DType::F16));
        full = of_full.step(1e-3, full, fulls);
        half = of_half.step(1e-3, half, halves);
        assert_eq!(values(&half), nearest_f16(&values(&full)), "step {step}");
        let [of_half, of_full] = [
            values(&of_half.evaluated(&half).unwrap()),
            values(&of_full.evaluated(&full).unwrap()),
        ];
        assert_eq!(of_half, nearest_f16(&of_full), "step {step}");
        assert!(gap(&of_half, &values(&half)) > 1e-4, "step {step}");
    }
}

#[derive(Module, Debug)]
struct Line {
    weight: Param<Tensor<2>>,
}

#[test]
fn a_training_in_f16_learns() {
    let device = device();
    if !has_f16(&device) {
        return;
    }
    let random = |shape| Tensor::<2>::random(shape, Distribution::Default, &device);
    let (inputs, solution) = (random([32, 8]), random([8, 3]));
    let targets = inputs.clone().matmul(solution).cast(DType::F16);
    let inputs = inputs.cast(DType::F16);
    let line = Line {
        weight: Param::from_tensor(Tensor::zeros([8, 3], &device).require_grad()),
    };
    let mut line = cast(&line, |_| DType::F16);
    let mut optim = adam();
    let mut losses = Vec::new();
    for _ in 0..60 {
        let error = inputs.clone().matmul(line.weight.val()) - targets.clone();
        let loss = error.powf_scalar(2.0).mean();
        losses.push(loss.clone().cast(DType::F32).into_scalar::<f32>());
        let grads = GradientsParams::from_grads(loss.backward(), &line);
        line = optim.step(5e-2, line, grads);
    }
    assert!(losses[59] < 0.02 * losses[0], "{losses:?}");
    assert_eq!(optim.counts().other_dtype, 2 * 60);
}

#[test]
fn a_module_in_bf16_keeps_what_bf16_has_not() {
    let device = device();
    let half = Params::new(&LENGTHS, &device);
    let mut half = cast(&half, |_| DType::BF16);
    let start = values(&half);
    let mut full = cast(&half, |_| DType::F32);
    let (mut of_half, mut of_full) = (adam(), adam());
    for step in 0..64 {
        // All of one sign, so that it goes far.
        let grads = short_gradients(&full, step % 2);
        let halves = cast_grads(&full, &grads, |_| Some(DType::BF16));
        full = of_full.step(5e-5, full, grads);
        half = of_half.step(5e-5, half, halves);
    }
    assert_eq!(half.all[0].val().dtype(), DType::BF16);
    let (full, half) = (values(&full), values(&half));
    let way = way(&start, &full);
    // In bf16 alone, no element above 0.02 would have moved.
    assert!(way > 1e-3, "{way}");
    let expected = nearest_bf16(&full);
    let pairs = half.values().flatten().zip(expected.values().flatten());
    let (mut count, mut other) = (0, 0);
    for (half, expected) in pairs {
        count += 1;
        other += usize::from(half != expected);
        let apart = (half - expected).abs();
        assert!(
            apart <= 0.0079 * expected.abs() + 1e-6,
            "{half}, not {expected}"
        );
    }
    // Of 24 bits that are rounded at each step, a few lie on the other side of the middle of two bf16.
    assert!(10 * other < count, "{other} of {count}");
    // The parameters are updated where they lie.
    let is_grad = |copied: &Copied| copied.operand == Operand::Grad;
    assert!(
        of_half.copies().iter().all(is_grad),
        "{:?}",
        of_half.copies()
    );
}

#[test]
fn a_module_in_bf16_may_be_rounded_by_chance() {
    let device = device();
    let mut half = cast(&Params::new(&[4096], &device), |_| DType::BF16);
    let mut full = cast(&half, |_| DType::F32);
    let formats = Formats {
        params: Format::Bf16,
        ..Default::default()
    };
    let (mut of_half, mut of_full) = (adam().with_formats(formats), adam());
    let start = values(&half)["all.0"].clone();
    for step in 0..20 {
        let grads = short_gradients(&full, step % 2);
        let halves = cast_grads(&full, &grads, |_| Some(DType::BF16));
        full = of_full.step(1e-4, full, grads);
        half = of_half.step(1e-4, half, halves);
    }
    // Both are in one type, so nothing is copied.
    assert!(of_half.copies().is_empty(), "{:?}", of_half.copies());
    let (full, half) = (&values(&full)["all.0"], &values(&half)["all.0"]);
    assert_ne!(
        *half,
        nearest_bf16(&BTreeMap::from([(String::new(), full.clone())]))[""]
    );
    // Its mean goes as far, though each one is off by up to some of its last places.
    let along = |values: &[f32]| {
        let steps = values.iter().zip(&start).zip(full);
        let along = steps.map(|((value, start), full)| (value - start) * (full - start).signum());
        along.sum::<f32>() / start.len() as f32
    };
    let (of_full, of_half) = (along(full), along(half));
    assert!(
        of_full > 5e-4 && (of_half / of_full - 1.0).abs() < 0.15,
        "{of_half}, {of_full}"
    );
}

#[test]
fn parameters_of_all_types_are_stepped_together() {
    let device = device();
    let types = if has_f16(&device) {
        [DType::F32, DType::F16, DType::BF16]
    } else {
        [DType::F32, DType::F32, DType::BF16]
    };
    let of_path = |path: &str| types[path.as_bytes()[4] as usize % 3];
    let mut mixed = cast(&Params::new(&LENGTHS, &device), of_path);
    let mut full = cast(&mixed, |_| DType::F32);
    let start = values(&full);
    let (mut of_mixed, mut of_full) = (adam(), adam());
    for step in 0..5 {
        let grads = short_gradients(&full, step);
        // Types of gradients change between steps, too.
        let of_grad = |path: &str| Some(if step == 3 { DType::F32 } else { of_path(path) });
        let of_types = cast_grads(&full, &grads, of_grad);
        full = of_full.step(1e-3, full, grads);
        mixed = of_mixed.step(1e-3, mixed, of_types);
    }
    let (full, mixed) = (values(&full), values(&mixed));
    assert!(way(&start, &full) > 1e-3);
    for (path, got) in &mixed {
        let expected = Values::from([(path.clone(), full[path].clone())]);
        let expected = match of_path(path) {
            DType::F16 => nearest_f16(&expected),
            DType::BF16 => nearest_bf16(&expected),
            _ => expected,
        };
        let got = Values::from([(path.clone(), got.clone())]);
        // The 8 bits beside bf16 begin anew when groups change.
        let most = if of_path(path) == DType::BF16 {
            0.008
        } else {
            0.0
        };
        assert!(gap(&got, &expected) <= most, "{path}");
    }
}

#[test]
fn gradients_in_16_bits_of_a_module_in_f32_are_read_as_they_are() {
    let device = device();
    for dtype in [DType::F16, DType::BF16] {
        let mut a = Params::new(&LENGTHS, &device);
        let mut b = a.clone();
        let (mut of_a, mut of_b) = (adam(), adam());
        for step in 0..4 {
            let grads = short_gradients(&a, step);
            let halves = cast_grads(&a, &grads, |_| Some(dtype));
            a = of_a.step(1e-3, a, halves);
            b = of_b.step(1e-3, b, grads);
        }
        assert_eq!(values(&a), values(&b), "{dtype:?}");
        let copies = 4 * LENGTHS.len() as u64;
        assert_eq!(of_a.counts().other_dtype, copies, "{dtype:?}");
    }
}

#[test]
fn gradients_in_64_bits_are_converted() {
    let device = device();
    if !device.supports_dtype(DType::F64) {
        println!("not run: this device has no f64");
        return;
    }
    let mut a = Params::new(&[5], &device);
    let mut b = a.clone();
    let (mut of_a, mut of_b) = (adam(), adam());
    for step in 0..3 {
        let grads = short_gradients(&a, step);
        let doubles = cast_grads(&a, &grads, |_| Some(DType::F64));
        a = of_a.step(1e-3, a, doubles);
        b = of_b.step(1e-3, b, grads);
    }
    assert_eq!(values(&a), values(&b));
    assert_eq!(of_a.counts().other_dtype, 3);
    assert_eq!(of_a.copies()[0].reason, Reason::OtherDtype);
}

#[test]
fn what_burn_cannot_copy_on_a_device_is_not_stepped_while_a_clone_holds_it() {
    let device = device();
    let model = cast(&Params::new(&[5, 4], &device), |_| DType::BF16);
    let before = values(&model);
    let grads = || {
        let grads = short_gradients(&model, 0);
        cast_grads(&model, &grads, |_| Some(DType::BF16))
    };
    let (of_first, of_second) = (grads(), grads());
    let kept = model.clone();
    match adam().try_step(1e-2, model, of_first) {
        // This device can.
        Ok(stepped) => assert_ne!(values(&stepped), before),
        Err(refused) => {
            assert!(refused.to_string().contains("cannot copy"), "{refused}");
            assert_eq!(values(&refused.module), before);
            assert_eq!(values(&kept), before);
            drop(kept);
            let stepped = adam().step(1e-2, refused.module, of_second);
            assert_ne!(values(&stepped), before);
        }
    }
}
