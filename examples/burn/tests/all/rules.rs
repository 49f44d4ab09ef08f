//! Every rule, through burn's tensors, against its twin in f64.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use wgpu_optim_burn::rules::Sophia;
use wgpu_optim_burn::wgpu_optim::{Group, Layout, Tensor as OfTwin, cpu};
use wgpu_optim_burn::{FusedOptimizer, Options, Rule, handles, rules};

use crate::support::{device, gap, gradients, numbers, values, way};

/// Matrices alone, which every rule takes.
#[derive(Module, Debug)]
struct Matrices {
    wide: Param<Tensor<2>>,
    tall: Param<Tensor<2>>,
}

impl Matrices {
    fn new(device: &Device) -> Self {
        let matrix = |seed, shape: [usize; 2]| {
            let data = TensorData::new(numbers(seed, shape[0] * shape[1], 1.0), shape);
            Param::from_data(data, device)
        };
        Self {
            wide: matrix(1, [5, 9]),
            tall: matrix(2, [12, 4]),
        }
    }

    fn both(&self) -> [&Param<Tensor<2>>; 2] {
        [&self.wide, &self.tall]
    }
}

fn numbers_of(grads: &GradientsParams, param: &Param<Tensor<2>>) -> Vec<f64> {
    let grad = grads.get::<2>(param.id).unwrap();
    grad.into_data().iter::<f64>().collect()
}

const PATHS: [&str; 2] = ["wide", "tall"];

/// The CPU twin of one rule over the same matrices, in f64.
struct Twin {
    optimizer: cpu::Optimizer<f64>,
    group: Group,
    tensors: [OfTwin; 2],
}

impl Twin {
    fn new(rule: Box<dyn Rule>, start: &BTreeMap<String, Vec<f32>>) -> Self {
        let mut layout = Layout::new();
        let group = layout.group(rule).unwrap();
        let tensors = PATHS.map(|path| {
            let shape = if path == "wide" { [5, 9] } else { [12, 4] };
            layout.tensor(group, path, &shape).unwrap()
        });
        let mut optimizer = cpu::Optimizer::<f64>::new(&layout).unwrap();
        for (path, tensor) in PATHS.iter().zip(tensors) {
            let start: Vec<_> = start[*path].iter().map(|&x| f64::from(x)).collect();
            optimizer.param_mut(tensor).unwrap().copy_from_slice(&start);
        }
        Self {
            optimizer,
            group,
            tensors,
        }
    }

    fn step(&mut self, lr: f64, module: &Matrices, grads: &GradientsParams) {
        for (param, tensor) in module.both().into_iter().zip(self.tensors) {
            let grad = numbers_of(grads, param);
            let of_twin = self.optimizer.grad_mut(tensor).unwrap();
            of_twin.copy_from_slice(&grad);
        }
        self.optimizer.set_lr(self.group, lr).unwrap();
        self.optimizer.step().unwrap();
    }

    fn values(&self) -> BTreeMap<String, Vec<f32>> {
        let of_tensor = |(path, tensor): (&&str, _)| {
            let values = self.optimizer.param(tensor).unwrap().iter();
            ((*path).to_owned(), values.map(|&x| x as f32).collect())
        };
        PATHS.iter().zip(self.tensors).map(of_tensor).collect()
    }
}

#[test]
fn every_rule_steps_as_its_twin_does() {
    let device = device();
    for name in rules::names() {
        let mut module = Matrices::new(&device);
        let start = values(&module);
        let make = move || rules::by_name(name).unwrap();
        let mut optim = FusedOptimizer::from_fn(make, Options::default());
        let mut twin = Twin::new(make(), &start);

        // Prodigy finds its own rate, and takes this as a factor.
        let lr = if name == "prodigy" { 1.0 } else { 1e-2 };
        for step in 0..5 {
            let grads = gradients(&module, step);
            twin.step(lr, &module, &grads);
            module = optim.step(lr, module, grads);
        }
        let (expected, got) = (twin.values(), values(&module));
        let (gap, way) = (gap(&expected, &got), way(&start, &expected));
        println!("{name}: {gap:.1e} from its twin after a way of {way:.1e}");
        assert!(gap <= 1e-4 * way + 1e-6, "{name}: {gap} of {way}");
        assert!(way > 1e-6, "{name} did not move");
    }
}

#[test]
fn what_a_rule_waits_for_counts_once_it_is_said_to_be_new() {
    let device = device();
    let (_, queue) = handles(&device).unwrap();
    let mut module = Matrices::new(&device);
    let start = values(&module);
    let rule = Sophia::default;
    let mut optim = FusedOptimizer::new(rule(), Options::default());
    let mut twin = Twin::new(Box::new(rule()), &start);
    let early = optim.refresh(module.wide.id).unwrap_err();
    assert!(early.to_string().contains("not been in a step"), "{early}");
    let mut changed = 0;
    for step in 0..8 {
        if step % 3 == 1 {
            let optimizer = optim.optimizer().unwrap();
            for (param, of_twin) in module.both().into_iter().zip(twin.tensors) {
                let count = param.dims().iter().product();
                let estimate: Vec<_> = numbers(50 + step, count, 1.0);
                let estimate: Vec<_> = estimate.iter().map(|x| x.abs()).collect();
                let (tensor, _) = optim.tensor(param.id).unwrap();
                let name = "hessian_estimate";
                let written = optimizer.write_state(&queue, tensor, name, &estimate);
                written.unwrap();
                let estimate: Vec<_> = estimate.into_iter().map(f64::from).collect();
                let written = twin.optimizer.write_state(of_twin, name, &estimate);
                written.unwrap();
            }
            optim.refresh(module.tall.id).unwrap();
            twin.optimizer.refresh(twin.group).unwrap();
        }
        let grads = gradients(&module, step);
        twin.step(1e-2, &module, &grads);
        module = optim.step(1e-2, module, grads);

        // In steps that are told of nothing new, the estimate of before stays in use.
        let (tensor, _) = optim.tensor(module.wide.id).unwrap();
        let optimizer = optim.optimizer().unwrap();
        let kept = optimizer.read_state_blocking(&queue, tensor, "hessian");
        let of_twin = twin.optimizer.state(twin.tensors[0], "hessian").unwrap();
        for (kept, of_twin) in kept.unwrap().into_iter().zip(of_twin.iter()) {
            let of_twin = *of_twin as f32;
            assert!((kept - of_twin).abs() <= 1e-6 * of_twin, "step {step}");
            changed += usize::from(kept > 0.0);
        }
    }
    // All steps after the first have an estimate.
    assert_eq!(changed, 7 * 45);
    let (expected, got) = (twin.values(), values(&module));
    let (gap, way) = (gap(&expected, &got), way(&start, &expected));
    assert!(way > 1e-3 && gap <= 1e-4 * way, "{gap} of {way}");
}
