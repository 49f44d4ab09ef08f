//! Searches from end to end, by their command lines.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{CommandFactory, Parser};
use flags::device::Device;
use report::{Interrupt, Progress};
use serde_json::Value;
use trainer::network::{self, Score};
use trainer::setting::Setting;
use trainer::training::{Epoch, Observer, train};

use crate::arguments::Arguments;
use crate::job::Job;
use crate::journal::{Journal, Outcome};
use crate::page::View;
use crate::ranking::ranking;
use crate::run::{self, Watch};

/// The command line of `train`, which a search ends with.
#[path = "../train/arguments.rs"]
mod train_arguments;

const SMALL: [&str; 6] = ["--hidden", "8", "--device", "cpu", "--batch-size", "64"];

fn job(line: &[&str]) -> Result<Job> {
    let line = [&["search"], &SMALL[..], line].concat();
    let line = match line.contains(&"--epochs") {
        true => line,
        false => [&line[..], &["--epochs", "1"]].concat(),
    };
    Job::new(&Arguments::command().get_matches_from(line))
}

fn error(line: &[&str]) -> String {
    format!("{:#}", job(line).err().expect("an error"))
}

/// Of each trial, its optimizer and hyperparameters.
fn texts(line: &[&str]) -> Vec<String> {
    let trials = job(line).unwrap().trials;
    let text = |trial: &crate::trial::Trial| {
        format!("{} {} {}", trial.name(), trial.lr().unwrap(), trial.rest())
            .trim_end()
            .to_owned()
    };
    trials.iter().map(text).collect()
}

fn file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("search-{}-{name}.jsonl", std::process::id()))
}

fn watch(interrupt: &Interrupt) -> Watch {
    let progress = Progress::new(1, "samples", true).unwrap();
    Watch::new(progress, interrupt.clone(), true)
}

/// Does what is left of a job, or `most` trials of it, with its results in the file at `path`.
fn run_some(job: &Job, path: &Path, most: usize) -> Result<Vec<Option<Outcome>>> {
    let search = job.search();
    let (mut journal, mut outcomes) = Journal::open(Some(path), &search)?;
    let interrupt = Interrupt::default();
    let mut watch = watch(&interrupt);
    let setting = job.setting(&Device::Cpu);
    for _ in 0..most.min(job.trials.len()) {
        let next = outcomes.iter().position(Option::is_none);
        let Some(next) = next else { break };
        run::trials(
            &setting,
            &search,
            &mut outcomes[..=next],
            &mut journal,
            &mut watch,
        )?;
    }
    interrupt.request();
    run::trials(&setting, &search, &mut outcomes, &mut journal, &mut watch)?;
    Ok(outcomes)
}

/// The file's lines without their times.
fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    let line = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        line.as_object_mut().unwrap().remove("seconds").unwrap();
        line
    };
    text.lines().map(line).collect()
}

const FIVE: [&str; 6] = [
    "--optimizers",
    "adam,sgd",
    "--lr",
    "1e-2,1e-1",
    "--random",
    "1",
];

#[test]
fn an_interrupted_search_goes_on_to_the_same_trials_as_one_that_was_not() {
    let (whole, part) = (file("whole"), file("part"));
    let job = job(&FIVE).unwrap();
    assert_eq!(job.trials.len(), 5);
    let outcomes = run_some(&job, &whole, usize::MAX).unwrap();
    assert!(outcomes.iter().all(Option::is_some));

    assert_eq!(
        run_some(&job, &part, 2).unwrap().iter().flatten().count(),
        2
    );
    assert_eq!(lines(&part), lines(&whole)[..2]);
    // The process was killed while it wrote the third.
    let mut text = fs::read_to_string(&part).unwrap();
    let third = fs::read_to_string(&whole)
        .unwrap()
        .lines()
        .nth(2)
        .unwrap()
        .to_owned();
    text += &third[..third.len() / 2];
    fs::write(&part, text).unwrap();
    run_some(&job, &part, usize::MAX).unwrap();
    assert_eq!(lines(&part), lines(&whole));

    let keys: Vec<_> = lines(&part)[0]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    let expected = [
        "hyper",
        "optimizer",
        "seed",
        "setting",
        "validation_accuracy",
        "validation_loss",
    ];
    assert_eq!(keys, expected);
    // What is finished is not done again, and more may be asked for.
    let more = [&FIVE[..5], &["3"]].concat();
    let more = self::job(&more).unwrap();
    let (_, known) = Journal::open(Some(&part), &more.search()).unwrap();
    assert_eq!((known.len(), known.iter().flatten().count()), (7, 5));
    fs::remove_file(whole).unwrap();
    fs::remove_file(part).unwrap();
}

