//! Comparisons from end to end, by their command lines.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use flags::device::{Choice, Device};
use report::{Interrupt, JsonLines, Progress, numbers_apart};
use serde_json::Value;
use trainer::data::{Dataset, Task};
use trainer::setting::Setting;
use trainer::training::{self, End, Epoch, Observer};

use crate::arguments::Arguments;
use crate::contest::{self, Audience, Entrant, Run};
use crate::live::Live;
use crate::page::{self, View};
use crate::table;

/// Unless a test says otherwise.
const SMALL: [[&str; 2]; 3] = [["--hidden", "8"], ["--epochs", "2"], ["--batch-size", "64"]];

/// A comparison that was held.
struct Held {
    arguments: Arguments,
    data: Dataset,
    entrants: Vec<Entrant>,
    runs: Vec<Run>,
    json: Vec<Value>,
}

/// `WGPU_ADAPTER_NAME` and `WGPU_BACKEND` choose the driver.
fn gpu() -> Device {
    let name = std::env::var("WGPU_ADAPTER_NAME");
    let choice = name.map_or(Choice::Gpu, Choice::Named);
    choice.open().expect("these tests need a GPU driver").device
}

fn file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("compare-{}-{name}.jsonl", std::process::id()))
}

fn hold(name: &str, device: &Device, line: &[&str]) -> Held {
    hold_until(name, device, line, usize::MAX)
}

/// Interrupted in the second epoch of the training after `most`.
fn hold_until(name: &str, device: &Device, line: &[&str], most: usize) -> Held {
    let flags = SMALL.into_iter().filter(|flag| !line.contains(&flag[0]));
    let flags: Vec<&str> = flags.flatten().collect();
    let arguments = Arguments::parse_from([&["compare"], &flags[..], line].concat());
    let data = arguments.network.data().unwrap();
    let architecture = arguments.network.architecture(&data).unwrap();
    let setting = Setting {
        device,
        data: &data,
        architecture: &architecture,
        training: &arguments.training,
    };
    let entrants = contest::entrants(arguments.candidates().unwrap(), &setting).unwrap();
    let path = file(name);
    let live = Live {
        task: data.task,
        progress: Progress::new(1, "samples", true).unwrap(),
        json: Some(JsonLines::create(&path).unwrap()),
        is_quiet: true,
    };
    let interrupt = Interrupt::default();
    let mut impatient = Impatient {
        live,
        left: most,
        interrupt: interrupt.clone(),
    };
    let runs = contest::hold(
        &setting,
        &entrants,
        arguments.seeds(),
        &interrupt,
        &mut impatient,
    );
    let json = fs::read_to_string(&path).unwrap();
    fs::remove_file(path).unwrap();
    Held {
        runs: runs.unwrap(),
        json: json
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
        arguments,
        data,
        entrants,
    }
}

/// Presses Ctrl-C after some trainings.
struct Impatient {
    live: Live,
    left: usize,
    interrupt: Interrupt,
}

impl Audience for Impatient {
    fn advanced(&mut self, samples: u64) {
        self.live.advanced(samples);
    }

    fn epoch(&mut self, entrant: &Entrant, seed: u64, epoch: &Epoch) -> Result<()> {
        if self.left == 0 && epoch.number == 1 {
            self.interrupt.request();
        }
        self.live.epoch(entrant, seed, epoch)
    }

    fn run(&mut self, entrant: &Entrant, run: &Run) -> Result<()> {
        self.left -= usize::from(run.end != End::Stopped);
        self.live.run(entrant, run)
    }
}

impl Held {
    fn page(&self) -> (report::Table, report::Page) {
        let view = View {
            arguments: &self.arguments,
            device: "a device",
            data: &self.data,
            architecture: &self.arguments.network.architecture(&self.data).unwrap(),
            entrants: &self.entrants,
            runs: &self.runs,
            is_complete: true,
        };
        let standings = view.standings();
        let table = table::table(&self.entrants, &standings, self.data.task, view.goal());
        (table, page::page(&view, &standings).unwrap())
    }
}

