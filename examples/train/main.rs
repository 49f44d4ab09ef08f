//! Trains a multi-layer perceptron, or a convolutional network, with fused GPU optimizer steps:
//! forward pass, loss and backward pass in WGSL, and gradients that go straight into the optimizer's
//! buffers.
//!
//! `cargo run --release --example train` learns the UCI handwritten digits; `-- --help` lists what
//! else there is.

mod arguments;
mod export;
mod report;
mod run;
mod saves;
#[cfg(test)]
mod tests;
mod writer;

use std::process::ExitCode;
use std::time::Instant;

use ::report::{Interrupt, exit_code};
use anyhow::Result;
use clap::Parser;
use trainer::network::{self, Network};
use trainer::progress::Progress;
use trainer::training::{self, End, Epoch, Observer};
use wgpu_optim::Format;

use arguments::Arguments;
use report::Report;
use run::Run;
use saves::Saves;

fn main() -> ExitCode {
    let start = Instant::now();
    exit_code(program(&Arguments::parse(), start))
}

fn program(arguments: &Arguments, start: Instant) -> Result<ExitCode> {
    // Without a file to save to, Ctrl-C ends the program at once.
    let interrupt = match arguments.checkpoints.save {
        Some(_) => Interrupt::watch()?,
        None => Interrupt::default(),
    };
    train(arguments, &interrupt, start)?;
    Ok(interrupt.exit_code())
}

fn train(arguments: &Arguments, interrupt: &Interrupt, start: Instant) -> Result<()> {
    let checkpoints = &arguments.checkpoints;
    checkpoints.check()?;
    let rules = arguments.rules()?;
    let options = arguments.around.options(&rules)?;
    let data = arguments.network.data()?;
    let architecture = arguments.network.architecture(&data)?;
    let samples = data.train.count;
    let plan = arguments.plan(&rules, samples)?;
    let (network_words, rules_words) = (architecture.to_string(), rules.description());
    let parameters = architecture.parameter_count();
    let registered = architecture.clone().register(rules, options.clone())?;
    let run = Run::new(&data, &registered, &plan)?;
    let checkpoint = checkpoints.open()?;
    let progress = checkpoints.progress(&run, checkpoint.as_ref())?;
    let mut report = Report::new(
        data.task,
        u64::from(plan.epochs) * samples as u64,
        arguments.json.as_deref(),
        progress != Progress::default(),
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
    report.line(&format!(
        "network    {network_words}, {parameters} parameters"
    ))?;
    report.line(&format!(
        "optimizer  {rules_words}, {} samples per step",
        plan.batch_size * plan.accumulate as usize
    ))?;
    let formats = arguments.training.formats(arguments.seed);
    for (what, format) in [
        ("params", formats.params),
        ("grads", formats.grads),
        ("state", formats.state),
        ("sensitive", formats.sensitive),
    ] {
        if format != Format::F32 {
            report.line(&format!("{what:11}{format}"))?;
        }
    }
    if let Some(description) = arguments.around.description() {
        report.line(&format!("gradients  {description}"))?;
    }

    let mut network = network::open(
        &opened.device,
        registered,
        &data,
        plan.batch_size,
        plan.seed,
    )?;
    if let Some(checkpoint) = checkpoint {
        checkpoints.load(&checkpoint, network.as_mut())?;
        report.resumed(checkpoints, &progress, &plan)?;
    }
    report.heading()?;
    let mut session = Session {
        report,
        saves: Saves::new(checkpoints, &run, progress, plan.epochs),
        interrupt,
    };
    if progress.epochs == plan.epochs {
        session.reached(&progress, network.as_mut())?;
    }
    let outcome = training::resume(network.as_mut(), &plan, progress, &mut session)?.converged()?;
    let saved = session.saves.as_mut().map_or(Ok(()), Saves::finish);
    if outcome.end == End::Stopped {
        saved?;
        return session.stopped(&outcome.progress);
    }
    let mut report = session.report;
    report.summary(
        &opened.name,
        parameters,
        &formats,
        &options,
        start,
        &outcome,
    )?;
    if let Some(path) = &checkpoints.export_weights {
        export::write(path, &architecture, &network.weights()?)?;
    }
    saved
}

/// What goes on beside a training: it is shown, saved and interrupted.
struct Session<'a> {
    report: Report,
    saves: Option<Saves<'a>>,
    interrupt: &'a Interrupt,
}

impl Session<'_> {
    fn stopped(&mut self, progress: &Progress) -> Result<()> {
        let Some(saves) = &self.saves else {
            return Ok(());
        };
        if !saves.has_moved(progress) {
            return self
                .report
                .line("interrupted at its start: nothing was saved");
        }
        let path = saves.path().display();
        self.report.line(&format!(
            "interrupted after {} epochs and {} batches, and saved: go on with --resume {path}",
            progress.epochs, progress.batches
        ))
    }
}

impl Observer for Session<'_> {
    fn advanced(&mut self, samples: usize) {
        self.report.advanced(samples);
    }

    fn finished(&mut self, epoch: &Epoch) -> Result<()> {
        self.report.finished(epoch)
    }

    fn reached(&mut self, progress: &Progress, network: &mut dyn Network) -> Result<()> {
        let Some(saves) = &mut self.saves else {
            return Ok(());
        };
        saves.reached(progress, network, self.interrupt.is_requested())?;
        for failure in saves.failures() {
            self.report.line(&failure)?;
        }
        Ok(())
    }

    fn stops(&self) -> bool {
        self.interrupt.is_requested()
    }
}
