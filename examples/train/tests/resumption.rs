//! Runs that are stopped, saved and resumed, within this process.

use std::path::PathBuf;

use ::report::Interrupt;
use clap::Parser;
use trainer::network::Network;
use trainer::progress::Progress;
use trainer::training::{End, Plan, resume};

use super::*;
use crate::arguments::Checkpoints;
use crate::run::Run;
use crate::saves::Saves;

/// A folder of a test's own, removed at its end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("train-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Saves a training, and stops it after so many batches.
struct Stopped<'a> {
    saves: Saves<'a>,
    batches: usize,
    /// Training losses.
    losses: Vec<f64>,
}

impl Observer for Stopped<'_> {
    fn advanced(&mut self, _: usize) {
        self.batches -= 1;
    }
    fn finished(&mut self, epoch: &Epoch) -> Result<()> {
        self.losses.push(epoch.train.loss);
        Ok(())
    }
    fn reached(&mut self, progress: &Progress, network: &mut dyn Network) -> Result<()> {
        self.saves.reached(progress, network, self.stops())
    }
    fn stops(&self) -> bool {
        self.batches == 0
    }
}

impl<'a> Stopped<'a> {
    fn after(batches: usize, saves: Saves<'a>) -> Self {
        Self {
            saves,
            batches,
            losses: Vec::new(),
        }
    }
}