/// A line without its time.
fn timeless(line: &Value) -> Value {
    let mut line = line.clone();
    line.as_object_mut().unwrap().remove("seconds").unwrap();
    line
}

#[test]
fn before_training_all_optimizers_are_the_same_and_seeds_are_not() {
    let line = [
        "--optimizers",
        "sgd,adam,adan,muon,schedulefree_sgd,rprop",
        "--seeds",
        "2",
    ];
    let held = hold("zero", &Device::Cpu, &line);
    let of_seed = |seed: u64| {
        let lines = held
            .json
            .iter()
            .filter(|line| line["epoch"] == 0 && line["seed"] == seed);
        let lines = lines.map(|line| {
            assert_eq!(line["seconds"], 0.0);
            let keys = ["train_loss", "test_loss", "test_accuracy"];
            keys.map(|key| line[key].as_f64().unwrap())
        });
        lines.collect::<Vec<_>>()
    };
    let (first, second) = (of_seed(1), of_seed(2));
    assert_eq!((first.len(), second.len()), (6, 6));
    for line in &first {
        // Rprop's batch is the whole training set, whose losses add up in another order.
        assert!(
            (line[0] - first[0][0]).abs() < 1e-6 && line[1..] == first[0][1..],
            "{first:?}"
        );
    }
    assert_ne!(first[0], second[0]);
}

#[test]
fn the_gpu_and_the_cpu_write_the_same_json_up_to_rounding() {
    let line = ["--optimizers", "sgd,adam,muon"];
    let cpu = hold("cpu", &Device::Cpu, &line).json;
    let gpu = hold("gpu", &gpu(), &line).json;
    assert_eq!((cpu.len(), gpu.len()), (9, 9));
    for (cpu, gpu) in cpu.iter().zip(&gpu) {
        let keys: Vec<_> = cpu.as_object().unwrap().keys().collect();
        let expected = [
            "epoch",
            "optimizer",
            "seconds",
            "seed",
            "test_accuracy",
            "test_loss",
            "train_loss",
        ];
        assert_eq!(keys, expected);
        for key in ["optimizer", "seed", "epoch"] {
            assert_eq!(cpu[key], gpu[key]);
        }
        for (key, most) in [
            ("train_loss", 1e-3),
            ("test_loss", 1e-3),
            ("test_accuracy", 0.01),
        ] {
            let [ours, theirs] = [cpu, gpu].map(|line| line[key].as_f64().unwrap());
            assert!((ours - theirs).abs() < most, "{key}: {cpu} {gpu}");
        }
    }
}

#[test]
fn scores_before_training_change_nothing_about_the_training() {
    struct Silent;
    impl Observer for Silent {
        fn advanced(&mut self, _: usize) {}
        fn finished(&mut self, _: &Epoch) -> Result<()> {
            Ok(())
        }
    }
    for (device, name) in [(Device::Cpu, "alone"), (gpu(), "alone-gpu")] {
        let held = hold(name, &device, &["--optimizers", "sophia", "--no-baselines"]);
        let architecture = held.arguments.network.architecture(&held.data).unwrap();
        let setting = Setting {
            device: &device,
            data: &held.data,
            architecture: &architecture,
            training: &held.arguments.training,
        };
        let candidate = &held.entrants[0].candidate;
        let plan = setting.plan(candidate, 1).unwrap();
        let mut network = setting.network(candidate, &plan).unwrap();
        let alone = training::train(network.as_mut(), &plan, &mut Silent).unwrap();
        let last = held.runs[0].epochs.last().unwrap();
        assert_eq!(alone.test, last.test);
    }
}

