//! What the smallest steps cost, on a device that does nothing else: AdamW over 2¹⁰ parameters beside an
//! empty dispatch, each recorded, submitted and waited for in turns.
//!
//!     cargo bench --bench small

use std::time::Instant;

use wgpu_optim::{
    Clip, Gpu, GpuOptions, Layout, LossScale, Optimizer, Options, rules::AdamW, wgpu,
};

const PARAMETERS: usize = 1 << 10;
const ROUNDS: usize = 4001;

/// Records dispatches that do nothing.
struct Nothing {
    pipeline: wgpu::ComputePipeline,
    dispatches: usize,
    /// What is copied before them.
    numbers: Option<Numbers>,
}

/// Numbers that a dispatch reads, and where they come from.
struct Numbers {
    from: wgpu::Buffer,
    to: wgpu::Buffer,
    bindings: wgpu::BindGroup,
}

impl Numbers {
    fn new(device: &wgpu::Device, pipeline: &wgpu::ComputePipeline) -> Self {
        let buffer = |usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: 256,
                usage,
                mapped_at_creation: false,
            })
        };
        let from = buffer(wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC);
        let to = buffer(wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST);
        let bindings = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[wgpu::BindGroupEntry {
                binding: 0,
                resource: to.as_entire_binding(),
            }],
        });
        Self { from, to, bindings }
    }
}

impl Nothing {
    fn new(device: &wgpu::Device, dispatches: usize, copies: bool) -> Self {
        let text = match copies {
            false => "@compute @workgroup_size(1) fn main() {}",
            true => {
                "@group(0) @binding(0) var<storage, read_write> numbers: array<u32>;
                 @compute @workgroup_size(1) fn main() { numbers[0] += 1u; }"
            }
        };
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(text.into()),
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: None,
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        Self {
            numbers: copies.then(|| Numbers::new(device, &pipeline)),
            pipeline,
            dispatches,
        }
    }

    fn record(&self, encoder: &mut wgpu::CommandEncoder) {
        if let Some(Numbers { from, to, .. }) = &self.numbers {
            encoder.copy_buffer_to_buffer(from, 0, to, 0, to.size());
        }
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&self.pipeline);
        if let Some(Numbers { bindings, .. }) = &self.numbers {
            pass.set_bind_group(0, bindings, &[]);
        }
        for _ in 0..self.dispatches {
            pass.dispatch_workgroups(1, 1, 1);
        }
    }
}

enum Work {
    Nothing(Nothing),
    Step(Box<Optimizer>),
}

/// Seconds from the start of recording to the end of the work.
fn run(gpu: &Gpu, work: &mut Work) -> f64 {
    let start = Instant::now();
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    match work {
        Work::Nothing(nothing) => nothing.record(&mut encoder),
        Work::Step(optimizer) => optimizer.step(&mut encoder).unwrap(),
    }
    gpu.queue.submit([encoder.finish()]);
    gpu.device
        .poll(wgpu::PollType::wait_indefinitely())
        .unwrap();
    start.elapsed().as_secs_f64()
}

fn main() {
    let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
    let mut layout = Layout::new();
    let group = layout.group(AdamW::default()).unwrap();
    layout.tensor(group, "weight", &[PARAMETERS]).unwrap();
    let step = |options| {
        Work::Step(Box::new(
            Optimizer::new(&gpu.device, &layout, options).unwrap(),
        ))
    };
    let nothing = |dispatches, copies| Work::Nothing(Nothing::new(&gpu.device, dispatches, copies));
    let mut cases = [
        ("an empty dispatch", nothing(1, false)),
        ("two empty dispatches", nothing(2, false)),
        ("numbers copied, a dispatch reads them", nothing(1, true)),
        ("numbers copied, two that read them", nothing(2, true)),
        ("a step", step(Options::default())),
        (
            "a step with clipping and a loss scale",
            step(Options {
                clip: Clip::GlobalNorm(1.0),
                loss_scale: Some(LossScale::default()),
                ..Options::default()
            }),
        ),
    ];
    let mut times = cases.each_ref().map(|_| Vec::new());
    for round in 0..ROUNDS + 100 {
        for ((_, work), times) in cases.iter_mut().zip(&mut times) {
            let seconds = run(&gpu, work);
            if round >= 100 {
                times.push(seconds);
            }
        }
    }
    println!(
        "AdamW, {PARAMETERS} parameters, {} ({})",
        gpu.info.name, gpu.info.backend
    );
    println!(
        "{:<38} {:>8} {:>8} {:>8}  median ÷ first",
        "µs", "25 %", "50 %", "75 %"
    );
    let mut first = None;
    for ((name, _), times) in cases.iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        let [low, median, high] = [1, 2, 3].map(|quarter| 1e6 * times[quarter * ROUNDS / 4]);
        let first = *first.get_or_insert(median);
        println!(
            "{name:<38} {low:>8.1} {median:>8.1} {high:>8.1}  {:.2}",
            median / first
        );
    }
}
