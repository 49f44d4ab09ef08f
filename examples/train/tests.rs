//! Trainings from end to end, by their command lines.

mod processes;
mod resumption;

use std::time::Instant;

use anyhow::Result;
use flags::device::{Choice, Device};
use trainer::defaults;
use trainer::flags::check_suits;
use trainer::network::{self, Score};
use trainer::training::{Epoch, Observer, Outcome, train};
use wgpu_optim::rules;

use crate::arguments::Arguments;

struct Silent;

impl Observer for Silent {
    fn advanced(&mut self, _: usize) {}
    fn finished(&mut self, _: &Epoch) -> Result<()> {
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
enum On {
    Cpu,
    Gpu,
}

/// `WGPU_ADAPTER_NAME` and `WGPU_BACKEND` choose the driver.
fn gpu() -> Device {
    let name = std::env::var("WGPU_ADAPTER_NAME");
    let choice = name.map_or(Choice::Gpu, Choice::Named);
    choice.open().expect("these tests need a GPU driver").device
}

/// The last test score of a training on the CPU twin.
fn trained(line: &[&str]) -> Score {
    outcome(On::Cpu, line).test
}

fn outcome(on: On, line: &[&str]) -> Outcome {
    let arguments: Arguments = clap::Parser::parse_from([&["train"], line].concat());
    let rules = arguments.rules().unwrap();
    let data = arguments.network.data().unwrap();
    let plan = arguments.plan(&rules, data.train.count).unwrap();
    let options = arguments.around.options(&rules).unwrap();
    let architecture = arguments.network.architecture(&data).unwrap();
    let registered = architecture.register(rules, options).unwrap();
    let device = match on {
        On::Cpu => Device::Cpu,
        On::Gpu => gpu(),
    };
    let mut network =
        network::open(&device, registered, &data, plan.batch_size, plan.seed).unwrap();
    train(network.as_mut(), &plan, &mut Silent).unwrap()
}

#[test]
fn every_rule_learns_the_digits_with_the_defaults_for_it() {
    for name in rules::names() {
        let rule = rules::by_name(name).unwrap();
        let suits = |flag| check_suits(flag, &*rule).is_ok();
        let takes_one_step_an_epoch = defaults::of(name).is_some_and(|of| of.whole_batches);
        let line = match (suits("--optimizer"), suits("--matrices")) {
            // The network computes no Hessians of whole tensors.
            (false, false) => continue,
            // Matrix products take their time on the CPU.
            (false, true) => &["--matrices", name, "--hidden", "64", "--epochs", "10"][..],
            (true, _) if takes_one_step_an_epoch => &["--optimizer", name],
            // A third of the default, which is enough.
            (true, _) => &["--optimizer", name, "--epochs", "10"],
        };
        let score = trained(line);
        assert!(score.accuracy >= 0.93, "{name}: {score:?}");
    }
}

#[test]
fn matrices_and_the_rest_learn_with_rules_of_their_own() {
    let line = |matrices, rest| {
        let flags = ["--matrices", matrices, "--optimizer", rest];
        [&flags[..], &["--hidden", "64", "--epochs", "4"]].concat()
    };
    for (matrices, rest) in [
        ("muon", "adamw"),
        // Curvatures of one group alone, and parameters that it evaluates with.
        ("sophia", "schedulefree_sgd"),
        ("schedulefree_adamw", "newton"),
    ] {
        let line = line(matrices, rest);
        let [cpu, gpu] = [On::Cpu, On::Gpu].map(|on| outcome(on, &line).test);
        assert!(
            cpu.accuracy > 0.85 && (gpu.accuracy - cpu.accuracy).abs() < 0.02,
            "{line:?}: {gpu:?}, on the CPU {cpu:?}"
        );
    }
}

#[test]
fn all_formats_learn_as_f32_does_and_by_steps_of_their_own() {
    for on in [On::Cpu, On::Gpu] {
        for matrices in [&[][..], &["--matrices", "muon"]] {
            let learned = |[params, grads, state]: [&str; 3]| {
                let formats = ["--params", params, "--grads", grads, "--state", state];
                let line = ["--hidden", "64", "--epochs", "4"];
                outcome(on, &[&formats[..], &line, matrices].concat()).test
            };
            let exact = learned(["f32"; 3]);
            for formats in [
                ["f32", "f32", "bf16"],
                ["f32", "f32", "int8"],
                ["bf16", "bf16", "f32"],
                ["bf16+8", "f16", "int8"],
            ] {
                let found = learned(formats);
                assert_ne!(found, exact, "{on:?}, {formats:?}, {matrices:?}");
                assert!(
                    exact.accuracy > 0.9 && (found.accuracy - exact.accuracy).abs() < 0.02,
                    "{on:?}, {formats:?}, {matrices:?}: {found:?}, in f32 {exact:?}"
                );
            }
        }
    }
}

#[test]
fn a_schedule_takes_both_learning_rates_down_alike() {
    let lrs = |line: &[&str]| {
        let line = [line, &["--hidden", "", "--epochs", "1"]].concat();
        let groups = outcome(On::Cpu, &line).stats.groups;
        groups.iter().map(|group| group.lr).collect::<Vec<_>>()
    };
    let mixed = [
        "--matrices",
        "muon",
        "--matrices-hyper",
        "lr=0.5",
        "--lr",
        "0.25",
    ];
    let scheduled = |flags: &[&'static str]| lrs(&[&mixed, flags].concat());
    assert_eq!(scheduled(&["--schedule", "constant"]), [0.25, 0.5]);
    let [rest, matrices] = scheduled(&["--floor", "0.125"])[..] else {
        panic!("two groups");
    };
    assert!((0.125..0.13).contains(&rest), "{rest}");
    assert!((matrices - 2.0 * rest).abs() < 1e-9, "{matrices}");
}

/// Trains with and without a NaN in every tenth step.
fn check_poisoned(on: On, line: &[&str], steps: u64) {
    let clean = outcome(on, line);
    let poisoned = outcome(on, &[line, &["--poison", "10"]].concat());
    let stats = &poisoned.stats;
    assert_eq!((clean.stats.performed, clean.stats.skipped), (steps, 0));
    assert_eq!(stats.skipped, steps / 10, "{on:?}, {line:?}");
    assert_eq!(stats.performed, steps - steps / 10, "{on:?}, {line:?}");
    let (clean, poisoned) = (clean.test, poisoned.test);
    assert!(
        poisoned.loss != clean.loss && (poisoned.accuracy - clean.accuracy).abs() <= 0.01,
        "{on:?}, {line:?}: {poisoned:?} instead of {clean:?}"
    );
}

#[test]
fn a_nan_in_every_tenth_step_costs_no_more_than_one_percent() {
    let small = |flags: &[&'static str]| [&["--hidden", "64"], flags].concat();
    check_poisoned(On::Cpu, &small(&["--epochs", "20"]), 20 * 46);
    // 460 batches, of which no epoch has a whole number of steps.
    let flags = ["--epochs", "10", "--clip-norm", "1", "--accumulate", "4"];
    check_poisoned(On::Cpu, &small(&flags), 115);
    check_poisoned(On::Gpu, &small(&["--epochs", "4"]), 4 * 46);
}

#[test]
fn the_first_step_has_a_time() {
    let small = ["--hidden", "", "--epochs", "1"];
    for on in [On::Cpu, On::Gpu] {
        let before = Instant::now();
        let first = outcome(on, &small).first_step;
        assert!(first.is_some_and(|first| first > before), "{on:?}");
    }
}

#[test]
fn an_average_over_many_steps_scores_differently() {
    let raw = trained(&["--epochs", "3", "--schedule", "constant"]);
    let averaged = trained(&["--epochs", "3", "--schedule", "constant", "--ema", "0.99"]);
    assert!(averaged.accuracy > 0.8, "{averaged:?}");
    assert_ne!(averaged, raw);
}

#[test]
fn linear_regression_ends_at_the_noise_of_its_data() {
    let score = trained(&[
        "--data",
        "synthetic-regression",
        "--hidden",
        "",
        "--lr",
        "0.03",
        "--epochs",
        "20",
    ]);
    assert!((0.003..0.0037).contains(&score.loss), "{score:?}");
}

#[test]
fn the_spirals_need_a_hidden_layer() {
    let score = |hidden| {
        trained(&[
            "--data",
            "synthetic-classification",
            "--hidden",
            hidden,
            "--lr",
            "0.01",
        ])
    };
    assert!(score("").accuracy < 0.7);
    assert!(score("64,64").accuracy > 0.95);
}

#[test]
fn a_convolutional_network_learns_the_digits_alike_on_both_devices() {
    let network = ["--conv", "8x3,16x3", "--pool", "2", "--hidden", ""];
    for rules in [["--optimizer", "radam"], ["--matrices", "muon"]] {
        let line = [&network[..], &rules, &["--lr", "0.03", "--epochs", "4"]].concat();
        let [cpu, gpu] = [On::Cpu, On::Gpu].map(|on| outcome(on, &line).test);
        assert!(
            cpu.accuracy > 0.9 && (gpu.accuracy - cpu.accuracy).abs() < 0.02,
            "{rules:?}: {gpu:?}, on the CPU {cpu:?}"
        );
    }
}

/// The lowest and the highest of a cell such as `97.97 % (97.46–98.59)`.
fn range(cell: &str) -> [f64; 2] {
    let (_, range) = cell.split_once('(').unwrap();
    let (low, high) = range.trim().trim_end_matches(')').split_once('–').unwrap();
    [low, high].map(|number| number.parse().unwrap())
}

/// The README's tables are of seeds 1 to 20.
#[test]
fn a_training_in_each_format_ends_where_the_readme_says() {
    let text = include_str!("README.md");
    for (task, flags) in [
        ("the defaults", &[][..]),
        (
            "`--data synthetic-classification --hidden 16,16`",
            &["--data", "synthetic-classification", "--hidden", "16,16"],
        ),
    ] {
        // One of state alone, and one of parameters and gradients too.
        let row = format!("| {task} |");
        let rows = text.lines().filter(|line| line.starts_with(&row));
        let cells = rows.take(2).flat_map(|row| row.split('|').skip(2).take(3));
        let residual = ["--params", "bf16+8", "--grads", "bf16"];
        let formats = [
            vec!["--state", "f32"],
            vec!["--state", "bf16"],
            vec!["--state", "int8"],
            vec!["--params", "bf16", "--grads", "bf16"],
            residual.to_vec(),
            [&residual[..], &["--state", "int8"]].concat(),
        ];
        let mut checked = 0;
        for (cell, formats) in cells.zip(&formats) {
            let line = [flags, formats, &["--seed", "20"]].concat();
            let accuracy = 100.0 * trained(&line).accuracy;
            let [low, high] = range(cell);
            // Two digits are shown.
            let is_within = (low - 0.005..=high + 0.005).contains(&accuracy);
            assert!(is_within, "{line:?}: {accuracy} %, not {cell}");
            checked += 1;
        }
        assert_eq!(checked, formats.len(), "{task}");
    }
}
