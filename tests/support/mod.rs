//! What the integration tests share: a device, random problems, every variant of every rule.
#![allow(dead_code, reason = "not every test file uses all of it")]

use std::sync::OnceLock;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use wgpu_optim::{
    BufferRange, Buffers, Extent, Gpu, GpuOptions, Group, Layout, Optimizer, Options, Rule, Tensor,
    cpu, hyperparameter::Field, rules, wgpu,
};

/// One device per test program. There must be one: a test without it fails.
pub fn gpu() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| Gpu::open_blocking(&GpuOptions::default()).unwrap())
}

pub fn random(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// Parameters of magnitude one.
pub fn random_params(rng: &mut StdRng, count: usize) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// Gradients over four decades, of both signs, one in sixteen zero.
pub fn random_grads(rng: &mut StdRng, count: usize) -> Vec<f32> {
    let one = |rng: &mut StdRng| {
        if rng.random_range(0..16) == 0 {
            return 0.0;
        }
        let sign = if rng.random_bool(0.5) { 1.0 } else { -1.0 };
        sign * 10f32.powf(rng.random_range(-3.0..1.0))
    };
    (0..count).map(|_| one(rng)).collect()
}

/// A rule with some of its hyperparameters set.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    pub rule: &'static str,
    pub settings: Vec<(&'static str, String)>,
}

/// What no single flag on top of the defaults gives.
const COMBINATIONS: &[(&str, &[(&str, &str)])] = &[
    ("sgd", &[("momentum", "0.9")]),
    (
        "sgd",
        &[
            ("momentum", "0.9"),
            ("nesterov", "true"),
            ("weight_decay", "0.1"),
        ],
    ),
    (
        "rmsprop",
        &[("momentum", "0.9"), ("centered", "true"), ("eps", "0.01")],
    ),
    ("adam", &[("nesterov", "true"), ("amsgrad", "max_raw")]),
    (
        "adamw",
        &[("nesterov", "true"), ("amsgrad", "max_corrected")],
    ),
    ("radam", &[("beta2", "0.9")]),
    (
        "radam",
        &[
            ("beta2", "0.9"),
            ("eps", "0.03"),
            ("eps_inside_root", "true"),
        ],
    ),
];

impl Variant {
    pub fn default_of(rule: &'static str) -> Self {
        let settings = Vec::new();
        Self { rule, settings }
    }

    /// Every variant of every rule there is: the defaults, all numbers changed, and each flag and
    /// choice on top of either, where the rule allows it. The first of each rule is the default.
    pub fn all() -> Vec<Self> {
        rules::names().flat_map(Self::all_of).collect()
    }

    pub fn all_of(rule: &'static str) -> Vec<Self> {
        let mut numbers = Vec::new();
        let mut switches = Vec::new();
        for field in rules::by_name(rule).unwrap().hyperparameters() {
            match &field.field {
                Field::Number { allowed, .. } => {
                    let candidates = match field.name {
                        "lr" => [0.02, 0.3],
                        "eps" => [0.03, 0.3],
                        _ => [0.3, 4.5],
                    };
                    let value = candidates
                        .into_iter()
                        .find(|value| allowed.contains(*value));
                    numbers.push((field.name, value.unwrap().to_string()));
                }
                Field::Flag(value) => switches.push((field.name, (!**value).to_string())),
                Field::Choice(choice) => {
                    let names = choice.names().iter().map(|name| name.to_string());
                    switches.extend(names.map(|name| (field.name, name)));
                }
                other => panic!("no test knows {other:?}"),
            }
        }
        let mut variants = vec![Self::default_of(rule)];
        let bases = [Vec::new(), numbers];
        for base in bases {
            let settings = base.clone();
            variants.push(Self { rule, settings });
            for switch in &switches {
                let mut settings = base.clone();
                settings.push(switch.clone());
                variants.push(Self { rule, settings });
            }
        }
        for (_, settings) in COMBINATIONS.iter().filter(|(name, _)| *name == rule) {
            let settings = settings
                .iter()
                .map(|(name, value)| (*name, value.to_string()));
            let settings = settings.collect();
            variants.push(Self { rule, settings });
        }
        let mut distinct = Vec::new();
        for variant in variants {
            let is_allowed = Layout::new().group(variant.make()).is_ok();
            if is_allowed && !distinct.contains(&variant) {
                distinct.push(variant);
            }
        }
        distinct
    }

    pub fn make(&self) -> Box<dyn Rule> {
        let mut rule = rules::by_name(self.rule).unwrap();
        for (field, value) in &self.settings {
            rule.set(field, value).unwrap();
        }
        rule
    }
}

/// `rules::by_name`, which tests know to succeed.
pub fn rule(name: &str) -> Box<dyn Rule> {
    rules::by_name(name).unwrap()
}

/// Whether a rounding can turn an element's step around.
pub fn is_sign_based(rule: &dyn Rule) -> bool {
    ["lion", "signsgd", "rprop"].contains(&rule.name())
}

/// Starting parameters and the gradients of each step, per tensor.
pub struct Problem {
    pub layout: Layout,
    pub params: Vec<Vec<f32>>,
    /// `grads[step][tensor]`
    pub grads: Vec<Vec<Vec<f32>>>,
    /// `inputs[step][tensor]`, for rules that take more than the gradient; none where they keep
    /// what they were given last.
    pub inputs: Vec<Option<Vec<Vec<f32>>>>,
}

/// How often inputs are filled anew.
const REFRESH_PERIOD: usize = 3;

impl Problem {
    /// Random numbers for `layout` over `steps` steps.
    pub fn random(layout: Layout, steps: usize, seed: u64) -> Self {
        let mut rng = random(seed);
        let counts: Vec<_> = layout
            .tensors()
            .map(|tensor| layout.element_count(tensor).unwrap())
            .collect();
        let params = counts.iter().map(|&n| random_params(&mut rng, n)).collect();
        let grads = (0..steps)
            .map(|_| counts.iter().map(|&n| random_grads(&mut rng, n)).collect())
            .collect();
        let inputs = (0..steps).map(|step| {
            let is_refreshed = step.is_multiple_of(REFRESH_PERIOD);
            let mut of = |count: &usize| random_params(&mut rng, *count);
            is_refreshed.then(|| counts.iter().map(&mut of).collect())
        });
        let inputs = inputs.collect();
        Self {
            layout,
            params,
            grads,
            inputs,
        }
    }

    /// The inputs to be filled before a step: tensor, slot, values.
    fn inputs_of(&self, step: usize) -> impl Iterator<Item = (Tensor, &'static str, &[f32])> {
        let refreshed = self.inputs[step].iter();
        let tensors = refreshed.flat_map(|inputs| self.layout.tensors().zip(inputs));
        tensors.flat_map(|(tensor, values)| {
            let group = self.layout.group_of(tensor).unwrap();
            let slots = self.layout.rule(group).unwrap().slots();
            let inputs = slots.into_iter().filter(|slot| slot.input);
            inputs.map(move |slot| (tensor, slot.name, &values[..]))
        })
    }

    /// One group of `rule` with a tensor of each size.
    pub fn of_sizes(rule: impl Into<Box<dyn Rule>>, sizes: &[usize], steps: usize) -> Self {
        let mut layout = Layout::new();
        let group = layout.group(rule).unwrap();
        for (index, &size) in sizes.iter().enumerate() {
            layout
                .tensor(group, &format!("{index}: {size}"), &[size])
                .unwrap();
        }
        Self::random(layout, steps, sizes.len() as u64)
    }

    pub fn tensors(&self) -> Vec<Tensor> {
        self.layout.tensors().collect()
    }

    /// The CPU twin after all steps.
    pub fn twin<T: cpu::Real>(&self) -> cpu::Optimizer<T> {
        let mut optimizer = cpu::Optimizer::<T>::new(&self.layout).unwrap();
        let widen = |from: &[f32], to: &mut [T]| {
            for (from, to) in from.iter().zip(to) {
                *to = T::from_f64(f64::from(*from));
            }
        };
        for (tensor, values) in self.layout.tensors().zip(&self.params) {
            widen(values, optimizer.param_mut(tensor).unwrap());
        }
        for (step, grads) in self.grads.iter().enumerate() {
            for (tensor, values) in self.layout.tensors().zip(grads) {
                widen(values, optimizer.grad_mut(tensor).unwrap());
            }
            for (tensor, slot, values) in self.inputs_of(step) {
                widen(values, optimizer.state_mut(tensor, slot).unwrap());
                let group = self.layout.group_of(tensor).unwrap();
                optimizer.refresh(group).unwrap();
            }
            optimizer.step().unwrap();
        }
        optimizer
    }

    /// Writes what `step` takes: gradients, and inputs where they are due.
    pub fn write_step(&self, optimizer: &mut Optimizer, step: usize) {
        let queue = &gpu().queue;
        for (tensor, values) in self.layout.tensors().zip(&self.grads[step]) {
            optimizer.write_grad(queue, tensor, values).unwrap();
        }
        for (tensor, slot, values) in self.inputs_of(step) {
            optimizer.write_state(queue, tensor, slot, values).unwrap();
            let group = self.layout.group_of(tensor).unwrap();
            optimizer.refresh(group).unwrap();
        }
    }

    pub fn write_params(&self, optimizer: &Optimizer) {
        for (tensor, values) in self.layout.tensors().zip(&self.params) {
            optimizer.write_param(&gpu().queue, tensor, values).unwrap();
        }
    }

    pub fn read_params(&self, optimizer: &Optimizer) -> Vec<Vec<f32>> {
        let read = |tensor| optimizer.read_param_blocking(&gpu().queue, tensor).unwrap();
        self.layout.tensors().map(read).collect()
    }

    /// Parameters after all steps on the GPU, in `optimizer`'s buffers.
    pub fn run(&self, optimizer: &mut Optimizer) -> Vec<Vec<f32>> {
        self.write_params(optimizer);
        for step in 0..self.grads.len() {
            self.write_step(optimizer, step);
            submit(|encoder| optimizer.step(encoder).unwrap());
        }
        self.read_params(optimizer)
    }

    pub fn in_arena(&self, options: Options) -> Optimizer {
        Optimizer::new(&gpu().device, &self.layout, options).unwrap()
    }

    pub fn over(&self, buffers: Buffers, options: Options) -> Optimizer {
        Optimizer::over(&gpu().device, &self.layout, buffers, options).unwrap()
    }

    /// Bytes of the tensors packed without gaps.
    pub fn packed_bytes(&self) -> u64 {
        4 * self.layout.parameter_count() as u64
    }

    /// The tensors packed without gaps in `buffer` from `offset` on.
    pub fn packed(&self, buffer: &wgpu::Buffer, offset: u64) -> Vec<BufferRange> {
        let mut offset = offset;
        let next = |tensor| {
            let size = 4 * self.layout.element_count(tensor).unwrap() as u64;
            let buffer = buffer.clone();
            offset += size;
            BufferRange {
                buffer,
                offset: offset - size,
                size,
            }
        };
        self.layout.tensors().map(next).collect()
    }
}

/// Submits what `record` records.
pub fn submit(record: impl FnOnce(&mut wgpu::CommandEncoder)) {
    let Gpu { device, queue, .. } = gpu();
    let mut encoder = device.create_command_encoder(&Default::default());
    record(&mut encoder);
    queue.submit([encoder.finish()]);
}

/// The names of what `rule` keeps per element.
pub fn element_slots(rule: &dyn Rule) -> Vec<&'static str> {
    let slots = rule.slots().into_iter();
    slots
        .filter(|slot| slot.used && slot.extent == Extent::Element)
        .map(|slot| slot.name)
        .collect()
}

