//! Sensitive state in bf16: which slots it is, what rules evaluate with, small moves, and files of another format.

mod support;

use support::{places::everywhere, saved, *};
use wgpu_optim::{
    Checkpoint, Extent, Format, Formats, Layout, Options, Precision, Rule, Slot, cpu,
    rules::{self, Adan, ScheduleFreeSgd},
};

/// Beside what else may be in fewer bits.
fn all_formats() -> [Formats; 3] {
    let sensitive = Formats {
        sensitive: Format::Bf16,
        seed: 3,
        ..Formats::default()
    };
    [
        sensitive,
        Formats {
            state: Format::Int8,
            ..sensitive
        },
        Formats {
            params: Format::Bf16Plus16,
            state: Format::Bf16,
            ..sensitive
        },
    ]
}

fn sensitive_slots(rule: &dyn Rule) -> Vec<&'static str> {
    let slots = rule.slots().into_iter();
    let is_sensitive =
        |slot: &Slot| slot.extent == Extent::Element && slot.precision == Precision::Sensitive;
    slots.filter(is_sensitive).map(|slot| slot.name).collect()
}

/// The rules that have sensitive slots, and those.
fn sensitive_rules() -> Vec<(&'static str, Vec<&'static str>)> {
    let all = rules::names().map(|name| (name, sensitive_slots(&*rule(name))));
    let mut some: Vec<_> = all.filter(|(_, slots)| !slots.is_empty()).collect();
    some.sort_unstable();
    some
}

#[test]
fn these_slots_are_f32_unless_asked_whatever_the_format_of_other_state_is() {
    let rules = sensitive_rules();
    let expected = [
        ("adan", vec!["prev_grad"]),
        ("asgd", vec!["ax"]),
        ("gradient_agreement", vec!["prev_grad"]),
        ("prodigy", vec!["s"]),
        ("rprop", vec!["prev", "step_size"]),
        ("schedulefree_adamw", vec!["z"]),
        ("schedulefree_sgd", vec!["z"]),
    ];
    assert_eq!(rules, expected);
    for (name, slots) in rules {
        for (sensitive, bytes) in [(Format::F32, 4000), (Format::Bf16, 2000)] {
            for state in Formats::STATE.iter().copied() {
                let formats = Formats {
                    sensitive,
                    state,
                    ..Formats::default()
                };
                let problem = Problem::with_formats(rule(name), formats, &[1000], 1).unwrap();
                let optimizer = problem.in_arena(Options::default());
                for slot in &slots {
                    let range = optimizer.state(problem.tensors()[0], slot).unwrap();
                    assert_eq!(range.size, bytes, "{name} {slot} beside {state}");
                }
            }
        }
    }
}

/// Parameters to evaluate with are computed from a rounded copy. They are the twin's, and training goes on
/// from where it was.
#[test]
fn parameters_to_evaluate_with_are_those_of_the_twin_wherever_tensors_lie() {
    for name in ["schedulefree_adamw", "schedulefree_sgd"] {
        for formats in all_formats() {
            let problem = Problem::with_formats(rule(name), formats, &[100, 2000, 7], 3).unwrap();
            let mut twin = problem.twin::<f32>();
            let params = |twin: &cpu::Optimizer<f32>| -> Vec<Vec<f32>> {
                let tensors = problem.layout.tensors();
                tensors
                    .map(|tensor| twin.param(tensor).unwrap().to_vec())
                    .collect()
            };
            let trained = params(&twin);
            twin.evaluate();
            let shown = params(&twin);
            let differing = |found: &[Vec<f32>], expected: &[Vec<f32>]| {
                let pairs = found.iter().flatten().zip(expected.iter().flatten());
                let is_far = |(a, b): &(&f32, &f32)| (*a - *b).abs() > 1e-5 * b.abs().max(1e-2);
                pairs.filter(is_far).count()
            };
            // Otherwise nothing was evaluated.
            assert!(differing(&shown, &trained) > 1000, "{name}, {formats:?}");
            for (place, mut optimizer) in everywhere(&problem, &Options::default()) {
                let label = format!("{name}, {formats:?}, {place}");
                let found = problem.run(&mut optimizer);
                assert!(differing(&found, &trained) < 20, "{label}");
                submit(|encoder| optimizer.evaluate(encoder).unwrap());
                let found = problem.read_params(&optimizer);
                assert!(differing(&found, &shown) < 20, "{label}: evaluation");
                submit(|encoder| optimizer.train(encoder).unwrap());
                let found = problem.read_params(&optimizer);
                assert!(differing(&found, &trained) < 20, "{label}: training");
            }
        }
    }
}

