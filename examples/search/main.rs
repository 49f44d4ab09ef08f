//! Finds an optimizer and its hyperparameters by training with many.
//!
//! `cargo run --release --example search` tries five optimizers at eight learning rates each on the UCI
//! handwritten digits; `-- --help` lists what else there is.

mod arguments;
mod draw;
mod grid;
mod job;
mod journal;
mod page;
mod ranking;
mod run;
#[cfg(test)]
mod tests;
mod trial;

use std::io::{Write, stdout};
use std::process::ExitCode;

use anyhow::Result;
use clap::{ArgMatches, CommandFactory};
use flags::device::Opened;
use report::{Interrupt, Progress, exit_code};
use trainer::setting::Setting;

use arguments::Arguments;
use job::Job;
use journal::Journal;
use page::View;
use run::Watch;

/// Rows of the ranking on the terminal; the page has all.
const SHOWN: usize = 15;

fn main() -> ExitCode {
    let matches = Arguments::command().get_matches();
    exit_code(Interrupt::watch().and_then(|interrupt| {
        run(&matches, &interrupt)?;
        Ok(interrupt.exit_code())
    }))
}

fn run(matches: &ArgMatches, interrupt: &Interrupt) -> Result<()> {
    let job = Job::new(matches)?;
    let opened = job.arguments.device.open()?;
    let setting = job.setting(&opened.device);
    let search = job.search();
    let (mut journal, mut outcomes) = Journal::open(job.arguments.json.as_deref(), &search)?;
    let left = outcomes.iter().filter(|outcome| outcome.is_none()).count() as u64;
    let samples = left * u64::from(job.arguments.training.epochs) * job.split.train.count as u64;
    let progress = Progress::new(samples, "samples", job.arguments.quiet)?;
    let mut watch = Watch::new(progress, interrupt.clone(), job.arguments.quiet);
    introduce(&job, &opened, left, &mut watch)?;
    run::trials(&setting, &search, &mut outcomes, &mut journal, &mut watch)?;

    let ranking = ranking::ranking(&job.trials, &outcomes, job.data.task);
    let Some(best) = ranking.first() else {
        watch.progress.finish();
        writeln!(stdout(), "No trial was finished.")?;
        return Ok(());
    };
    let whole = Setting {
        data: &job.data,
        ..setting
    };
    let is_complete = ranking.len() == job.trials.len() && best.outcome.loss.is_finite();
    let test = match is_complete {
        true => watch.train(&whole, &best.trial.candidate, search.seed)?,
        false => None,
    };
    watch.progress.finish();
    conclude(&View {
        job: &job,
        device: &opened.name,
        ranking: &ranking,
        test: test.map(|(score, _)| score),
        command: &job.train_command(best.trial)?,
    })
}

/// Says what is going to be tried.
fn introduce(job: &Job, opened: &Opened, left: u64, watch: &mut Watch) -> Result<()> {
    watch.line(&format!("device     {}", opened.name))?;
    for remark in &opened.remarks {
        watch.line(&format!("           {remark}"))?;
    }
    watch.line(&format!(
        "data       {}: {} to train on, {} to validate, {} to test at the end",
        job.data.name, job.split.train.count, job.split.test.count, job.data.test.count
    ))?;
    let architecture = &job.architecture;
    watch.line(&format!(
        "network    {architecture}, {} parameters",
        architecture.parameter_count()
    ))?;
    watch.line(&format!("trials     {}", job.description(left)))?;
    for remark in &job.remarks {
        watch.line(&format!("           {remark}"))?;
    }
    watch.line(&format!("{:>6}  {:>8}  {:>9}", "trial", "accuracy", "loss"))
}

/// The ranking, the best one's result, and the page.
fn conclude(view: &View) -> Result<()> {
    writeln!(stdout())?;
    for line in view.table(SHOWN)?.lines() {
        writeln!(stdout(), "{line}")?;
    }
    if let Some(test) = view.test_text() {
        writeln!(
            stdout(),
            "\nThe best, trained again on all training data: {test}. That is"
        )?;
    } else {
        writeln!(
            stdout(),
            "\n{} of {} trials are finished. The best so far trains on all training data with",
            view.ranking.len(),
            view.job.trials.len()
        )?;
    }
    writeln!(stdout(), "  {}", view.command)?;
    if let Some(out) = &view.job.arguments.out {
        for file in out.write(&view.page()?)? {
            writeln!(stdout(), "wrote {}", file.display())?;
        }
    }
    Ok(())
}