/// A buffer such as a caller would own.
pub fn buffer(bytes: u64) -> wgpu::Buffer {
    gpu().device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("the caller's"),
        size: bytes,
        usage: wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}

/// The distance from `|value|` to the next larger f32.
pub fn ulp(value: f32) -> f64 {
    let value = value.abs();
    f64::from(f32::from_bits(value.to_bits() + 1)) - f64::from(value)
}

/// The largest distance of `values` from `truth`.
pub fn error<T: cpu::Real>(values: &[T], truth: &[f64]) -> f64 {
    assert_eq!(values.len(), truth.len());
    let distance = |(value, truth): (&T, &f64)| {
        let distance = (value.to_f64().unwrap() - truth).abs();
        // NaN must not pass as small.
        if distance.is_nan() {
            f64::INFINITY
        } else {
            distance
        }
    };
    values.iter().zip(truth).map(distance).fold(0.0, f64::max)
}

/// What a GPU's error against f64 may be: twice the f32 twin's and two ulp of the largest value.
pub fn budget(f32_twin: &[f32], truth: &[f64]) -> f64 {
    let largest = truth
        .iter()
        .fold(0.0f64, |largest, value| largest.max(value.abs()));
    2.0 * error(f32_twin, truth) + 2.0 * ulp(largest as f32)
}

