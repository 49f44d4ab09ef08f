//! The memory of an optimizer beside parameters, gradients and state. Steps must not add to it.
//!
//! The test counts what wgpu has allocated on a device of its own. The driver sees more: wgpu asks
//! it for blocks, and the application chooses their size (`wgpu::MemoryHints`).

mod support;

use std::sync::{Mutex, MutexGuard, PoisonError};

use support::*;
use wgpu_optim::{
    Average, Buffers, Clip, Extent, Gpu, GpuOptions, Layout, LossScale, Optimizer, Options, wgpu,
};

const MIB: u64 = 1 << 20;

/// What the whole process takes is looked at, so tests take turns.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A device whose allocations are one test's alone, if it counts them; OpenGL does not.
fn own_gpu() -> Option<Gpu> {
    let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
    if gpu.device.generate_allocator_report().is_none() {
        println!("not run: {} does not count allocations", gpu.info.name);
        return None;
    }
    Some(gpu)
}

/// Bytes.
fn allocated(gpu: &Gpu) -> u64 {
    let report = gpu.device.generate_allocator_report().unwrap();
    report.total_allocated_bytes
}

/// What else surrounds a step.
fn everything() -> Options {
    Options {
        clip: Clip::GlobalNorm(1.0),
        loss_scale: Some(LossScale::default()),
        average: Some(Average {
            decay: 0.99,
            debias: true,
        }),
        ..Default::default()
    }
}

/// One group of tensors.
fn layout(name: &str, shapes: &[Vec<usize>]) -> Layout {
    let mut layout = Layout::new();
    let group = layout.group(rule(name)).unwrap();
    for (index, shape) in shapes.iter().enumerate() {
        layout.tensor(group, &index.to_string(), shape).unwrap();
    }
    layout
}

/// Bytes of parameters, gradients, state and average, each tensor from a 256-byte boundary on.
fn kept(layout: &Layout, options: &Options) -> u64 {
    let of_rule = layout.rule(only_group(layout)).unwrap().slots();
    let slots = of_rule.iter().filter(|slot| slot.used);
    let slots = slots.filter(|slot| slot.extent == Extent::Element).count();
    let arenas = 2 + slots + usize::from(options.average.is_some());
    let bytes = |tensor| 4 * layout.element_count(tensor).unwrap() as u64;
    let padded = layout
        .tensors()
        .map(|tensor| bytes(tensor).next_multiple_of(256));
    arenas as u64 * padded.sum::<u64>()
}

fn submit_steps(gpu: &Gpu, optimizer: &mut Optimizer, steps: usize) {
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    for _ in 0..steps {
        optimizer.step(&mut encoder).unwrap();
    }
    submit(gpu, Some(encoder.finish()));
}

fn submit(gpu: &Gpu, commands: Option<wgpu::CommandBuffer>) {
    gpu.queue.submit(commands);
    let polled = gpu.device.poll(wgpu::PollType::wait_indefinitely());
    polled.unwrap();
}

#[test]
fn an_optimizer_takes_at_most_one_percent_or_16_mib_beside_what_it_keeps() {
    let _alone = alone();
    let Some(gpu) = own_gpu() else { return };
    let shapes = [vec![vec![2048, 1024]], vec![vec![7, 3]; 5000]];
    for name in ["adamw", "lamb", "adafactor", "prodigy", "novograd"] {
        for (shapes, options) in shapes.iter().zip([everything(), Options::default()]) {
            let layout = layout(name, shapes);
            let kept = kept(&layout, &options);
            let before = allocated(&gpu);
            let check = |when| {
                let taken = allocated(&gpu) - before;
                let beside = taken
                    .checked_sub(kept)
                    .expect("more is kept than allocated");
                assert!(
                    beside <= (kept / 100).max(16 * MIB),
                    "{name}, {} tensors, {when}: {beside} bytes beside {kept}",
                    shapes.len()
                );
                beside
            };
            // Buffers that do not start with zeros are filled from others, which live until the first
            // submission: this is the peak.
            let mut optimizer = Optimizer::new(&gpu.device, &layout, options).unwrap();
            let made = check("made");
            submit_steps(&gpu, &mut optimizer, 2);
            // But for the small buffers that bring its numbers.
            let stepped = check("stepped");
            assert!(stepped <= made + 4096, "{name}: a step takes memory");
            drop(optimizer);
            submit(&gpu, None);
            let left = allocated(&gpu).saturating_sub(before);
            assert!(left < MIB, "{name}: {left} bytes stay");
        }
    }
}

