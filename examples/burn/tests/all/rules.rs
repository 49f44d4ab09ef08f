//! Every rule, through burn's tensors, against its twin in f64.

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use wgpu_optim_burn::wgpu_optim::{Layout, cpu};
use wgpu_optim_burn::{FusedOptimizer, Options, rules};

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
}

fn numbers_of(grads: &GradientsParams, param: &Param<Tensor<2>>) -> Vec<f64> {
    let grad = grads.get::<2>(param.id).unwrap();
    grad.into_data().iter::<f64>().collect()
}

#[test]
fn every_rule_steps_as_its_twin_does() {
    let device = device();
    for name in rules::names() {
        let mut module = Matrices::new(&device);
        let start = values(&module);
        let make = move || rules::by_name(name).unwrap();
        let mut optim = FusedOptimizer::from_fn(make, Options::default());

        let mut layout = Layout::new();
        let group = layout.group(make()).unwrap();
        let paths = ["wide", "tall"];
        let tensors = paths.map(|path| {
            let shape = if path == "wide" { [5, 9] } else { [12, 4] };
            layout.tensor(group, path, &shape).unwrap()
        });
        let mut twin = cpu::Optimizer::<f64>::new(&layout).unwrap();
        for (path, tensor) in paths.iter().zip(tensors) {
            let start = start[*path].iter().map(|&x| f64::from(x));
            twin.param_mut(tensor)
                .unwrap()
                .copy_from_slice(&start.collect::<Vec<_>>());
        }

        // Prodigy finds its own rate, and takes this as a factor.
        let lr = if name == "prodigy" { 1.0 } else { 1e-2 };
        for step in 0..5 {
            let grads = gradients(&module, step);
            for (param, tensor) in [&module.wide, &module.tall].into_iter().zip(tensors) {
                let grad = numbers_of(&grads, param);
                twin.grad_mut(tensor).unwrap().copy_from_slice(&grad);
            }
            twin.set_lr(group, lr).unwrap();
            twin.step().unwrap();
            module = optim.step(lr, module, grads);
        }
        let expected = paths.iter().zip(tensors).map(|(path, tensor)| {
            let values = twin.param(tensor).unwrap().iter().map(|&x| x as f32);
            ((*path).to_owned(), values.collect())
        });
        let (expected, got) = (expected.collect(), values(&module));
        let (gap, way) = (gap(&expected, &got), way(&start, &expected));
        println!("{name}: {gap:.1e} from its twin after a way of {way:.1e}");
        assert!(gap <= 1e-4 * way + 1e-6, "{name}: {gap} of {way}");
        assert!(way > 1e-6, "{name} did not move");
    }
}