#[test]
fn a_training_that_diverges_is_noted_and_the_others_go_on() {
    let line = ["--optimizers", "sgd:lr=1e30,adam"];
    let held = hold("diverged", &Device::Cpu, &line);
    assert!(matches!(held.runs[0].end, End::Diverged { epoch: 1 }));
    assert_eq!(held.runs[1].end, End::Complete);
    let last = held
        .json
        .iter()
        .rfind(|line| line["optimizer"] == "sgd:lr=1e30")
        .unwrap();
    assert!(last["test_loss"].is_null() && last["epoch"] == 1, "{last}");
    let (table, page) = held.page();
    assert_eq!(table.rows[0][0], "Adam");
    assert!(
        table.rows[1]
            .last()
            .unwrap()
            .contains("diverged at epoch 1"),
        "{table:?}"
    );
    let html = page.html().unwrap();
    assert!(html.contains("SGD lr=1e30, diverged"));
}

#[test]
fn an_interrupted_comparison_keeps_what_was_finished() {
    let whole = hold("whole", &Device::Cpu, &["--optimizers", "sgd,adam,lion"]);
    let part = hold_until("part", &Device::Cpu, &["--optimizers", "sgd,adam,lion"], 1);
    // Two epochs and the one before training of SGD; Adam got through its first.
    assert_eq!(part.json.len(), 3 + 2);
    let timeless = |held: &Held| held.json.iter().map(timeless).collect::<Vec<_>>();
    assert_eq!(timeless(&part), timeless(&whole)[..5]);
    let (table, page) = part.page();
    assert_eq!(table.rows.len(), 1, "{table:?}");
    assert!(page.html().is_ok());
}

#[test]
fn numbers_have_no_accuracy_and_a_loss_to_reach() {
    let line = [
        "--data",
        "linear-regression",
        "--hidden",
        "",
        "--optimizers",
        "sgd:lr=0.05",
        "--no-baselines",
    ];
    let held = hold("numbers", &Device::Cpu, &line);
    assert_eq!(held.data.task, Task::Regression);
    assert!(held.json.iter().all(|line| line["test_accuracy"].is_null()));
    let (table, page) = held.page();
    assert!(
        table
            .columns
            .contains(&"to 1 % of the first loss".to_owned()),
        "{table:?}"
    );
    assert!(page.html().is_ok());
}

#[test]
fn everyone_is_in_one_picture_of_a_quantity_and_the_baselines_are_in_all() {
    let held = hold(
        "all",
        &Device::Cpu,
        &["--hidden", "", "--epochs", "1", "--optimizers", "all"],
    );
    let (table, page) = held.page();
    assert_eq!(table.rows.len(), 30);
    let accuracy = &page.sections[1];
    // 28 beside SGD and Adam, six at most in each.
    assert_eq!(accuracy.figures.len(), 5);
    let descriptions: Vec<_> = accuracy
        .figures
        .iter()
        .map(|f| f.picture.description())
        .collect();
    for entrant in &held.entrants {
        let name = format!(", {}, ", entrant.title);
        let times = descriptions
            .iter()
            .filter(|text| text.contains(&name))
            .count();
        let expected = match &*entrant.title {
            "SGD" | "Adam" => 5,
            _ => 1,
        };
        assert_eq!(times, expected, "{name}: {descriptions:?}");
    }
    assert!(page.html().unwrap().len() < 1 << 20);
}

#[test]
fn the_readmes_picture_is_what_the_command_under_it_draws() {
    let readme = include_str!("../../README.md");
    let prefix = "cargo run --release --example compare -- ";
    let mut commands = readme.lines().filter_map(|line| line.strip_prefix(prefix));
    let command = commands
        .find(|line| line.contains("--out digits.svg"))
        .unwrap();
    let line: Vec<&str> = command.split_whitespace().collect();
    // What other tests make smaller.
    let whole = ["--hidden", "256,128", "--batch-size", "32"];
    let held = hold("readme", &Device::Cpu, &[&line[..], &whole].concat());
    let (_, page) = held.page();
    let figures = page.sections.iter().flat_map(|section| &section.figures);
    let drawn = figures.map(|figure| figure.picture.svg()).nth(1).unwrap();
    let apart = numbers_apart(&drawn, include_str!("digits.svg"));
    // Units of a quarter of a pixel: another CPU's matrix products round otherwise.
    assert!(
        apart.is_some_and(|units| units <= 40.0),
        "{command}: {apart:?} from examples/compare/digits.svg"
    );
}