#[test]
fn what_comes_with_each_parameter_is_a_small_part_of_it() {
    let _alone = alone();
    let Some(gpu) = own_gpu() else { return };
    let options = everything();
    let beside = |name, rows| {
        let layout = layout(name, &[vec![rows, 1024]]);
        submit(&gpu, None);
        let before = allocated(&gpu);
        let _optimizer = Optimizer::new(&gpu.device, &layout, options.clone()).unwrap();
        allocated(&gpu) - before - kept(&layout, &options)
    };
    // Bytes per parameter at the most, before the first submission, of 8 to 28 that are kept. For each
    // 128 to 256 elements that are measured there is a partial sum: 8 bytes for clipping, 16 for a rule.
    for (name, most) in [
        ("adamw", 0.07),
        ("lamb", 0.2),
        ("prodigy", 0.2),
        ("novograd", 0.2),
        ("adafactor", 0.3),
    ] {
        let grown = beside(name, 4096) - beside(name, 2048);
        let found = grown as f64 / (2048 * 1024) as f64;
        println!("{name}: {found} bytes per parameter");
        assert!(found < most, "{name}: {found} bytes per parameter");
    }
}

#[test]
fn ten_thousand_steps_take_no_memory() {
    let _alone = alone();
    let Some(gpu) = own_gpu() else { return };
    let layout = layout("adamw", &vec![vec![7, 3]; 8]);
    let mut optimizer = Optimizer::new(&gpu.device, &layout, everything()).unwrap();
    let mut run = |steps: usize| {
        (0..steps / 20).for_each(|_| submit_steps(&gpu, &mut optimizer, 20));
        (allocated(&gpu), resident())
    };
    let early = run(1000);
    let late = run(9000);
    assert_eq!(early.0, late.0, "bytes on the device");
    if let (Some(early), Some(late)) = (early.1, late.1) {
        let grown = late.saturating_sub(early);
        assert!(grown < 4 * MIB, "the process grew by {grown} bytes");
    }
}

#[test]
fn gradients_in_new_buffers_at_every_step_take_no_more_in_the_end() {
    let _alone = alone();
    let Some(gpu) = own_gpu() else { return };
    let layout = layout("adamw", &[vec![1000]]);
    let usage = wgpu::BufferUsages::STORAGE;
    let buffer = || {
        let buffer = gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 4000,
            usage,
            mapped_at_creation: false,
        });
        wgpu_optim::BufferRange::whole(&buffer)
    };
    let buffers = Buffers {
        params: vec![buffer()],
        grads: None,
        ..Default::default()
    };
    let optimizer = Optimizer::over(&gpu.device, &layout, buffers, everything());
    let mut optimizer = optimizer.unwrap();
    let mut run = |steps| {
        for _ in 0..steps {
            let mut encoder = gpu.device.create_command_encoder(&Default::default());
            optimizer.step_with(&mut encoder, &[buffer()]).unwrap();
            submit(&gpu, Some(encoder.finish()));
        }
        allocated(&gpu)
    };
    let early = run(10);
    // wgpu's own few bytes come and go.
    let late = run(300);
    assert!(late < early + 1000, "{late} bytes after {early}");
}

/// Bytes of memory that the process is in, where that is told.
fn resident() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4096)
}
