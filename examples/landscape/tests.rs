//! Command lines from end to end.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process;

use anyhow::Result;
use clap::FromArgMatches;
use flags::device::{Choice, Device};
use report::{Interrupt, Progress, Section, numbers_apart};
use serde_json::Value;

use crate::arguments::Arguments;
use crate::basins::Map;
use crate::contenders;
use crate::exhibit::{Exhibit, Workshop};
use crate::functions;
use crate::gallery;
use crate::lines::Lines;

fn arguments(line: &str) -> Result<Arguments> {
    let words = std::iter::once("landscape").chain(line.split_whitespace());
    let matches = Arguments::command_line().try_get_matches_from(words)?;
    Ok(Arguments::from_arg_matches(&matches)?)
}

fn exhibit(line: &str) -> Result<Exhibit> {
    Exhibit::new(&arguments(line)?, "landscape".into())
}

/// `WGPU_ADAPTER_NAME` and `WGPU_BACKEND` choose the driver.
fn gpu() -> Device {
    let name = env::var("WGPU_ADAPTER_NAME");
    let choice = name.map_or(Choice::Gpu, Choice::Named);
    choice.open().expect("these tests need a GPU driver").device
}

/// A file that goes away again.
struct Draft(PathBuf);

impl Draft {
    fn new(name: &str) -> Self {
        Self(env::temp_dir().join(format!("landscape-{}-{name}", process::id())))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The section and the JSON objects of a command line.
fn shown(device: &Device, line: &str, name: &str) -> (Section, Vec<Value>) {
    let file = Draft::new(name);
    let mut workshop = Workshop {
        device,
        interrupt: &Interrupt::default(),
        progress: Progress::new(1, "steps", true).unwrap(),
        lines: Some(Lines::create(&file.0).unwrap()),
    };
    let section = exhibit(line).unwrap().make(&mut workshop).unwrap();
    let text = fs::read_to_string(&file.0).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    (section, lines.collect())
}

/// Equal, but for the last digits of numbers that are not whole.
fn are_near(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| are_near(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let mut pairs = a.iter();
            a.len() == b.len() && pairs.all(|(key, a)| b.get(key).is_some_and(|b| are_near(a, b)))
        }
        (Value::Number(a), Value::Number(b)) => {
            let [a, b] = [a, b].map(|number| number.as_f64().unwrap());
            (a - b).abs() <= 1e-4 * a.abs().max(1.0)
        }
        _ => a == b,
    }
}

#[test]
fn json_lines_are_the_same_on_both_devices_up_to_rounding() {
    let line = "--function himmelblau --rules sgd:lr=0.01,adam:lr=0.1:amsgrad=max_raw --start=0.5,0 \
                --start=-1,2 --steps 30 --noise 1 --seed 5 --schedule cosine --warmup 3";
    let [found, truth] = [gpu(), Device::Cpu].map(|device| {
        let name = if matches!(device, Device::Cpu) {
            "cpu"
        } else {
            "gpu"
        };
        shown(&device, line, name).1
    });
    // Step 0 and 30 others, of two rules from two starts.
    assert_eq!((found.len(), truth.len()), (31 * 4, 31 * 4));
    for (found, truth) in found.iter().zip(&truth) {
        assert!(are_near(found, truth), "{found} instead of {truth}");
    }
    let first: Value = serde_json::from_str(
        r#"{"function": "himmelblau", "rule": "adam", "hyper": {"lr": 0.1, "amsgrad": "max_raw"},
            "schedule": "cosine", "start": [-1.0, 2.0], "step": 0, "x": [-1.0, 2.0], "value": 80.0}"#,
    )
    .unwrap();
    assert_eq!(found[3].as_object().unwrap().len(), 8);
    assert!(are_near(&found[3], &first), "{}", found[3]);
}

#[test]
fn a_rule_with_a_schedule_of_its_own_goes_as_if_all_had_it() {
    let line = |rest: &str| {
        format!("--function beale --steps 30 --gamma 0.5 --decay-every 5 --warmup 3 {rest}")
    };
    let rules = "adam:lr=0.1,adam:lr=0.1:schedule=cosine,prodigy:schedule=step,sgd:lr=0.01:schedule=constant";
    for device in [gpu(), Device::Cpu] {
        let mixed = line(&format!("--schedule step --rules {rules}"));
        let (section, mixed) = shown(&device, &mixed, "mixed");
        let labels = section.tables[0].rows.iter().map(|row| &*row[0]);
        let label = "adam lr=0.1 schedule=cosine";
        assert!(labels.clone().any(|found| found == label), "{section:?}");
        for (index, name, rule) in [
            (0, "step", "adam:lr=0.1"),
            (1, "cosine", "adam:lr=0.1"),
            (2, "step", "prodigy"),
            (3, "constant", "sgd:lr=0.01"),
        ] {
            // Flags that go with none of the schedules are refused: signsgd is there for them.
            let alone = line(&format!(
                "--schedule {name} --rules {rule},signsgd:schedule=step"
            ));
            let (_, alone) = shown(&device, &alone, "alone");
            let own = mixed.iter().skip(index).step_by(4);
            let alone = alone.iter().step_by(2);
            assert_eq!((own.len(), alone.len()), (31, 31));
            for (own, alone) in own.zip(alone) {
                assert_eq!(own["schedule"], *name);
                assert_eq!(own, alone);
            }
        }
        // Those two have nothing but the schedule that tells them apart.
        assert_ne!(mixed[4 * 30]["x"], mixed[4 * 30 + 1]["x"]);
    }
}

