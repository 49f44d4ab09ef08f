//! All learning-rate schedules on one sheet, each with the call that makes it.
//!
//! `cargo run --release --example schedules -- --out schedules.html`; `-- --help` lists what else
//! there is.

mod arguments;
mod code;
mod samples;
mod sheet;

use std::io::{Write, stdout};
use std::process::ExitCode;

use ::report::exit_code;
use anyhow::Result;
use clap::Parser;
use report::JsonLines;
use serde::Serialize;

use arguments::Arguments;
use samples::Sample;

fn main() -> ExitCode {
    exit_code(run(&Arguments::parse()).map(|()| ExitCode::SUCCESS))
}

fn run(arguments: &Arguments) -> Result<()> {
    if let Some(output) = &arguments.out {
        output.check_beside(arguments.json.as_deref())?;
    }
    let samples = samples::all(arguments.steps)?;
    if let Some(path) = &arguments.json {
        write_json(&samples, &mut JsonLines::create(path)?)?;
    }
    match &arguments.out {
        Some(output) => {
            let page = sheet::page(&samples, arguments.steps, output.file_type())?;
            for path in output.write(&page)? {
                writeln!(stdout(), "wrote {}", path.display())?;
            }
        }
        None => {
            for line in sheet::table(&samples, arguments.steps).lines() {
                writeln!(stdout(), "{line}")?;
            }
        }
    }
    Ok(())
}

/// A line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    schedule: &'a str,
    step: usize,
    lr: f64,
}

fn write_json(samples: &[Sample], lines: &mut JsonLines) -> Result<()> {
    for Sample { name, rates, .. } in samples {
        for (step, &lr) in rates.iter().enumerate() {
            let schedule = name;
            lines.write(&Line { schedule, step, lr })?;
        }
    }
    Ok(())
}