#[test]
fn a_file_of_another_search_is_refused_and_stays_as_it_is() {
    let path = file("foreign");
    let ours = job(&FIVE).unwrap();
    run_some(&ours, &path, 1).unwrap();
    let of_ours = fs::read_to_string(&path).unwrap();
    let refused = |contents: &str, line: &[&str], expected: &str| {
        fs::write(&path, contents).unwrap();
        let job = job(line).unwrap();
        let error = Journal::open(Some(&path), &job.search()).err();
        let error = format!(
            "{:#}",
            error.unwrap_or_else(|| panic!("{contents} was taken"))
        );
        assert!(error.contains(expected), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), contents);
    };
    let with = |more: &[&'static str]| [&FIVE[..], more].concat();
    refused(&of_ours, &with(&["--epochs", "2"]), "another search");
    refused(
        &of_ours,
        &with(&["--seed", "2"]),
        "another search, with --seed 1",
    );
    refused(
        &of_ours,
        &with(&["--data", "synthetic-classification"]),
        "another search",
    );
    refused(&of_ours, &["--optimizers", "sgd"], "a trial of adam");
    refused("{\"a\": 1}\n", &FIVE, "line 1 is no trial of a search");
    refused("some notes", &FIVE, "the last line has no end");
    refused(
        &format!("{of_ours}notes"),
        &FIVE,
        "the last line has no end",
    );
    fs::remove_file(path).unwrap();
}

#[test]
fn a_grid_has_each_combination_that_an_optimizer_takes() {
    let line = [
        "--optimizers",
        "adam,sgd:momentum=0.9,rmsprop:lr=0.5",
        "--lr",
        "1e-3,1e-2",
        "--grid",
        "beta1=0.8,0.9",
        "--grid",
        "nesterov=true,false",
        "--grid",
        "momentum=0,0.5",
    ];
    let remarks = job(&line).unwrap().remarks.join("\n");
    for expected in [
        "sgd:momentum=0.9 has no beta1",
        "rmsprop:lr=0.5 stays at its learning rate",
        "rmsprop:lr=0.5 has no nesterov",
        "sgd:momentum=0.9 stays at its momentum",
        "adam has no momentum",
    ] {
        assert!(remarks.contains(expected), "{remarks}");
    }
    let texts = texts(&line);
    let count = |name: &str| texts.iter().filter(|text| text.starts_with(name)).count();
    assert_eq!(
        [count("adam"), count("sgd"), count("rmsprop")],
        [8, 4, 2],
        "{texts:?}"
    );
    assert!(
        texts.contains(&"adam 0.001 beta1=0.8 nesterov=true".to_owned()),
        "{texts:?}"
    );
    // Without momentum there is no Nesterov's.
    let line = [
        "--optimizers",
        "sgd",
        "--grid",
        "momentum=0,0.9",
        "--grid",
        "nesterov=true,false",
    ];
    let job = job(&line).unwrap();
    assert_eq!(job.trials.len(), 3);
    assert!(
        job.remarks[0].contains("momentum=0:nesterov=true is left out"),
        "{:?}",
        job.remarks
    );
}

#[test]
fn what_is_drawn_depends_on_the_seed_and_on_the_trial_alone() {
    let line = |count, seed| {
        [
            "--optimizers",
            "adam,sgd",
            "--random",
            count,
            "--seed",
            seed,
        ]
    };
    let (few, many) = (texts(&line("4", "1")), texts(&line("9", "1")));
    assert_eq!(few, many[..4]);
    assert_ne!(few, texts(&line("4", "2")));
}

#[test]
fn what_is_drawn_is_what_was_asked_for_within_its_range() {
    let line = [
        "--optimizers",
        "adam:beta1=0.5",
        "--random",
        "20",
        "--lr",
        "1e-3,1e-2",
        "--grid",
        "beta2=0.9,0.99",
    ];
    // The grid has four.
    for trial in &job(&line).unwrap().trials[4..] {
        let names: Vec<_> = trial.hyper.keys().collect();
        assert_eq!(names, ["beta1", "beta2", "lr", "weight_decay"]);
        let number = |name: &str| trial.hyper[name].as_f64().unwrap();
        assert!((1e-3..=1e-2).contains(&number("lr")));
        assert!([0.9, 0.99].contains(&number("beta2")) && number("beta1") == 0.5);
        assert!((0.0..=0.1).contains(&number("weight_decay")));
    }
    let all = [
        "--optimizers",
        "adam,sgd,lamb,adafactor",
        "--random",
        "40",
        "--draw",
        "all",
    ];
    for trial in job(&all).unwrap().trials {
        assert!(
            !trial.hyper.contains_key("maximize") && trial.hyper.len() > 4,
            "{trial:?}"
        );
    }
}