#[test]
fn what_is_not_finite_is_null_and_said() {
    let line = "--function rosenbrock --rules sgd:lr=1 --steps 20";
    let (section, lines) = shown(&Device::Cpu, line, "null");
    assert!(
        lines[20]["value"].is_null() && lines[20]["x"][0].is_null(),
        "{}",
        lines[20]
    );
    assert!(
        section
            .text
            .contains("No finite number any more: sgd lr=1 from step"),
        "{}",
        section.text
    );
    let end = &section.tables[0].rows[0][2];
    assert!(!end.contains("NaN"), "{end}");
}

#[test]
fn fewer_steps_are_written_where_fewer_are_kept() {
    let line = "--function saddle --rules adam --steps 25 --every 10";
    let (_, lines) = shown(&Device::Cpu, line, "every");
    let steps: Vec<_> = lines
        .iter()
        .map(|line| line["step"].as_u64().unwrap())
        .collect();
    assert_eq!(steps, [0, 10, 20, 25]);
}

fn map_of(line: &str, device: &Device, check: impl FnOnce(&Map<'_>)) {
    let exhibit = exhibit(line).unwrap();
    let contender = &exhibit.arguments.contenders(&exhibit.task).unwrap()[0];
    let mut progress = Progress::new(1, "steps", true).unwrap();
    let interrupt = Interrupt::default();
    check(&Map::make(device, &exhibit.task, contender, &interrupt, &mut progress).unwrap());
}

#[test]
fn basins_of_himmelblaus_function_are_those_of_all_four_minima() {
    let line = "--function himmelblau --basins 12 --rules sgd:lr=0.01 --steps 80";
    for device in [gpu(), Device::Cpu] {
        map_of(line, &device, |map| {
            let mut counts = [0; 4];
            for (index, since) in map.fates.all.iter().filter_map(|fate| fate.settled) {
                counts[index] += 1;
                assert!(since <= 80, "{since}");
            }
            assert!(counts.iter().all(|count| *count > 15), "{counts:?}");
            assert!(map.fates.shares()[0] > 0.95, "{:?}", map.fates.shares());
            // The one at (3, 2) draws what starts beside it, high up on the right.
            assert_eq!(map.fates.all[143].settled.unwrap().0, 0);
        });
    }
}

#[test]
fn starts_that_end_nowhere_are_in_no_basin() {
    let line = "--function himmelblau --basins 12 --rules sgd:lr=0 --steps 2";
    map_of(line, &Device::Cpu, |map| {
        assert!(
            map.fates.shares().iter().sum::<f64>() < 0.05,
            "{:?}",
            map.fates.shares()
        );
        assert_eq!(map.done, 2);
    });
}

#[test]
fn a_path_that_leaves_the_frame_is_said_to() {
    let line = "--function saddle --rules sgd:lr=0.1,sgd:lr=0.0001 --steps 60";
    let (section, _) = shown(&Device::Cpu, line, "saddle");
    let svg = section.figures[0].picture.svg();
    assert!(svg.contains("sgd lr=0.1 (leaves the frame)"));
    assert!(!svg.contains("sgd lr=0.0001 (leaves the frame)"));
}

#[test]
fn sgd_and_adam_are_beside_all_that_is_shown_unless_the_user_lists_rules() {
    for name in functions::names() {
        let function = functions::by_name(name).unwrap();
        let contenders = contenders::showcase(&*function).unwrap();
        let has = |rule: &str| contenders.iter().any(|own| own.rule.name == rule);
        assert!(has("sgd") && has("adam"), "{name}");
    }
    let line = arguments("--function cosh --rules newton").unwrap();
    let own = line.contenders(&line.task().unwrap()).unwrap();
    assert_eq!(own.len(), 1);
}

#[test]
fn the_gallery_shows_every_function() {
    let exhibits = gallery::exhibits().unwrap();
    for name in functions::names() {
        let shows = |exhibit: &Exhibit| exhibit.task.function.name() == name;
        assert!(exhibits.iter().any(shows), "{name}");
    }
}

#[test]
fn a_wrong_command_is_answered_with_what_was_expected() {
    for (line, expected) in [
        (
            "--function rosenbrok",
            "expected one of quadratic, rosenbrock",
        ),
        ("--function cosh --rules addam", "adamw"),
        ("--function cosh --rules adam:lr=-1", "adam:lr=-1"),
        ("--function cosh --rules adam:beta3=1", "beta3"),
        (
            "--function cosh --rules adam:schedule=cosin",
            "expected one of constant, step, cosine, exponential",
        ),
        (
            "--function cosh --rules adam:schedule=",
            "expected KEY=VALUE",
        ),
        (
            "--function cosh --rules adam:schedule=cosine --schedule step --gamma 0.5",
            "--schedule step or exponential",
        ),
        (
            "--function cosh --start=1,2",
            "1 variable: expected x from -10 to 10",
        ),
        (
            "--function beale --start=1",
            "2 variables: expected x from -4.5 to 4.5 and y",
        ),
        (
            "--function beale --start=5,0",
            "outside the domain of beale",
        ),
        ("--function beale --start=nan,0", "expected finite numbers"),
        ("--function beale --start=inf,0", "expected finite numbers"),
        ("--function beale --steps 0", "--steps"),
        ("--function beale --every 0", "--every"),
        (
            "--function beale --noise -1",
            "expected a finite number above 0",
        ),
        (
            "--function beale --condition 5",
            "expected --function quadratic",
        ),
        ("--function beale --floor 0.1 --schedule cosine", "--floor"),
        (
            "--function beale --gamma 0.5",
            "--schedule step or exponential",
        ),
        (
            "--function beale --out page.pdf",
            "expected FILE.html, FILE.svg or FILE.png",
        ),
        ("--function beale --basins 1", "--basins"),
        ("--function beale --basins 8 --tune", "cannot be used with"),
        ("--function cosh --basins 8", "expected a function of two"),
        ("--function saddle --basins 8", "saddle has none"),
        (
            "--function beale --basins 8 --rules prodigy",
            "does not go with prodigy",
        ),
        ("--rules adam", "--function"),
        ("--tune", "--function"),
    ] {
        let error = exhibit(line).map(|_| ()).unwrap_err();
        assert!(format!("{error:#}").contains(expected), "{line}: {error:#}");
    }
    let nowhere = PathBuf::from("/nowhere/at/all.json");
    let error = Lines::create(&nowhere).map(|_| ()).unwrap_err();
    assert!(
        error.to_string().contains("--json /nowhere/at/all.json"),
        "{error}"
    );
    let out = arguments("--out /nowhere/at/all.html")
        .unwrap()
        .out
        .unwrap();
    assert!(
        out.check()
            .unwrap_err()
            .to_string()
            .contains("--out /nowhere")
    );
}

#[test]
fn the_command_under_a_picture_of_what_was_tuned_shows_the_same() {
    let line = "--function quadratic --condition 50 --start=-1,2 --noise 0.5 --seed 3 --schedule step --gamma 0.5 \
                --steps 40 --rules adam:lr=0.25:beta1=0.5,sgd:lr=0.01:schedule=cosine";
    let exhibit = exhibit(line).unwrap();
    let arguments_of = &exhibit.arguments;
    let contenders = arguments_of.contenders(&exhibit.task).unwrap();
    let command = arguments_of.command_with(&exhibit.task, &contenders);
    let (_, again) = command.split_once(" -- ").unwrap();
    let again = self::exhibit(again).unwrap();
    assert_eq!(again.task.starts, exhibit.task.starts);
    let schedules = |exhibit: &Exhibit| {
        let contenders = exhibit.arguments.contenders(&exhibit.task).unwrap();
        contenders.into_iter().map(|contender| contender.schedule)
    };
    assert!(schedules(&again).eq(schedules(&exhibit)));
    assert_eq!(again.task.noise, exhibit.task.noise);
    assert_eq!(
        again.task.function.formula(),
        exhibit.task.function.formula()
    );
    assert_eq!(again.arguments.rules, exhibit.arguments.rules);
}

#[test]
fn the_readmes_picture_is_what_the_command_under_it_draws() {
    let readme = include_str!("../../README.md");
    let prefix = "cargo run --release --example landscape -- ";
    let mut commands = readme.lines().filter_map(|line| line.strip_prefix(prefix));
    let command = commands
        .find(|line| line.contains("--out beale.svg"))
        .unwrap();
    let (section, _) = shown(&Device::Cpu, command, "readme.jsonl");
    let drawn = section.figures[0].picture.svg();
    let apart = numbers_apart(&drawn, include_str!("beale.svg"));
    // Units of a quarter of a pixel.
    assert!(
        apart.is_some_and(|units| units <= 4.0),
        "{command}: {apart:?} from examples/landscape/beale.svg"
    );
}
