//! Finds an optimizer and its hyperparameters by training with many.
//!
//! `cargo run --release --example search` tries five optimizers at eight learning rates each on the UCI
//! handwritten digits; `-- --help` lists what else there is.

mod arguments;
mod draw;
mod grid;
mod journal;
mod page;
mod ranking;
mod run;
#[cfg(test)]
mod tests;
mod trial;

use std::io::{ErrorKind, Write, stdout};
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use report::{Interrupt, Output, Progress, facts};
use trainer::data::Dataset;
use trainer::flags::shared;
use trainer::setting::Setting;

use arguments::Arguments;
use journal::{Journal, Search};
use page::View;
use run::Watch;
use trial::Trial;

/// Rows of the ranking on the terminal; the page has all.
const SHOWN: usize = 15;

fn main() -> ExitCode {
    let matches = Arguments::command().get_matches();
    let run = Interrupt::watch().and_then(|interrupt| {
        run(&matches, &interrupt)?;
        Ok(interrupt.is_requested())
    });
    match run {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => ExitCode::from(Interrupt::STATUS),
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

fn run(matches: &ArgMatches, interrupt: &Interrupt) -> Result<()> {
    let arguments = Arguments::from_arg_matches(matches)?;
    arguments.check()?;
    arguments.out.as_ref().map_or(Ok(()), Output::check)?;
    let (trials, remarks) = trials(&arguments)?;
    let data = arguments.network.data()?;
    let split = data.validation_split()?;
    let architecture = arguments.network.architecture(&data)?;
    let opened = arguments.device.open()?;
    let setting = Setting {
        device: &opened.device,
        data: &split,
        architecture: &architecture,
        training: &arguments.training,
    };
    for trial in &trials {
        setting.plan(&trial.candidate, arguments.seed)?;
    }
    let search = Search {
        trials: &trials,
        seed: arguments.seed,
        setting: &identity(matches, &data),
    };
    let (mut journal, mut outcomes) = Journal::open(arguments.json.as_deref(), &search)?;
    let left = outcomes.iter().filter(|outcome| outcome.is_none()).count() as u64;
    let samples = left * u64::from(arguments.training.epochs) * split.train.count as u64;
    let progress = Progress::new(samples, "samples", arguments.quiet)?;
    let mut watch = Watch::new(progress, interrupt.clone(), arguments.quiet);

    watch.line(&format!("device     {}", opened.name))?;
    for remark in &opened.remarks {
        watch.line(&format!("           {remark}"))?;
    }
    watch.line(&format!(
        "data       {}: {} to train on, {} to validate, {} to test at the end",
        data.name, split.train.count, split.test.count, data.test.count
    ))?;
    watch.line(&format!(
        "network    {architecture}, {} parameters",
        architecture.parameter_count()
    ))?;
    watch.line(&format!(
        "trials     {}",
        what(&arguments, trials.len(), left)
    ))?;
    for remark in remarks {
        watch.line(&format!("           {remark}"))?;
    }
    watch.line(&format!("{:>6}  {:>8}  {:>9}", "trial", "accuracy", "loss"))?;
    run::trials(&setting, &search, &mut outcomes, &mut journal, &mut watch)?;

    let ranking = ranking::ranking(&trials, &outcomes, data.task);
    let Some(best) = ranking.first() else {
        watch.progress.finish();
        writeln!(stdout(), "No trial was finished.")?;
        return Ok(());
    };
    let whole = Setting {
        data: &data,
        ..setting
    };
    let is_complete = ranking.len() == trials.len() && best.outcome.loss.is_finite();
    let test = match is_complete {
        true => watch.train(&whole, &best.trial.candidate, arguments.seed)?,
        false => None,
    };
    watch.progress.finish();
    let command = train_command(matches, &arguments, best.trial)?;
    let view = View {
        arguments: &arguments,
        device: &opened.name,
        data: &data,
        architecture: &architecture,
        ranking: &ranking,
        trials: trials.len(),
        validation: split.test.count,
        test: test.map(|(score, _)| score),
        command: &command,
    };
    conclude(&view)
}

/// Those of the grid, then those that are drawn, each once; and sentences about what was left out.
fn trials(arguments: &Arguments) -> Result<(Vec<Trial>, Vec<String>)> {
    let (grid, remarks) = grid::trials(arguments)?;
    let mut trials: Vec<Trial> = Vec::new();
    for trial in grid.into_iter().chain(draw::trials(arguments)?) {
        let is_it = |other: &Trial| other.name() == trial.name() && other.hyper == trial.hyper;
        if !trials.iter().any(is_it) {
            trials.push(trial);
        }
    }
    ensure!(
        !trials.is_empty(),
        "There is nothing to try: {}",
        remarks.join(" ")
    );
    Ok((trials, remarks))
}

/// How many trials there are, and where they come from.
fn what(arguments: &Arguments, count: usize, left: u64) -> String {
    let mut text = count.to_string();
    if arguments.random > 0 {
        text += &format!(
            ", {} of them drawn: lr, and where an optimizer has them {}",
            arguments.random,
            arguments.draw.join(", ")
        );
    }
    let done = count as u64 - left;
    if done > 0 {
        text += &format!("; {done} are in the file already");
    }
    text
}

/// What trials must have in common to be of one search.
fn identity(matches: &ArgMatches, data: &Dataset) -> String {
    let flags = shared(matches, true).join(" ");
    format!("{flags} (data {:016x})", data.train.fingerprint())
}

/// The command that trains with all training data, and scores the test data.
fn train_command(matches: &ArgMatches, arguments: &Arguments, best: &Trial) -> Result<String> {
    Ok(facts::command_of(
        "train",
        &train_flags(matches, arguments, best)?,
    ))
}

fn train_flags(matches: &ArgMatches, arguments: &Arguments, best: &Trial) -> Result<Vec<String>> {
    let mut flags = best.candidate.train_flags()?;
    flags.extend(shared(matches, false));
    let seed = arguments.seed.to_string();
    flags.extend(["--seed".to_owned(), seed]);
    if let Some(device) = matches
        .get_raw("device")
        .and_then(|mut values| values.next())
    {
        flags.extend(["--device".to_owned(), device.to_string_lossy().into_owned()]);
    }
    Ok(flags)
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
            view.trials
        )?;
    }
    writeln!(stdout(), "  {}", view.command)?;
    if let Some(out) = &view.arguments.out {
        for file in out.write(&view.page()?)? {
            writeln!(stdout(), "wrote {}", file.display())?;
        }
    }
    Ok(())
}
