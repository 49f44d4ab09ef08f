//! wgpu-optim beside burn: the same work on the same device, in turns.
//!
//!     cargo run --release --manifest-path benches/peers/Cargo.toml

mod mlp;
mod steps;
mod timing;

use std::time::SystemTime;

use anyhow::{Context, Result};
use burn::tensor::Device;
use clap::{Parser, ValueEnum};
use wgpu_optim::Gpu;

/// Times wgpu-optim and burn on one device and prints a table.
///
/// Both share the device that burn opens: the best that it finds, or the one that the environment
/// variable CUBECL_WGPU_DEFAULT_DEVICE names.
#[derive(Parser)]
struct Arguments {
    /// Only this part of the table.
    #[arg(long)]
    only: Option<Part>,
    /// Timed rounds per line; in each, both have a turn.
    #[arg(long, default_value_t = 21, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Optimizer steps over gradients that are there.
    Steps,
    /// Training a multi-layer perceptron.
    Mlp,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let rounds = arguments.rounds as usize;
    let (burn, gpu) = open()?;
    print_header(&gpu);
    timing::print_head();
    let wants = |part| arguments.only.is_none_or(|only| only == part);
    if wants(Part::Mlp) {
        mlp::run(&gpu, &burn, rounds)?;
    }
    if wants(Part::Steps) {
        steps::run(&gpu, &burn, rounds)?;
    }
    Ok(())
}

/// Burn's device, and the same device for us. Burn opens it, with what its own compiler needs.
fn open() -> Result<(Device, Gpu)> {
    let opened = Device::wgpu_options().init_with_setup();
    let (burn, setup) = opened.context("burn finds no device to open")?;
    let gpu = Gpu {
        info: setup.adapter.get_info(),
        adapter: setup.adapter,
        device: setup.device,
        queue: setup.queue,
    };
    Ok((burn, gpu))
}

fn print_header(gpu: &Gpu) {
    let info = &gpu.info;
    println!("device  {} ({})", info.name, info.backend);
    println!("driver  {} {}", info.driver, info.driver_info);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("host    {cores} cores, {}", std::env::consts::OS);
    println!(
        "date    {}",
        humantime::format_rfc3339_seconds(SystemTime::now())
    );
    println!("peers   wgpu-optim as checked out, burn 0.22.1 with fusion and autotune\n");
}