/// Hands `then` all that the run of `line` has before its first batch.
fn opened<R>(
    device: &Device,
    line: &[&str],
    then: impl FnOnce(&Checkpoints, &Run<'_>, &Plan, Progress, &mut dyn Network) -> Result<R>,
) -> Result<R> {
    let arguments = Arguments::parse_from([&["train"], line].concat());
    let rules = arguments.rules()?;
    let data = arguments.network.data()?;
    let plan = arguments.plan(&rules, data.train.count)?;
    let options = arguments.around.options(&rules)?;
    let architecture = arguments.network.architecture(&data)?;
    let registered = architecture.register(rules, options)?;
    let run = Run::new(&data, &registered, &plan)?;
    let checkpoints = &arguments.checkpoints;
    let checkpoint = checkpoints.open()?;
    let start = checkpoints.progress(&run, checkpoint.as_ref())?;
    let mut network = network::open(device, registered, &data, plan.batch_size, plan.seed)?;
    if let Some(checkpoint) = checkpoint {
        checkpoints.load(&checkpoint, network.as_mut())?;
    }
    then(checkpoints, &run, &plan, start, network.as_mut())
}

/// At most `batches` of the run of `line`, and how its saving ended.
fn part(device: &Device, line: &[&str], batches: usize) -> Result<(Outcome, Result<()>)> {
    opened(device, line, |checkpoints, run, plan, start, network| {
        let saves = Saves::new(checkpoints, run, start, plan.epochs).unwrap();
        let mut stopped = Stopped::after(batches, saves);
        let outcome = resume(network, plan, start, &mut stopped)?;
        Ok((outcome, stopped.saves.finish()))
    })
}

/// The training losses of all epochs that end within `batches` of the run of `line`.
fn losses(device: &Device, line: &[&str], batches: usize) -> Vec<f64> {
    let losses = opened(device, line, |checkpoints, run, plan, start, network| {
        let saves = Saves::new(checkpoints, run, start, plan.epochs).unwrap();
        let mut stopped = Stopped::after(batches, saves);
        resume(network, plan, start, &mut stopped)?;
        Ok(stopped.losses)
    });
    losses.unwrap()
}

fn whole(device: &Device, line: &[&str]) -> Outcome {
    let (outcome, saved) = part(device, line, usize::MAX).unwrap();
    saved.unwrap();
    assert_eq!(outcome.end, End::Complete);
    outcome
}

/// `line` with further flags, each with its value, in place of those that it has.
fn with<'a>(line: &[&'a str], flags: &[&'a str]) -> Vec<&'a str> {
    let mut line = line.to_vec();
    for pair in flags.chunks(2) {
        match line.iter().position(|flag| *flag == pair[0]) {
            Some(place) => line[place + 1] = pair[1],
            None => line.extend(pair),
        }
    }
    line
}

/// 10 batches an epoch, and little to do in each.
const SMALL: [&str; 10] = [
    "--data",
    "linear-regression",
    "--hidden",
    "8",
    "--batch-size",
    "100",
    "--activation",
    "tanh",
    "--epochs",
    "4",
];

/// Runs `line` as a whole, and stopped after every `batches`: both end with the same file.
fn check(device: &Device, folder: &Folder, line: &[&str], batches: usize) {
    let [all, parts] = ["all", "parts"].map(|name| folder.file(name));
    whole(device, &with(line, &["--save", &all]));
    let line = with(line, &["--save", &parts]);
    let resumed = with(&line, &["--resume", &parts]);
    let mut count = 1;
    let (mut outcome, _) = part(device, &line, batches).unwrap();
    while outcome.end == End::Stopped {
        (outcome, _) = part(device, &resumed, batches).unwrap();
        count += 1;
        assert!(count < 20, "{line:?} comes to no end");
    }
    assert!(count > 2, "{line:?}: {count} parts");
    let [all, parts] = [&all, &parts].map(|path| std::fs::read(path).unwrap());
    assert!(
        all == parts,
        "{line:?}: resumed after every {batches} batches"
    );
}

/// What goes on from one step to the next in different ways.
const CASES: [&[&str]; 10] = [
    &[],
    &[
        "--accumulate",
        "3",
        "--clip-norm",
        "1",
        "--loss-scale",
        "dynamic",
    ],
    // A step has batches of two epochs.
    &["--accumulate", "13"],
    &["--ema", "0.9", "--poison", "4", "--warmup", "5"],
    &[
        "--optimizer",
        "schedulefree_adamw",
        "--schedule",
        "constant",
    ],
    &["--optimizer", "sophia", "--schedule", "step"],
    &["--optimizer", "prodigy"],
    &["--matrices", "muon", "--schedule", "exponential"],
    &["--state", "int8", "--clip-norm", "1", "--poison", "4"],
    &["--state", "bf16", "--matrices", "muon", "--ema", "0.9"],
];

#[test]
fn a_run_that_is_stopped_anywhere_and_resumed_ends_as_if_it_was_not() {
    let folder = Folder::new("stopped");
    for case in CASES {
        for batches in [3, 7, 10] {
            check(&Device::Cpu, &folder, &with(&SMALL, case), batches);
        }
    }
    let gpu = gpu();
    for case in CASES {
        check(&gpu, &folder, &with(&SMALL, case), 13);
    }
}

#[test]
fn an_epoch_within_which_a_run_stopped_has_the_loss_of_all_its_batches() {
    let folder = Folder::new("losses");
    for device in [Device::Cpu, gpu()] {
        let [all, parts] = ["all", "parts"].map(|name| folder.file(name));
        let expected = losses(&device, &with(&SMALL, &["--save", &all]), usize::MAX);
        let line = with(&SMALL, &["--save", &parts]);
        let mut found = losses(&device, &line, 13);
        let line = with(&line, &["--resume", &parts]);
        // Twice within the same epoch.
        found.extend(losses(&device, &line, 4));
        found.extend(losses(&device, &line, usize::MAX));
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert!(
                (found / expected - 1.0).abs() < 1e-6,
                "{found:?}: {expected:?}"
            );
        }
    }
}

#[test]
fn a_run_may_be_made_longer_if_its_rates_do_not_depend_on_its_length() {
    let folder = Folder::new("longer");
    let [all, parts] = ["all", "parts"].map(|name| folder.file(name));
    // 20 batches have 6 steps, and 2 batches of the next one.
    let line = with(&SMALL, &["--schedule", "constant", "--accumulate", "3"]);
    whole(&Device::Cpu, &with(&line, &["--save", &all]));
    let line = with(&line, &["--save", &parts]);
    whole(&Device::Cpu, &with(&line, &["--epochs", "2"]));
    let line = with(&line, &["--resume", &parts]);
    whole(&Device::Cpu, &line);
    assert!(std::fs::read(&all).unwrap() == std::fs::read(&parts).unwrap());

    let error = part(&Device::Cpu, &with(&line, &["--epochs", "3"]), 1);
    let error = format!("{:#}", error.unwrap_err());
    assert!(error.contains("in epoch 4 already"), "{error}");
}

