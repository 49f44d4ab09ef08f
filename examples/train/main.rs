//! Trains a multi-layer perceptron with fused GPU optimizer steps: forward pass, loss and backward
//! pass in WGSL, and gradients that go straight into the optimizer's buffers.
//!
//! `cargo run --release --example train` learns the UCI handwritten digits; `-- --help` lists what
//! else there is.

mod arguments;
mod around;
mod data;
mod defaults;
mod device;
mod network;
mod report;
mod training;

use std::io::ErrorKind;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;

use arguments::Arguments;
use device::Device;
use network::Network;
use network::cpu::CpuNetwork;
use network::gpu::GpuNetwork;
use report::Report;

fn main() -> ExitCode {
    let start = Instant::now();
    match run(&Arguments::parse(), start) {
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

fn run(arguments: &Arguments, start: Instant) -> Result<()> {
    let rules = arguments.rules()?;
    let options = arguments.around.options(&rules)?;
    let data = arguments.data()?;
    let architecture = arguments.architecture(&data)?;
    let samples = data.train.count;
    let plan = arguments.plan(&rules, samples)?;
    let mut report = Report::new(
        data.task,
        u64::from(plan.epochs) * samples as u64,
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
        "optimizer  {}, {} samples per step",
        rules.description(),
        plan.batch_size * plan.accumulate as usize
    ))?;
    if let Some(description) = arguments.around.description() {
        report.line(&format!("gradients  {description}"))?;
    }

    let registered = architecture.register(rules, options.clone())?;
    let mut network: Box<dyn Network + '_> = match &opened.device {
        Device::Gpu(gpu) => {
            let network = GpuNetwork::new(gpu, registered, &data, plan.batch_size, plan.seed);
            Box::new(network.with_context(|| format!("on {}", opened.name))?)
        }
        Device::Cpu => Box::new(CpuNetwork::<f32>::new(
            registered,
            &data,
            plan.batch_size,
            plan.seed,
        )?),
    };
    report.heading()?;
    let outcome = training::train(network.as_mut(), &plan, &mut report)?;
    report.summary(&opened.name, parameters, &options, start, &outcome)
}
