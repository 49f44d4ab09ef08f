//! Numbers into modules, and out of them.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};

/// Numbers from minus `scale` to `scale` that look random and are the same everywhere.
pub fn numbers(seed: u32, count: usize, scale: f32) -> Vec<f32> {
    let value = |index: u32| {
        let mut x = index.wrapping_mul(0x9e37_79b1) ^ seed.wrapping_mul(0x85eb_ca6b);
        x ^= x >> 16;
        x = x.wrapping_mul(0x7feb_352d);
        x ^= x >> 15;
        x = x.wrapping_mul(0x846c_a68b);
        x ^= x >> 16;
        (x as i32 as f32) / (1_u32 << 31) as f32 * scale
    };
    (0..count as u32).map(value).collect()
}

/// Whether this is a running statistic of a norm, which forward passes change and steps do not.
fn is_statistic(path: &[String]) -> bool {
    path.last().is_some_and(|name| name.starts_with("running"))
}

#[derive(Default)]
struct Fill {
    count: u32,
    path: Vec<String>,
}

impl ModuleMapper for Fill {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if is_statistic(&self.path) {
            return param;
        }
        self.count += 1;
        let (seed, shape, device) = (self.count, param.dims(), param.device());
        let count: usize = shape.iter().product();
        // Scales of norms are around one, and the like for all.
        let scale = match D {
            1 => 0.1,
            _ => (3.0 / shape[0] as f32).sqrt(),
        };
        let numbers = TensorData::new(numbers(seed, count, scale), shape);
        param.map(|tensor| {
            let requires_grad = tensor.is_require_grad();
            let base = if D == 1 {
                tensor.inner()
            } else {
                tensor.inner().zeros_like()
            };
            let filled = base + Tensor::from_data(numbers, &device.clone().inner());
            Tensor::from_inner(filled).set_require_grad(requires_grad)
        })
    }
}

/// The module with numbers that are the same at each run.
pub fn filled<M: Module>(module: M) -> M {
    module.map(&mut Fill::default())
}

#[derive(Default)]
struct Read {
    path: Vec<String>,
    values: BTreeMap<String, Vec<f32>>,
}

impl ModuleVisitor for Read {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if is_statistic(&self.path) {
            return;
        }
        let values = param.val().into_data().convert::<f32>();
        let values = values.try_to_vec().expect("they are f32");
        self.values.insert(self.path.join("."), values);
    }
}

/// All parameters by path.
pub fn values<M: Module>(module: &M) -> BTreeMap<String, Vec<f32>> {
    let mut read = Read::default();
    module.visit(&mut read);
    read.values
}

/// The largest difference of two modules' values.
pub fn gap(a: &BTreeMap<String, Vec<f32>>, b: &BTreeMap<String, Vec<f32>>) -> f32 {
    assert!(a.keys().eq(b.keys()), "they have other parameters");
    let pairs = a.values().flatten().zip(b.values().flatten());
    pairs.fold(0.0, |most, (a, b)| {
        assert!(a.is_finite() && b.is_finite(), "{a} and {b}");
        most.max((a - b).abs())
    })
}

/// How many values are further apart than `most`, and how many there are.
#[allow(dead_code)] // Only the comparison with burn counts them.
pub fn further_apart(
    a: &BTreeMap<String, Vec<f32>>,
    b: &BTreeMap<String, Vec<f32>>,
    most: f32,
) -> (usize, usize) {
    let pairs = a.values().flatten().zip(b.values().flatten());
    let apart = pairs.clone().filter(|(a, b)| (*a - *b).abs() > most);
    (apart.count(), pairs.count())
}

/// How far the values went: the largest distance of one of them.
pub fn way(from: &BTreeMap<String, Vec<f32>>, to: &BTreeMap<String, Vec<f32>>) -> f32 {
    gap(from, to)
}

struct Collect<'a> {
    grads: &'a GradientsParams,
    keep: &'a dyn Fn(&str) -> bool,
    path: Vec<String>,
    kept: GradientsParams,
}

impl ModuleVisitor for Collect<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.get::<D>(param.id)
            && (self.keep)(&self.path.join("."))
        {
            self.kept.register(param.id, grad);
        }
    }
}

/// Gradients for more than one optimizer.
pub struct Gradients(pub GradientsParams);

impl Gradients {
    /// The gradients of the parameters whose path `keep` takes.
    pub fn of<M: Module>(&self, module: &M, keep: impl Fn(&str) -> bool) -> GradientsParams {
        let mut collect = Collect {
            grads: &self.0,
            keep: &keep,
            path: Vec::new(),
            kept: GradientsParams::new(),
        };
        module.visit(&mut collect);
        collect.kept
    }

    /// All of them.
    pub fn all<M: Module>(&self, module: &M) -> GradientsParams {
        self.of(module, |_| true)
    }
}

struct Invent {
    seed: u32,
    path: Vec<String>,
    grads: GradientsParams,
}

impl ModuleVisitor for Invent {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if is_statistic(&self.path) {
            return;
        }
        self.seed += 1;
        let shape = param.dims();
        let numbers = numbers(self.seed, shape.iter().product(), 1.0);
        let device = param.device().inner();
        let grad = Tensor::<D>::from_data(TensorData::new(numbers, shape), &device);
        self.grads.register(param.id, grad);
    }
}

/// Gradients out of thin air, for tests that need no loss.
pub fn gradients<M: Module>(module: &M, seed: u32) -> GradientsParams {
    let mut invent = Invent {
        seed: 1000 * (seed + 1),
        path: Vec::new(),
        grads: GradientsParams::new(),
    };
    module.visit(&mut invent);
    invent.grads
}
