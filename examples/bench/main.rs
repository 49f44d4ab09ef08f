//! Times optimizer steps: milliseconds, GB/s, and how near they come to a copy of as much memory,
//! measured in the same run.
//!
//! `cargo run --release --example bench`; `-- --help` lists what else there is.

mod arguments;
mod clock;
mod copies;
mod gpu;
mod plot;
mod report;
mod statistics;
mod streams;
mod twin;
mod workload;

use std::io::ErrorKind;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use wgpu_optim::{Error, Gpu};

use arguments::Arguments;
use gpu::Bench;
use report::{Report, Row};

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Whoever reads the output has seen enough, as with `| head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// Whether all that was asked for could be timed.
fn run(arguments: &Arguments) -> Result<bool> {
    let report = Report {
        json: arguments.json,
    };
    let rounds = usize::from(arguments.rounds);
    let mut rows = Vec::new();
    let mut is_complete = true;
    if let Some(options) = arguments.adapter() {
        let opened = Gpu::open_blocking(&options);
        let opened = opened.with_context(|| {
            let device = &arguments.device;
            format!(
                "--device {device} (gpu, cpu or part of an adapter's name; cpu needs no driver)"
            )
        })?;
        let mut bench = Bench::new(clock::with_timestamps(opened)?, rounds);
        let copies = format!("the fastest of {} copy shaders", copies::SHAPES.len());
        report.heading(&bench.device(), bench.clock(), &copies, rounds)?;
        is_complete &= each(arguments, &report, &mut rows, |rule, workload| {
            bench.row(rule, workload)
        })?;
    }
    if arguments.twin || arguments.adapter().is_none() {
        report.heading(&twin::device(), "wall clock", "a loop in chunks", rounds)?;
        is_complete &= each(arguments, &report, &mut rows, |rule, workload| {
            twin::row(rule, workload, rounds)
        })?;
    }
    if let Some(path) = &arguments.plot {
        plot::draw(&rows, path)?;
    }
    Ok(is_complete)
}

/// Whether every rule over every workload could be timed.
fn each(
    arguments: &Arguments,
    report: &Report,
    rows: &mut Vec<Row>,
    mut time: impl FnMut(&str, &workload::Workload) -> Result<Row>,
) -> Result<bool> {
    let mut is_complete = true;
    for workload in arguments.workloads() {
        for rule in arguments.rules() {
            match time(rule, workload) {
                Ok(row) => {
                    report.row(&row)?;
                    rows.push(row);
                }
                Err(error) => {
                    is_complete = false;
                    report.failed(rule, workload, &error)?;
                    if matches!(error.downcast_ref(), Some(Error::DeviceLost { .. })) {
                        return Ok(false);
                    }
                }
            }
        }
    }
    Ok(is_complete)
}