#[test]
fn a_run_goes_on_from_one_device_to_the_other() {
    let folder = Folder::new("devices");
    let path = folder.file("file");
    let devices = [Device::Cpu, gpu()];
    // What falls between two neighbours may be rounded to either, if its last digits differ.
    for (from, to, state, tolerance) in [
        (0, 1, "f32", 1e-4),
        (1, 0, "f32", 1e-4),
        (0, 1, "int8", 1e-2),
        (1, 0, "int8", 1e-2),
    ] {
        let line = with(&SMALL, &["--save", &path, "--state", state]);
        let (stopped, saved) = part(&devices[from], &line, 13).unwrap();
        saved.unwrap();
        assert_eq!(stopped.end, End::Stopped);
        let there = whole(&devices[to], &with(&line, &["--resume", &path]));
        let here = whole(&devices[from], &line);
        assert!((there.test.loss / here.test.loss - 1.0).abs() < tolerance);
        let (there, here) = (there.progress, here.progress);
        assert_eq!((there.epochs, there.batches), (here.epochs, here.batches));
    }
}

#[test]
fn another_run_is_refused_with_what_differs() {
    let folder = Folder::new("refused");
    let path = folder.file("file");
    let line = with(&SMALL, &["--save", &path]);
    part(&Device::Cpu, &line, 13).unwrap().1.unwrap();
    let before = std::fs::read(&path).unwrap();
    let resumed = with(&line, &["--resume", &path]);
    for (flags, expected) in [
        (&["--seed", "2"][..], "another seed: 1, and this one has 2"),
        (&["--data", "synthetic-regression"], "another data: linear"),
        (&["--hidden", "4"], "another network: 20 → 8 → 1, tanh, mse"),
        (&["--activation", "relu"], "this one has 20 → 8 → 1, relu"),
        (&["--batch-size", "50"], "another batch size: 100"),
        (&["--optimizer", "adam"], "another optimizer: adamw"),
        (&["--lr", "0.5"], "another lr: 0.003, and this one has 0.5"),
        (&["--hyper", "beta1=0.5"], "hyperparameter beta1"),
        (&["--matrices", "muon"], "another matrices: none"),
        (&["--accumulate", "2"], "another accumulate: 1"),
        (&["--poison", "3"], "another poison: none"),
        (&["--clip-norm", "1"], "the option clip"),
        (&["--ema", "0.9"], "the option average"),
        (
            &["--state", "int8"],
            "format of the state of group 0: this optimizer has int8, the checkpoint has f32",
        ),
        (&["--epochs", "5"], "over 4 epochs, and --epochs is 5"),
        (&["--schedule", "constant"], "another schedule: Cosine"),
        (&["--warmup", "3"], "another schedule: Cosine"),
    ] {
        let error = part(&Device::Cpu, &with(&resumed, flags), 1);
        let error = format!("{:#}", error.unwrap_err());
        assert!(
            error.contains(expected) && error.contains(&format!("--resume {path}")),
            "{flags:?}: {error}"
        );
    }
    assert!(std::fs::read(&path).unwrap() == before);
}

#[test]
fn a_checkpoint_of_another_program_is_refused() {
    let folder = Folder::new("foreign");
    let path = folder.file("file");
    let mut layout = wgpu_optim::Layout::new();
    let group = layout.group(rules::by_name("adamw").unwrap()).unwrap();
    layout.tensor(group, "0.weight", &[2, 2]).unwrap();
    let twin = wgpu_optim::cpu::Optimizer::<f32>::new(&layout).unwrap();
    twin.save(&path, &wgpu_optim::Save::default()).unwrap();
    let error = |path: &str| {
        let error = part(&Device::Cpu, &with(&SMALL, &["--resume", path]), 1);
        format!("{:#}", error.unwrap_err())
    };
    let foreign = error(&path);
    assert!(foreign.contains("`train` did not save it"), "{foreign}");
    std::fs::write(&path, "no checkpoint").unwrap();
    for path in [path, folder.file("nowhere")] {
        let error = error(&path);
        assert!(error.contains("--resume"), "{error}");
    }
}