/// Checks every tensor of `found` against the twins.
pub fn assert_within_budget(problem: &Problem, found: &[Vec<f32>], label: &str) {
    let truth = problem.twin::<f64>();
    let f32_twin = problem.twin::<f32>();
    let mut differing = 0;
    for (tensor, found) in problem.layout.tensors().zip(found) {
        let truth = truth.param(tensor).unwrap();
        let f32_twin = f32_twin.param(tensor).unwrap();
        let group = problem.layout.group_of(tensor).unwrap();
        let rule = problem.layout.rule(group).unwrap();
        let name = problem.layout.name(tensor).unwrap();
        if is_sign_based(rule) {
            // Where the twin itself is on the wrong side, its error is no measure.
            let limit = 8.0 * ulp(1.0);
            let off = |(found, truth): (&f32, &f64)| (f64::from(*found) - truth).abs() > limit;
            differing += found.iter().zip(truth).filter(|pair| off(*pair)).count();
            continue;
        }
        let (error, budget) = (error(found, truth), budget(f32_twin, truth));
        assert!(
            error <= budget,
            "{label}, {name}: error {error:e}, budget {budget:e}"
        );
    }
    let total = problem.layout.parameter_count();
    assert!(
        differing as f64 <= total as f64 / 10_000.0,
        "{label}: {differing} of {total} elements differ"
    );
}

pub fn only_group(layout: &Layout) -> Group {
    layout.groups().next().unwrap()
}
