//! Trains the same network on the same data with several optimizers, and shows how they differ.
//!
//! `cargo run --release --example compare` compares twelve on the UCI handwritten digits; `-- --help`
//! lists what else there is.

mod arguments;
mod contest;
mod curves;
mod line;
mod live;
mod page;
mod spread;
mod standing;
mod table;
#[cfg(test)]
mod tests;

use std::io::{Write, stdout};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use flags::device::Opened;
use report::{Interrupt, JsonLines, Progress, exit_code};
use trainer::data::Dataset;
use trainer::network::Architecture;
use trainer::setting::Setting;

use arguments::Arguments;
use live::Live;
use page::View;

fn main() -> ExitCode {
    exit_code(Interrupt::watch().and_then(|interrupt| {
        run(&Arguments::parse(), &interrupt)?;
        Ok(interrupt.exit_code())
    }))
}

fn run(arguments: &Arguments, interrupt: &Interrupt) -> Result<()> {
    if let Some(out) = &arguments.out {
        out.check_beside(arguments.json.as_deref())?;
    }
    let candidates = arguments.candidates()?;
    let data = arguments.network.data()?;
    arguments.check_target(data.task)?;
    let architecture = arguments.network.architecture(&data)?;
    let opened = arguments.device.open()?;
    let setting = Setting {
        device: &opened.device,
        data: &data,
        architecture: &architecture,
        training: &arguments.training,
    };
    let entrants = contest::entrants(candidates, &setting)?;
    let json = arguments.json.as_deref().map(JsonLines::create);
    let trainings = entrants.len() as u64 * u64::from(arguments.seeds);
    let samples = trainings * u64::from(arguments.training.epochs) * data.train.count as u64;
    let mut live = Live {
        task: data.task,
        progress: Progress::new(samples, "samples", arguments.quiet)?,
        json: json.transpose()?,
        is_quiet: arguments.quiet,
    };
    introduce(arguments, &opened, &data, &architecture, &mut live)?;
    let runs = contest::hold(&setting, &entrants, arguments.seeds(), interrupt, &mut live)?;
    live.progress.finish();
    let view = View {
        arguments,
        device: &opened.name,
        data: &data,
        architecture: &architecture,
        entrants: &entrants,
        runs: &runs,
        is_complete: !interrupt.is_requested(),
    };
    conclude(&view)
}

/// Says what is going to be trained.
fn introduce(
    arguments: &Arguments,
    opened: &Opened,
    data: &Dataset,
    architecture: &Architecture,
    live: &mut Live,
) -> Result<()> {
    live.line(&format!("device     {}", opened.name))?;
    for remark in &opened.remarks {
        live.line(&format!("           {remark}"))?;
    }
    live.line(&format!(
        "data       {}: {} to train on, {} to test",
        data.name, data.train.count, data.test.count
    ))?;
    live.line(&format!(
        "network    {architecture}, {} parameters",
        architecture.parameter_count()
    ))?;
    let missing = arguments.missing_baselines(&arguments.named()?);
    if !missing.is_empty() {
        let names = missing.join(" and ");
        live.line(&format!(
            "baselines  {names} beside what is named (--no-baselines leaves them out)"
        ))?;
    }
    live.heading()
}

/// The final table, and the page.
fn conclude(view: &View) -> Result<()> {
    let standings = view.standings();
    if standings.is_empty() {
        writeln!(stdout(), "No training was finished.")?;
        return Ok(());
    }
    writeln!(stdout())?;
    let table = table::table(view.entrants, &standings, view.data.task, view.goal());
    for line in table.lines() {
        writeln!(stdout(), "{line}")?;
    }
    if let Some(out) = &view.arguments.out {
        for file in out.write(&page::page(view, &standings)?)? {
            writeln!(stdout(), "wrote {}", file.display())?;
        }
    }
    Ok(())
}
