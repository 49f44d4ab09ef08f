//! Times optimizer steps: milliseconds, GB/s, and how near they come to a copy of as much memory,
//! measured in the same run.
//!
//! `cargo run --release --example bench`; `-- --help` lists what else there is.

mod arguments;
mod clock;
mod compare;
mod copies;
mod gpu;
mod load;
mod page;
mod report;
mod row;
mod statistics;
mod streams;
mod twin;
mod workload;

use std::io::{Write, stdout};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use wgpu_optim::{Error, Formats, Gpu};

use ::flags::patience::patiently;
use ::report::exit_code;
use arguments::Arguments;
use clock::Clock;
use gpu::Bench;
use page::Timed;
use report::Report;
use row::Row;

fn main() -> ExitCode {
    exit_code(
        run(&Arguments::parse()).map(|is_complete| match is_complete {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }),
    )
}

/// Whether all that was asked for could be timed.
fn run(arguments: &Arguments) -> Result<bool> {
    if let Some(output) = &arguments.out {
        output.check()?;
    }
    let report = Report {
        json: arguments.json,
    };
    if let Some(other) = &arguments.compare {
        return compare(arguments, other, &report);
    }
    let rounds = usize::from(arguments.rounds);
    let mut timed = Vec::new();
    if let Some(options) = arguments.adapter() {
        let opened = patiently("opening the device", || Gpu::open_blocking(&options));
        let opened = opened.with_context(|| {
            let device = &arguments.device;
            format!(
                "--device {device} (gpu, cpu or part of an adapter's name; cpu needs no driver)"
            )
        })?;
        let gpu = clock::with_timestamps(opened)?;
        let clock = Clock::new(&gpu);
        let bench = Bench::new(gpu, clock, rounds);
        let copies = format!("the fastest of {} copy shaders", copies::SHAPES.len());
        let of_device = Timed::new(bench.device(), bench.name(), bench.clock(), copies);
        timed.push(each(
            arguments,
            &report,
            of_device,
            |rule, format, workload| pollster::block_on(bench.row(rule, format, workload)),
        )?);
    }
    if arguments.twin || arguments.adapter().is_none() {
        let of_twin = Timed::new(
            twin::device(),
            "the CPU",
            "wall clock",
            "a loop in chunks".into(),
        );
        timed.push(each(
            arguments,
            &report,
            of_twin,
            |rule, format, workload| twin::row(rule, format, workload, rounds),
        )?);
    }
    let rows = timed.iter().flat_map(|timed| &timed.rows);
    report.load(rows.map(|row| row.others_cpu))?;
    if let Some(output) = &arguments.out {
        let written = output.write(&page::page(&timed, rounds)?)?;
        for path in written.iter().filter(|_| !arguments.json) {
            writeln!(stdout(), "wrote {}", path.display())?;
        }
    }
    Ok(timed.iter().all(|timed| timed.failures.is_empty()))
}

/// Times every rule over every workload, as far as the device takes part.
fn each(
    arguments: &Arguments,
    report: &Report,
    mut timed: Timed,
    mut time: impl FnMut(&str, Formats, &workload::Workload) -> Result<Row>,
) -> Result<Timed> {
    let rounds = usize::from(arguments.rounds);
    report.heading(&timed.device, &timed.clock, &timed.copies, rounds)?;
    for workload in arguments.workloads() {
        for (rule, format) in arguments.rules_in_formats() {
            let (row, others_cpu) = load::beside(|| time(rule, format, workload));
            match row {
                Ok(row) => {
                    let row = Row { others_cpu, ..row };
                    report.row(&row)?;
                    timed.rows.push(row);
                }
                Err(error) => {
                    report.failed(rule, workload, &error)?;
                    let failure = format!("{rule} over {workload} was not timed: {error:#}");
                    timed.failures.push(failure);
                    if matches!(error.downcast_ref(), Some(Error::DeviceLost { .. })) {
                        return Ok(timed);
                    }
                }
            }
        }
    }
    Ok(timed)
}

/// This build against another.
fn compare(arguments: &Arguments, other: &Path, report: &Report) -> Result<bool> {
    report.comparison(&arguments.device, other, usize::from(arguments.rounds))?;
    let (mut others_cpu, mut is_complete) = (Vec::new(), true);
    for workload in arguments.workloads() {
        for rule in arguments.rules() {
            match compare::row(other, arguments, rule, &workload.argument()) {
                Ok(row) => {
                    report.compared(&row)?;
                    others_cpu.push(row.others_cpu);
                }
                Err(error) => {
                    report.failed(rule, workload, &error)?;
                    is_complete = false;
                }
            }
        }
    }
    report.load(others_cpu)?;
    Ok(is_complete)
}