#[test]
fn wrong_flags_are_answered_before_any_work() {
    for (line, expected) in [
        (
            &["--grid", "beta3=1"][..],
            "--grid beta3: none of the optimizers",
        ),
        (
            &["--draw", "beta3", "--random", "1"],
            "--draw beta3: none of the optimizers",
        ),
        (
            &["--optimizers", "adam", "--grid", "beta1=2"],
            "beta1 = 2 is not allowed",
        ),
        (
            &["--optimizers", "adam,newton_dense"],
            "newton_dense takes the whole Hessian",
        ),
        (&["--optimizers", "adam:beta1=2"], "adam:beta1=2"),
        (&["--out", "/nowhere/page.html"], "--out /nowhere/page.html"),
        (&["--floor", "0.01"], "--floor"),
    ] {
        let error = error(line);
        assert!(error.contains(expected), "{line:?}: {error}");
    }
    let job = job(&FIVE).unwrap();
    let nowhere = Journal::open(Some(Path::new("/nowhere/trials.jsonl")), &job.search());
    let error = format!("{:#}", nowhere.err().unwrap());
    assert!(error.contains("--json /nowhere/trials.jsonl"), "{error}");
}

/// Trains as the example `train` would by the command line that a search ends with.
fn trained_as_told(flags: &[String]) -> Score {
    struct Silent;
    impl Observer for Silent {
        fn advanced(&mut self, _: usize) {}
        fn finished(&mut self, _: &Epoch) -> Result<()> {
            Ok(())
        }
    }
    let line = [&["train".to_owned()], flags].concat();
    let arguments = train_arguments::Arguments::parse_from(line);
    let rules = arguments.rules().unwrap();
    let data = arguments.network.data().unwrap();
    let plan = arguments.plan(&rules, data.train.count).unwrap();
    let options = arguments.around.options(&rules).unwrap();
    let architecture = arguments.network.architecture(&data).unwrap();
    let registered = architecture.register(rules, options).unwrap();
    let device = arguments.device.open().unwrap().device;
    let mut network =
        network::open(&device, registered, &data, plan.batch_size, plan.seed).unwrap();
    train(network.as_mut(), &plan, &mut Silent).unwrap().test
}

#[test]
fn the_command_at_the_end_gives_the_test_score_that_stands_above_it() {
    for line in [
        &[
            "--optimizers",
            "sgd,adam:amsgrad=max_raw",
            "--random",
            "2",
            "--seed",
            "3",
            "--epochs",
            "2",
        ][..],
        &[
            "--optimizers",
            "muon",
            "--lr",
            "0.01",
            "--warmup",
            "5",
            "--activation",
            "tanh",
        ],
        &[
            "--optimizers",
            "rprop",
            "--lr",
            "0.01",
            "--data",
            "synthetic-regression",
        ],
        &["--optimizers", "adamw", "--lr", "0.01", "--state", "int8"],
    ] {
        let job = job(line).unwrap();
        let path = file("command");
        let outcomes = run_some(&job, &path, usize::MAX).unwrap();
        fs::remove_file(path).unwrap();
        let ranking = ranking(&job.trials, &outcomes, job.data.task);
        let best = ranking[0].trial;
        let whole = Setting {
            data: &job.data,
            ..job.setting(&Device::Cpu)
        };
        let mut watch = watch(&Interrupt::default());
        let tested = watch
            .train(&whole, &best.candidate, job.arguments.seed)
            .unwrap();
        let (score, _) = tested.unwrap();
        assert_eq!(
            trained_as_told(&job.train_flags(best).unwrap()),
            score,
            "{line:?}"
        );

        let command = job.train_command(best).unwrap();
        let view = View {
            job: &job,
            device: "a device",
            ranking: &ranking,
            test: Some(score),
            command: &command,
        };
        let html = view.page().unwrap().html().unwrap();
        // Words of a command do not break.
        let html = html.replace("<span>", "").replace("</span>", "");
        assert!(html.contains(&view.test_text().unwrap()) && html.contains(&command));
    }
}
