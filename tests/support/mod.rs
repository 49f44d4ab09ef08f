//! What the integration tests share: a device, random problems, and every variant of every rule.
#![allow(
    dead_code,
    unused_imports,
    reason = "not every test file uses all of it"
)]

// Variants and problems are those of the example `verify`.
#[path = "../../examples/verify/accuracy.rs"]
mod accuracy;
#[path = "../../examples/verify/problem.rs"]
mod problem;
#[path = "../../examples/verify/subject.rs"]
mod subject;
#[path = "../../examples/verify/variant.rs"]
mod variant;

pub mod forged;
pub mod places;
pub mod saved;

use std::sync::OnceLock;

use rand::{SeedableRng, rngs::StdRng};
use wgpu_optim::{
    BufferRange, Buffers, Extent, Format, Formats, Gpu, GpuOptions, Group, Layout, Optimizer,
    Options, Rule, Snapshot, Stats, Tensor, cpu, rules, wgpu,
};

pub use accuracy::ulp;
pub use problem::{Problem, input_slots, random_grads, random_params, shape_for, state_slots};
pub use subject::{OnGpu, Readable};
pub use variant::Variant;

/// One device per test program. There must be one: a test without it fails.
pub fn gpu() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| Gpu::open_blocking(&GpuOptions::default()).unwrap())
}

pub fn random(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// What parameters may be in of which a forward pass reads 16 bits.
pub fn half_params() -> impl Iterator<Item = Format> + Clone {
    let formats = Formats::PARAMS.iter().copied();
    formats.filter(|format| *format != Format::F32)
}

/// How many bits a parameter of `format` has.
pub fn bits_of(format: Format) -> u32 {
    8 * format.bytes_per_element() as u32
}

/// `rules::by_name`, which tests know to succeed.
pub fn rule(name: &str) -> Box<dyn Rule> {
    rules::by_name(name).unwrap()
}

/// What tests know to succeed.
pub trait Variants: Sized {
    fn all() -> Vec<Self>;
    fn all_of(rule: &'static str) -> Vec<Self>;
    fn make(&self) -> Box<dyn Rule>;
}

impl Variants for Variant {
    fn all() -> Vec<Self> {
        rules::names().flat_map(Self::all_of).collect()
    }

    fn all_of(rule: &'static str) -> Vec<Self> {
        Self::of_rule(rule).unwrap()
    }

    fn make(&self) -> Box<dyn Rule> {
        self.build().unwrap()
    }
}

/// Problems on the device of the tests and on the twins.
pub trait Problems: Sized {
    /// Random numbers for `layout` over `steps` steps.
    fn random(layout: Layout, steps: usize, seed: u64) -> Self;
    /// One group of `rule` with a tensor of each size.
    fn of_sizes(rule: impl Into<Box<dyn Rule>>, sizes: &[usize], steps: usize) -> Self;
    fn tensors(&self) -> Vec<Tensor>;
    /// The CPU twin after all steps.
    fn twin<T: cpu::Real>(&self) -> cpu::Optimizer<T>;
    fn write_params(&self, optimizer: &mut Optimizer);
    /// Writes what `step` takes: gradients, and inputs where they are due.
    fn write_step(&self, optimizer: &mut Optimizer, step: usize);
    fn read_params(&self, optimizer: &Optimizer) -> Vec<Vec<f32>>;
    /// Parameters after all steps on the GPU, in `optimizer`'s buffers.
    fn run(&self, optimizer: &mut Optimizer) -> Vec<Vec<f32>>;
    fn in_arena(&self, options: Options) -> Optimizer;
    fn over(&self, buffers: Buffers, options: Options) -> Optimizer;
    /// The tensors packed without gaps in `buffer` from `offset` on.
    fn packed(&self, buffer: &wgpu::Buffer, offset: u64) -> Vec<BufferRange>;
}

impl Problems for Problem {
    fn random(layout: Layout, steps: usize, seed: u64) -> Self {
        Self::generate(layout, steps, seed).unwrap()
    }

    fn of_sizes(rule: impl Into<Box<dyn Rule>>, sizes: &[usize], steps: usize) -> Self {
        Self::with_sizes(rule, sizes, steps).unwrap()
    }

    fn tensors(&self) -> Vec<Tensor> {
        self.layout.tensors().collect()
    }

    fn packed(&self, buffer: &wgpu::Buffer, offset: u64) -> Vec<BufferRange> {
        self.packed_in(Format::F32, buffer, offset)
    }

    fn twin<T: cpu::Real>(&self) -> cpu::Optimizer<T> {
        let mut optimizer = cpu::Optimizer::<T>::new(&self.layout).unwrap();
        self.replay(&mut optimizer, |_, _| Ok(())).unwrap();
        optimizer
    }

    fn write_params(&self, optimizer: &mut Optimizer) {
        let gpu = gpu();
        self.start(&mut OnGpu { gpu, optimizer }).unwrap();
    }

    fn write_step(&self, optimizer: &mut Optimizer, step: usize) {
        let gpu = gpu();
        self.prepare(&mut OnGpu { gpu, optimizer }, step).unwrap();
    }

    fn read_params(&self, optimizer: &Optimizer) -> Vec<Vec<f32>> {
        let read = |tensor| optimizer.read_param_blocking(&gpu().queue, tensor).unwrap();
        self.layout.tensors().map(read).collect()
    }

    fn run(&self, optimizer: &mut Optimizer) -> Vec<Vec<f32>> {
        let gpu = gpu();
        self.replay(&mut OnGpu { gpu, optimizer }, |_, _| Ok(()))
            .unwrap();
        self.read_params(optimizer)
    }

    fn in_arena(&self, options: Options) -> Optimizer {
        Optimizer::new(&gpu().device, &self.layout, options).unwrap()
    }

    fn over(&self, buffers: Buffers, options: Options) -> Optimizer {
        Optimizer::over(&gpu().device, &self.layout, buffers, options).unwrap()
    }
}

/// The statistics of a submitted snapshot. Another test's thread may be the one whose poll has found
/// it, so one poll of ours does not always do.
pub fn arrived(snapshot: &Snapshot) -> Stats {
    loop {
        if let Some(stats) = snapshot.get().unwrap() {
            return stats;
        }
        let wait = wgpu::PollType::wait_indefinitely();
        gpu().device.poll(wait).unwrap();
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

/// All that is kept of `tensor`, inputs too.
pub fn slots_of(layout: &Layout, tensor: Tensor) -> Vec<&'static str> {
    let rule = layout.rule(layout.group_of(tensor).unwrap()).unwrap();
    let shape = layout.shape(tensor).unwrap();
    let mut slots = state_slots(rule);
    slots.extend(input_slots(rule));
    slots.retain(|slot| slot.extent.count(shape) > 0);
    slots.iter().map(|slot| slot.name).collect()
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
        if rule.is_sign_based() {
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

/// Whether some rule adds something up, whose last bits depend on the order.
pub fn sums_up(problem: &Problem) -> bool {
    let mut groups = problem.layout.groups();
    groups.any(|group| {
        let stages = problem.layout.rule(group).unwrap().stages();
        stages.sum.is_some() || stages.lines.is_some()
    })
}

/// Bit for bit, but for rules that sum something up: in another order, elsewhere.
pub fn assert_same(problem: &Problem, found: &[Vec<f32>], expected: &[Vec<f32>], label: &str) {
    if sums_up(problem) {
        assert_within_budget(problem, found, label);
    } else {
        assert!(found == expected, "{label}");
    }
}

pub fn only_group(layout: &Layout) -> Group {
    layout.groups().next().unwrap()
}
