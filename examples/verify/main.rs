//! What to run first on a new device: holds every optimizer rule, a framework's trace of one, or state
//! in fewer bits against the f64 twin on the CPU.
//!
//! `cargo run --release --example verify`; `-- --help` lists what else there is.

mod accuracy;
mod arguments;
mod around;
mod budget;
mod check;
mod copied;
mod device;
mod flips;
mod formats;
mod page;
#[allow(dead_code)] // The browser's tests use more of it.
mod place;
mod problem;
mod report;
#[cfg(test)]
mod skewed;
mod stored;
mod subject;
mod trace;
mod variant;

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use ::report::exit_code;
use anyhow::Result;
use clap::Parser;
use flags::device::describe;
use wgpu_optim::{Error, Gpu};

use arguments::{Arguments, Command};
use check::Check;
use page::Kind;
use report::Report;
use trace::Trace;

fn main() -> ExitCode {
    exit_code(run(&Arguments::parse()).map(|is_right| match is_right {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }))
}

/// Whether all is well.
fn run(arguments: &Arguments) -> Result<bool> {
    arguments.check()?;
    let (reports, unopened) = match arguments.all_adapters {
        false => {
            let gpu = arguments.device.open()?;
            (vec![verify(arguments, gpu.as_ref())?], Vec::new())
        }
        true => verify_all(arguments)?,
    };
    if let Some(output) = &arguments.out {
        let written = output.write(&page::page(&reports, &unopened)?)?;
        for path in written.iter().filter(|_| !arguments.json) {
            writeln!(stdout(), "wrote {}", path.display())?;
        }
    }
    Ok(unopened.is_empty() && reports.iter().all(Report::is_right))
}

/// Reports on all adapters, and which could not be opened.
fn verify_all(arguments: &Arguments) -> Result<(Vec<Report>, Vec<String>)> {
    let (mut reports, mut unopened) = (Vec::new(), Vec::new());
    for adapter in device::all()? {
        let device = describe(&adapter.get_info());
        if !device::has_compute_shaders(&adapter) {
            eprintln!("{device}: skipped, it has no compute shaders");
            continue;
        }
        // The others are of interest all the same.
        match pollster::block_on(Gpu::open_adapter(adapter)) {
            Ok(gpu) => reports.push(verify(arguments, Some(&gpu))?),
            Err(error) => {
                eprintln!("error: {device}: {error}");
                unopened.push(format!("{device}: {error}"));
            }
        }
    }
    Ok((reports, unopened))
}

fn verify(arguments: &Arguments, gpu: Option<&Gpu>) -> Result<Report> {
    let mut report = match &arguments.command {
        None => check_rules(arguments, gpu)?,
        Some(Command::Trace { files }) => replay_traces(arguments, files, gpu)?,
        Some(Command::Formats) => compare_formats(arguments, gpu)?,
    };
    report.summary()?;
    Ok(report)
}

fn check_rules(arguments: &Arguments, gpu: Option<&Gpu>) -> Result<Report> {
    let mut checks = Vec::new();
    for rule in arguments.rules() {
        checks.extend(Check::all_of(rule)?);
    }
    let info = gpu.map(|gpu| gpu.info.clone());
    let mut report = Report::new(arguments, Kind::Rules, info, checks.len())?;
    report.rules_heading()?;
    for check in checks {
        match check.run(gpu) {
            Ok(row) => report.checked(&row)?,
            Err(error) => {
                report.not_checked(&check, &error)?;
                if is_lost(&error) {
                    break;
                }
            }
        }
    }
    Ok(report)
}

fn replay_traces(arguments: &Arguments, files: &[PathBuf], gpu: Option<&Gpu>) -> Result<Report> {
    let info = gpu.map(|gpu| gpu.info.clone());
    let mut report = Report::new(arguments, Kind::Traces, info, files.len())?;
    report.traces_heading()?;
    for path in files {
        let file = path.display().to_string();
        let replayed = Trace::read(path).and_then(|trace| trace::replay(file.clone(), &trace, gpu));
        match replayed {
            Ok(row) => report.replayed(&row)?,
            Err(error) => {
                report.not_replayed(&file, &error)?;
                if is_lost(&error) {
                    break;
                }
            }
        }
    }
    Ok(report)
}

fn compare_formats(arguments: &Arguments, gpu: Option<&Gpu>) -> Result<Report> {
    let info = gpu.map(|gpu| gpu.info.clone());
    let mut all = formats::all()?;
    let steps = all.len() * formats::ENDS.iter().max().unwrap_or(&0);
    let mut report = Report::new(arguments, Kind::Formats, info, steps)?;
    report.formats_heading()?;
    for gradients in &mut all {
        formats::measure(&mut **gradients, &formats::ENDS, gpu, |rows| {
            report.stepped(&rows)
        })?;
    }
    Ok(report)
}

/// Whether nothing more can come of the device.
fn is_lost(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Error::DeviceLost { .. }))
}
