//! How long it takes to make an optimizer, and until its first step is done: with pipelines that the
//! device's drivers have compiled before, so that what is left is this crate's own.
//!
//!     cargo bench --bench start

use std::time::Instant;

use wgpu_optim::{Gpu, GpuOptions, Layout, Optimizer, Options, rules, wgpu};

const ROUNDS: usize = 9;

fn layout(rules: &[&str], shapes: &[Vec<usize>]) -> Layout {
    let mut layout = Layout::new();
    for rule in rules {
        let group = layout.group(rules::by_name(rule).unwrap()).unwrap();
        for (index, shape) in shapes.iter().enumerate() {
            layout
                .tensor(group, &format!("{rule}.{index}"), shape)
                .unwrap();
        }
    }
    layout
}

fn main() {
    let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
    let all: Vec<_> = rules::names().collect();
    let of_each: Vec<_> = all
        .iter()
        .copied()
        .filter(|name| *name != "newton_dense")
        .collect();
    let cases = [
        ("adamw, one tensor", layout(&["adamw"], &[vec![1024]])),
        (
            "adamw, 10 000 tensors",
            layout(&["adamw"], &vec![vec![64]; 10_000]),
        ),
        (
            "lamb, 10 000 tensors",
            layout(&["lamb"], &vec![vec![64]; 10_000]),
        ),
        (
            "adafactor, 10 000 matrices",
            layout(&["adafactor"], &vec![vec![8, 8]; 10_000]),
        ),
        (
            "muon, 12 matrices",
            layout(&["muon"], &vec![vec![64, 32]; 12]),
        ),
        (
            "all rules but one, a matrix each",
            layout(&of_each, &[vec![8, 8]]),
        ),
    ];
    println!("{} ({})", gpu.info.name, gpu.info.backend);
    println!("{:<34} {:>10} {:>14}", "ms", "made", "first step");
    for (name, layout) in cases {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            let start = Instant::now();
            let mut optimizer = Optimizer::new(&gpu.device, &layout, Options::default()).unwrap();
            times[0].push(start.elapsed().as_secs_f64());
            let mut encoder = gpu.device.create_command_encoder(&Default::default());
            optimizer.step(&mut encoder).unwrap();
            gpu.queue.submit([encoder.finish()]);
            gpu.device
                .poll(wgpu::PollType::wait_indefinitely())
                .unwrap();
            times[1].push(start.elapsed().as_secs_f64());
        }
        let [made, done] = times.map(|mut times| {
            times.sort_by(f64::total_cmp);
            1e3 * times[ROUNDS / 2]
        });
        println!("{name:<34} {made:>10.1} {done:>14.1}");
    }
}
