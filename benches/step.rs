//! One optimizer step: recording it, and running it on the GPU and on the CPU twin.
//!
//!     cargo bench
//!
//! Compare runs on one idle machine only; on a software driver times depend on everything.

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wgpu_optim::{
    BufferRange, Buffers, Clip, Gpu, GpuOptions, Layout, LossScale, Optimizer, Options, cpu, rules,
    wgpu,
};

const PARAMETERS: usize = 1 << 20;

/// `PARAMETERS` in `tensors` tensors of one group.
fn layout(rule: &str, tensors: usize) -> Layout {
    let mut layout = Layout::new();
    let group = layout.group(rules::by_name(rule).unwrap()).unwrap();
    for index in 0..tensors {
        let shape = [PARAMETERS / tensors];
        layout.tensor(group, &index.to_string(), &shape).unwrap();
    }
    layout
}

/// All rules but those whose time goes into products of matrices and systems of equations.
fn element_rules() -> impl Iterator<Item = &'static str> {
    rules::names().filter(|name| rules::by_name(name).unwrap().stages().matrix.is_none())
}

/// Runs a step and returns how long recording it took.
fn step(gpu: &Gpu, optimizer: &mut Optimizer) -> Duration {
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    let start = Instant::now();
    optimizer.step(&mut encoder).unwrap();
    let recording = start.elapsed();
    gpu.queue.submit([encoder.finish()]);
    gpu.device
        .poll(wgpu::PollType::wait_indefinitely())
        .unwrap();
    recording
}

/// An optimizer over buffers such as a caller owns, tensors packed without gaps.
fn over_ranges(gpu: &Gpu, layout: &Layout) -> Optimizer {
    let buffer = || {
        gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 4 * PARAMETERS as u64,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        })
    };
    let ranges = |buffer: wgpu::Buffer| {
        let size = 4 * (PARAMETERS / layout.tensors().len()) as u64;
        let range = |index| BufferRange {
            buffer: buffer.clone(),
            offset: index as u64 * size,
            size,
        };
        (0..layout.tensors().len()).map(range).collect::<Vec<_>>()
    };
    let buffers = Buffers {
        params: ranges(buffer()),
        grads: Some(ranges(buffer())),
        ..Default::default()
    };
    Optimizer::over(&gpu.device, layout, buffers, Options::default()).unwrap()
}

fn on_the_gpu(criterion: &mut Criterion) {
    let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
    let mut group = criterion.benchmark_group(format!("step on {}", gpu.info.name));
    group
        .throughput(Throughput::Elements(PARAMETERS as u64))
        .sample_size(30);
    for rule in element_rules() {
        let layout = layout(rule, 1);
        let mut optimizer = Optimizer::new(&gpu.device, &layout, Options::default()).unwrap();
        group.bench_function(BenchmarkId::new("one tensor", rule), |bencher| {
            bencher.iter(|| step(&gpu, &mut optimizer));
        });
    }
    let layout = layout("adam", 4096);
    let mut in_arena = Optimizer::new(&gpu.device, &layout, Options::default()).unwrap();
    group.bench_function(
        BenchmarkId::new("4096 tensors in an arena", "adam"),
        |bencher| {
            bencher.iter(|| step(&gpu, &mut in_arena));
        },
    );
    let mut in_ranges = over_ranges(&gpu, &layout);
    group.bench_function(
        BenchmarkId::new("4096 tensors in ranges", "adam"),
        |bencher| {
            bencher.iter(|| step(&gpu, &mut in_ranges));
        },
    );
}

/// The time inside `Optimizer::step` alone, of steps that are submitted one by one.
fn recording(criterion: &mut Criterion) {
    let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
    let mut group = criterion.benchmark_group("record a step");
    let guarded = Options {
        clip: Clip::GlobalNorm(1.0),
        loss_scale: Some(LossScale::default()),
        ..Default::default()
    };
    for (name, options) in [("plain", Options::default()), ("clip, loss scale", guarded)] {
        for tensors in [1, 4096] {
            let layout = layout("adam", tensors);
            let mut optimizer = Optimizer::new(&gpu.device, &layout, options.clone()).unwrap();
            group.bench_function(BenchmarkId::new(name, tensors), |bencher| {
                bencher.iter_custom(|steps| (0..steps).map(|_| step(&gpu, &mut optimizer)).sum());
            });
        }
    }
}

fn on_the_cpu(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("step of the f32 twin");
    group
        .throughput(Throughput::Elements(PARAMETERS as u64))
        .sample_size(30);
    for rule in element_rules() {
        let mut optimizer = cpu::Optimizer::<f32>::new(&layout(rule, 1)).unwrap();
        group.bench_function(rule, |bencher| bencher.iter(|| optimizer.step()));
    }
}

criterion_group!(benches, recording, on_the_gpu, on_the_cpu);
criterion_main!(benches);