#[test]
fn a_fresh_optimizer_takes_the_weights_of_another_run_and_nothing_else() {
    let folder = Folder::new("fresh");
    let path = folder.file("file");
    let weights = |device: &Device, line: &[&str]| {
        opened(device, line, |_, _, _, start, network| {
            assert_eq!(start, Progress::default());
            assert_eq!(network.stats()?.performed, 0);
            network.weights()
        })
    };
    let line = with(&SMALL, &["--save", &path]);
    let trained = opened(
        &Device::Cpu,
        &line,
        |checkpoints, run, plan, start, network| {
            let saves = Saves::new(checkpoints, run, start, plan.epochs).unwrap();
            resume(network, plan, start, &mut Stopped::after(usize::MAX, saves))?;
            network.weights()
        },
    );
    let trained = trained.unwrap();
    let other = ["--seed", "2", "--optimizer", "sgd", "--resume", &path];
    let mut line = with(&with(&SMALL, &other), &["--state", "bf16"]);
    line.push("--fresh-optimizer");
    for device in [Device::Cpu, gpu()] {
        assert_eq!(weights(&device, &line).unwrap(), trained);
    }
    let error = weights(&Device::Cpu, &with(&line, &["--hidden", "4"]));
    let error = format!("{:#}", error.unwrap_err());
    assert!(error.contains("0.weight"), "{error}");
}

#[test]
fn a_checkpoint_that_cannot_be_written_costs_no_training_and_is_an_error_at_the_end() {
    let folder = Folder::new("unwritable");
    let path = folder.file("nowhere/file");
    for device in [Device::Cpu, gpu()] {
        let line = with(&SMALL, &["--save", &path, "--save-every", "1"]);
        let (outcome, saved) = part(&device, &line, usize::MAX).unwrap();
        assert_eq!(outcome.end, End::Complete);
        let error = saved.unwrap_err().to_string();
        assert!(
            error.contains("could not be written; the last one is missing")
                && error.contains(&path),
            "{error}"
        );
    }
}

/// The folder is there, and takes no file.
#[cfg(target_os = "linux")]
#[test]
fn a_run_whose_checkpoint_cannot_be_written_shows_its_results_and_fails() {
    let folder = Folder::new("fails");
    let json = folder.file("json");
    let line = with(&SMALL, &["--save", "/proc/self/file", "--json", &json]);
    let line = with(&line, &["--device", "cpu"]);
    let arguments = Arguments::parse_from([&["train"], &line[..]].concat());
    let failed = crate::train(&arguments, &Interrupt::default(), Instant::now());
    let error = failed.unwrap_err().to_string();
    assert!(error.contains("--save /proc/self/file"), "{error}");
    let json = std::fs::read_to_string(json).unwrap();
    assert!(json.contains("\"seconds\""), "{json}");
}

#[test]
fn files_that_are_no_place_for_a_checkpoint_are_refused_before_anything_is_done() {
    let folder = Folder::new("places");
    let [there, nowhere] = ["there", "nowhere/file"].map(|name| folder.file(name));
    std::fs::write(&there, "something else").unwrap();
    for (flags, expected) in [
        (&["--save", &there][..], "it is there already"),
        (&["--save", &nowhere], "there is no folder"),
        (&["--export-weights", &nowhere], "there is no folder"),
        (&["--save", "/"], "expected a file"),
    ] {
        let arguments = Arguments::parse_from([&["train"], flags].concat());
        let error = arguments.checkpoints.check().unwrap_err().to_string();
        assert!(error.contains(expected), "{flags:?}: {error}");
    }
    let line = ["train", "--save", &there, "--resume", &there];
    assert!(Arguments::parse_from(line).checkpoints.check().is_ok());
}

#[test]
fn lines_of_a_resumed_run_follow_those_of_the_run_that_began() {
    let folder = Folder::new("lines");
    let [path, json] = ["file", "json"].map(|name| folder.file(name));
    let flags = [
        "--device",
        "cpu",
        "--schedule",
        "constant",
        "--state",
        "int8",
    ];
    let line = with(&with(&SMALL, &flags), &["--save", &path, "--json", &json]);
    for flags in [
        &["--epochs", "2"][..],
        &["--epochs", "3", "--resume", &path],
    ] {
        let line = [&["train"], &with(&line, flags)[..]].concat();
        let arguments = Arguments::parse_from(line);
        crate::train(&arguments, &Interrupt::default(), Instant::now()).unwrap();
    }
    let json = std::fs::read_to_string(json).unwrap();
    let lines = json.lines().map(serde_json::from_str);
    let lines: Vec<serde_json::Value> = lines.collect::<Result<_, _>>().unwrap();
    let epochs = lines.iter().filter_map(|line| line["epoch"].as_u64());
    assert_eq!(epochs.collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(lines[4]["state"], "int8");
}
