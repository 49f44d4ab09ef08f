//! Trains a multi-layer perceptron, or a convolutional network, with fused GPU optimizer steps:
//! forward pass, loss and backward pass in WGSL, and gradients that go straight into the optimizer's
//! buffers.
//!
//! `cargo run --release --example train` learns the UCI handwritten digits; `-- --help` lists what
//! else there is.

mod arguments;
mod report;
#[cfg(test)]
mod tests;

use std::process::ExitCode;
use std::time::Instant;

use ::report::exit_code;
use anyhow::Result;
use clap::Parser;
use trainer::{network, training};

use arguments::Arguments;
use report::Report;

fn main() -> ExitCode {
    let start = Instant::now();
    exit_code(run(&Arguments::parse(), start).map(|()| ExitCode::SUCCESS))
}

fn run(arguments: &Arguments, start: Instant) -> Result<()> {
    let rules = arguments.rules()?;
    let options = arguments.around.options(&rules)?;
    let data = arguments.network.data()?;
    let architecture = arguments.network.architecture(&data)?;
    let samples = data.train.count;
    let plan = arguments.plan(&rules, samples)?;
    let mut report = Report::new(
        data.task,
        u64::from(plan.epochs) * samples as u64,
        arguments.json.as_deref(),
        arguments.quiet,
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
    let parameters = architecture.parameter_count();
    report.line(&format!(
        "network    {architecture}, {parameters} parameters"
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
    let mut network = network::open(
        &opened.device,
        registered,
        &data,
        plan.batch_size,
        plan.seed,
    )?;
    report.heading()?;
    let outcome = training::train(network.as_mut(), &plan, &mut report)?.converged()?;
    report.summary(&opened.name, parameters, &options, start, &outcome)
}