#[test]
fn a_file_of_another_sensitive_format_is_refused() {
    let [formats, ..] = all_formats();
    for (name, _) in sensitive_rules() {
        let problem = |formats| Problem::with_formats(rule(name), formats, &[70, 5], 1).unwrap();
        let (narrow, wide) = (
            problem(formats),
            problem(Formats {
                sensitive: Format::F32,
                ..formats
            }),
        );
        for (of_file, other) in [(&narrow, &wide), (&wide, &narrow)] {
            let file = saved::bytes_of(&of_file.twin::<f32>());
            let load = |problem: &Problem| {
                let mut twin = cpu::Optimizer::<f32>::new(&problem.layout).unwrap();
                twin.load(&Checkpoint::from_bytes(file.clone()).unwrap())
            };
            load(of_file).unwrap();
            let message = load(other).unwrap_err().to_string();
            assert!(
                message.contains("the format of the sensitive state"),
                "{name}: {message}"
            );
        }
    }
}

/// A copy of the parameters that moves by less than a place of bf16 at each step still goes where it would in f32.
#[test]
fn small_moves_of_a_copy_in_bf16_are_not_lost() {
    const COUNT: usize = 4096;
    let rule = || ScheduleFreeSgd {
        lr: 1e-6,
        momentum: 0.9,
        ..Default::default()
    };
    let moved = |formats: Formats| {
        let mut layout = Layout::new();
        let group = layout.group_in(rule(), formats).unwrap();
        let x = layout.tensor(group, "x", &[COUNT]).unwrap();
        let mut twin = cpu::Optimizer::<f32>::new(&layout).unwrap();
        let start = 1.0 + 0.3 / 128.0;
        twin.param_mut(x).unwrap().fill(start);
        for _ in 0..2_000 {
            twin.grad_mut(x).unwrap().fill(1.0);
            twin.step().unwrap();
        }
        let z = twin.state(x, "z").unwrap();
        z.iter().map(|&z| f64::from(z - start)).sum::<f64>() / COUNT as f64
    };
    let (exact, found) = (moved(Formats::default()), moved(all_formats()[0]));
    // A place is 1/128, or 1/256 below 1. The mean of so many is off by less than a tenth of what moved.
    assert!((exact + 2e-3).abs() < 1e-4, "{exact}");
    assert!(
        (found - exact).abs() < 0.1 * exact.abs(),
        "{found}, {exact}"
    );
}

#[test]
fn sensitive_state_takes_bf16_alone_and_half_the_bytes() {
    let bytes = |sensitive| {
        let formats = Formats {
            sensitive,
            ..Formats::default()
        };
        let problem = Problem::with_formats(rule("prodigy"), formats, &[1000], 1).unwrap();
        let optimizer = problem.in_arena(Options::default());
        let tensor = problem.tensors()[0];
        ["exp_avg", "s"].map(|slot| optimizer.state(tensor, slot).unwrap().size)
    };
    assert_eq!(bytes(Format::F32), [4000, 4000]);
    assert_eq!(bytes(Format::Bf16), [4000, 2000]);
    for sensitive in [Format::Int8, Format::F16, Format::Bf16Plus8] {
        let formats = Formats {
            sensitive,
            ..Formats::default()
        };
        let refused = Layout::new().group_in(Adan::default(), formats);
        let message = refused.unwrap_err().to_string();
        assert!(
            message.contains("sensitive state") && message.contains("f32, bf16"),
            "{message}"
        );
    }
}
