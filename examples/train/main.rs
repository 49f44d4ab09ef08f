//! Trains a multi-layer perceptron with fused GPU optimizer steps: forward pass, loss and backward
//! pass in WGSL, and gradients that go straight into the optimizer's buffers.
//!
//! `cargo run --release --example train` learns the UCI handwritten digits; `-- --help` lists what
//! else there is.

mod arguments;
mod data;
mod defaults;
mod device;
mod network;
mod report;
mod training;

use std::io::ErrorKind;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use arguments::Arguments;
use device::Device;
use network::cpu::CpuNetwork;
use network::gpu::GpuNetwork;
use network::{Network, batch_count};
use report::Report;
use training::Plan;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads the output has seen enough, as with `| head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

fn run(arguments: &Arguments) -> Result<()> {
    let rule = arguments.rule()?;
    let lr = rule.lr();
    let data = arguments.data()?;
    let architecture = arguments.architecture(&data)?;
    let samples = data.train.count;
    let batch_size = arguments.batch_size(samples);
    let epochs = arguments.epochs;
    let plan = Plan {
        epochs,
        batch_size,
        samples,
        lr,
        schedule: arguments.schedule(lr, batch_count(samples, batch_size))?,
        seed: arguments.seed,
    };
    let mut report = Report::new(
        data.task,
        u64::from(epochs) * samples as u64,
        arguments.json.as_deref(),
    )?;

    let opened = arguments.device.open()?;
    report.line(&format!("device     {}", opened.name))?;
    for remark in &opened.remarks {
        report.line(&format!("           {remark}"))?;
    }
    report.line(&format!(
        "data       {}: {samples} to train on, {} to test",
        data.name, data.test.count
    ))?;
    let sizes: Vec<String> = architecture.sizes.iter().map(usize::to_string).collect();
    let parameters = architecture.parameter_count();
    report.line(&format!(
        "network    {}, {parameters} parameters",
        sizes.join(" → ")
    ))?;
    report.line(&format!(
        "optimizer  {}, lr {lr}, {batch_size} samples per step",
        rule.name()
    ))?;

    let registered = architecture.register(rule)?;
    let mut network: Box<dyn Network + '_> = match &opened.device {
        Device::Gpu(gpu) => {
            let network = GpuNetwork::new(gpu, registered, &data, batch_size, arguments.seed);
            Box::new(network.with_context(|| format!("on {}", opened.name))?)
        }
        Device::Cpu => Box::new(CpuNetwork::<f32>::new(
            registered,
            &data,
            batch_size,
            arguments.seed,
        )?),
    };
    report.heading()?;
    let (test, time) = training::train(network.as_mut(), &plan, &mut report)?;
    report.summary(&opened.name, parameters, time, test)
}
