//! Gradients of any size, and decays over their whole range: finite numbers stay finite, averages stay
//! accurate, and NaN stays visible. Every rule and variant, on the GPU and in both twins.

mod support;

use support::*;
use wgpu_optim::{
    Error, Layout, MatrixWork, Options, Rule, cpu,
    hyperparameter::{Field, Interval},
    rules,
};

/// Six elements: of a vector, and of a matrix for rules that look at matrices.
const SHAPE: [usize; 2] = [2, 3];
const COUNT: usize = 6;

/// Gradients of one element, step by step.
const SEQUENCES: [&[f32]; 9] = [
    &[1.85e19, 1.0, 1.0, -1.0],
    &[f32::MAX, f32::MIN, f32::MAX, f32::MIN],
    &[f32::MAX, f32::MAX, f32::MAX, f32::MAX],
    &[1e30, 1e-30, -1e30, 0.0],
    &[0.0, 1.85e19, 0.0, 1.0],
    &[1e-45, 1e-38, 1e38, 1e-38],
    &[1.0, 1e12, 1e-12, 1e24],
    &[-1e19, 1e19, 3e19, -3e19],
    &[0.0, 0.0, 0.0, f32::MAX],
];
const STEPS: usize = 4;

/// A layout with a tensor for each of `names`.
fn layout(rule: Box<dyn Rule>, names: usize) -> Layout {
    let mut layout = Layout::new();
    let group = layout.group(rule).unwrap();
    for index in 0..names {
        layout.tensor(group, &index.to_string(), &SHAPE).unwrap();
    }
    layout
}

/// A problem in which the gradients are given, and any inputs are the identity.
fn problem(layout: Layout, grads: Vec<Vec<Vec<f32>>>) -> Problem {
    let steps = grads.len();
    let mut problem = Problem::random(layout, steps, 7);
    for params in &mut problem.params {
        params.copy_from_slice(&[0.5, -0.25, 1.0, 0.125, -1.0, 0.75]);
    }
    problem.grads = grads;
    for input in problem.inputs.iter_mut().flatten() {
        let columns = if input.values.len() == COUNT {
            1
        } else {
            COUNT
        };
        for (index, value) in input.values.iter_mut().enumerate() {
            let (row, column) = (index / columns, index % columns);
            *value = if columns == 1 || row == column {
                1.0
            } else {
                0.0
            };
        }
    }
    problem
}

/// What the twins and the GPU have after each step: parameters and state by tensor.
struct Course {
    params: Vec<Vec<Vec<f64>>>,
    state: Vec<Vec<Vec<f64>>>,
}

impl Course {
    /// Of `subject` over all steps, with the state of `slots`.
    fn of(problem: &Problem, subject: &mut impl Readable, slots: &[&str]) -> Self {
        let (mut params, mut state) = (Vec::new(), Vec::new());
        let after = |_, subject: &mut _| {
            let tensors = problem.tensors();
            let of_params = tensors
                .iter()
                .map(|&tensor| Readable::values(subject, tensor));
            params.push(of_params.collect::<Result<_, _>>()?);
            let of_state = tensors.iter().map(|&tensor| {
                let slots = slots.iter();
                let values = slots.map(|slot| Readable::state_values(subject, tensor, slot));
                Ok(values.collect::<Result<Vec<_>, _>>()?.concat())
            });
            state.push(of_state.collect::<Result<_, Error>>()?);
            Ok(())
        };
        problem.replay(subject, after).unwrap();
        Self { params, state }
    }
}

fn of_twin<T: cpu::Real>(problem: &Problem, slots: &[&str]) -> Course {
    let mut twin = cpu::Optimizer::<T>::new(&problem.layout).unwrap();
    Course::of(problem, &mut twin, slots)
}

fn on_gpu(problem: &Problem, slots: &[&str]) -> Course {
    let (gpu, mut optimizer) = (gpu(), problem.in_arena(Options::default()));
    let optimizer = &mut optimizer;
    Course::of(problem, &mut OnGpu { gpu, optimizer }, slots)
}

fn largest_movement(problem: &Problem, params: &[Vec<f64>], tensor: usize) -> f64 {
    let start = problem.params[tensor].iter();
    let moved = start
        .zip(&params[tensor])
        .map(|(&start, &now)| (now - f64::from(start)).abs());
    moved.fold(0.0, f64::max)
}

/// Sequence by sequence: some elements as given, some with the other sign, some without.
fn hostile(layout: Layout) -> Problem {
    let grads = (0..STEPS).map(|step| {
        let of_sequence = |sequence: &&[f32]| {
            let g = sequence[step];
            vec![g, -g, g, 0.0, 1e-3 * g, 1.0]
        };
        SEQUENCES.iter().map(of_sequence).collect()
    });
    problem(layout, grads.collect())
}

#[test]
fn no_finite_gradient_makes_parameters_or_state_infinite_and_steps_stay_in_their_bounds() {
    let mut faults = Vec::new();
    for variant in Variant::all() {
        let problem = hostile(layout(variant.make(), SEQUENCES.len()));
        let slots = slots_of(&problem.layout, problem.tensors()[0]);
        let exact = of_twin::<f64>(&problem, &[]);
        for (course, name) in [
            (of_twin::<f32>(&problem, &slots), "f32 twin"),
            (on_gpu(&problem, &slots), "GPU"),
        ] {
            for step in 0..STEPS {
                for tensor in 0..SEQUENCES.len() {
                    let label =
                        format!("{variant:?}, sequence {tensor}, step {}, {name}", step + 1);
                    let found = &course.params[step][tensor];
                    if !found
                        .iter()
                        .chain(&course.state[step][tensor])
                        .all(|v| v.is_finite())
                    {
                        faults.push(format!(
                            "{label}: {found:?}, {:?}",
                            course.state[step][tensor]
                        ));
                        continue;
                    }
                    // The rule's bound, by what it does in f64, where all of this is finite.
                    let moved = largest_movement(&problem, &course.params[step], tensor);
                    let most = (0..=step)
                        .map(|step| largest_movement(&problem, &exact.params[step], tensor));
                    let most = most.fold(0.0, f64::max);
                    if moved > 8.0 * most + 1e-6 {
                        faults.push(format!("{label}: moved by {moved:e}, {most:e} in f64"));
                    }
                }
            }
        }
    }
    assert_none(faults);
}

/// The parameter of one element after each step, with the gradients given.
fn course_of_one(rule: impl Into<Box<dyn Rule>>, start: f32, grads: &[f32]) -> [Vec<f64>; 3] {
    let mut layout = Layout::new();
    let group = layout.group(rule).unwrap();
    layout.tensor(group, "w", &[1]).unwrap();
    let mut problem = Problem::random(layout, grads.len(), 1);
    problem.params = vec![vec![start]];
    problem.grads = grads.iter().map(|&g| vec![vec![g]]).collect();
    let courses = [
        of_twin::<f64>(&problem, &[]),
        of_twin::<f32>(&problem, &[]),
        on_gpu(&problem, &[]),
    ];
    courses.map(|course| {
        course
            .params
            .into_iter()
            .map(|tensors| tensors[0][0])
            .collect()
    })
}

#[test]
fn adamw_passes_a_gradient_whose_square_is_no_f32() {
    let rule = rules::AdamW {
        weight_decay: 1e-2,
        ..Default::default()
    };
    // p − lr·(wd·p + m̂/√v̂), by hand: m̂/√v̂ is 1, then 0.9/1.9/√(0.999/1.999).
    let first = 1.0 - 1e-3 * 1.01;
    let second = first - 1e-3 * (1e-2 * first + 0.9 / 1.9 / (0.999f64 / 1.999).sqrt());
    assert!((first - 0.99899).abs() < 1e-9 && (second - 0.99831).abs() < 1e-5);
    for found in course_of_one(rule, 1.0, &[1.85e19, 1.0]) {
        let error = (found[0] - first).abs().max((found[1] - second).abs());
        assert!(error < 2e-7, "{found:?}, not {first}, {second}");
    }
}

#[test]
fn a_decay_of_zero_forgets_all() {
    let rule = rules::RmsProp {
        alpha: 0.0,
        ..Default::default()
    };
    // g/(|g| + eps) with lr 1e-2: 1e-4/(1e-4 + 1e-8) in the second step.
    let first = -1e-2 / (1.0 + 1e-8);
    let second = first - 1e-2 * 1e-4 / (1e-4 + 1e-8);
    for found in course_of_one(rule, 0.0, &[1.0, 1e-4]) {
        let error = (found[0] - first).abs().max((found[1] - second).abs());
        assert!(error < 1e-8, "{found:?}, not {first}, {second}");
    }
}

/// State that is no average of numbers of one sign, so that rounding of its terms shows in it: sums of
/// distances (p0 − p), differences of gradients, and a moment that moves by ±g².
const DIFFERENCES: [(&str, &[&str]); 3] = [
    (
        "prodigy",
        &["s", "d", "d_max", "d_numerator", "exp_avg", "exp_avg_sq"],
    ),
    ("adan", &["exp_avg_diff"]),
    ("yogi", &["exp_avg", "exp_avg_sq"]),
];

const DECAYS: [f64; 6] = [0.0, 1e-6, 0.1, 0.5, 0.9, 0.999_999];

/// The fields of `rule` that are decays: those of [0, 1).
fn decays(rule: &mut dyn Rule) -> Vec<&'static str> {
    let fields = rule.hyperparameters().into_iter();
    let is_decay = |field: &Field| match field {
        Field::Number { allowed, .. } => *allowed == Interval::BELOW_ONE,
        _ => false,
    };
    fields
        .filter(|field| is_decay(&field.field))
        .map(|field| field.name)
        .collect()
}

/// `name` with a decay set, and without what would hide its averages.
fn with_decay(name: &str, field: &str, decay: f64) -> Box<dyn Rule> {
    let mut changed = rule(name);
    changed.set(field, &decay.to_string()).unwrap();
    for (field, value) in [("eps", "1e-30"), ("weight_decay", "0")] {
        // Not every rule has these.
        let _ = changed.set(field, value);
    }
    changed
}

/// The state of `name` to be compared: of one tensor, with the slot of each value.
fn compared_slots(problem: &Problem, name: &str) -> Vec<&'static str> {
    let left_out = DIFFERENCES.iter().find(|(of, _)| *of == name);
    let slots = slots_of(&problem.layout, problem.tensors()[0]);
    let kept = slots.into_iter();
    kept.filter(|slot| left_out.is_none_or(|(_, slots)| !slots.contains(slot)))
        .collect()
}

#[test]
fn averages_are_accurate_at_every_decay() {
    let mut faults = Vec::new();
    let mut compared = 0;
    // Neighbours are up to 1e12 apart, as squares 1e24.
    let steps = [1.0, 1e-12, 1e-6, 1.0, 1e-3, 1e6, 1e-6, 1.0f32];
    for name in rules::names() {
        for field in decays(&mut *rule(name)) {
            for decay in DECAYS {
                if Layout::new().group(with_decay(name, field, decay)).is_err() {
                    continue;
                }
                let grads = steps.map(|g| vec![vec![g, -g, 2.0 * g, 0.5 * g, -0.1 * g, g]]);
                let layout = layout(with_decay(name, field, decay), 1);
                let problem = problem(layout, grads.into());
                let slots = compared_slots(&problem, name);
                let exact = of_twin::<f64>(&problem, &slots);
                for (course, on) in [
                    (of_twin::<f32>(&problem, &slots), "f32 twin"),
                    (on_gpu(&problem, &slots), "GPU"),
                ] {
                    for step in 0..steps.len() {
                        let pairs = course.state[step][0].iter().zip(&exact.state[step][0]);
                        for (index, (&found, &right)) in pairs.enumerate() {
                            compared += 1;
                            if (found - right).abs() > 1e-4 * right.abs() + 1e-37 {
                                let step = step + 1;
                                faults.push(format!(
                                    "{name}, {field} = {decay}, {on}, step {step}: value {index} of \
                                     {slots:?} is {found:e}, not {right:e}",
                                ));
                            }
                        }
                    }
                }
            }
        }
    }
    assert!(compared > 10_000, "{compared}");
    assert_none(faults);
}

fn assert_none(faults: Vec<String>) {
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

/// Whether one gradient that is not finite spoils its whole tensor.
fn spoils_its_tensor(rule: &dyn Rule) -> bool {
    let stages = rule.stages();
    let counts = stages.sum.is_some_and(|sum| sum.names == ["agreeing"]);
    stages.sum.is_some() && !counts || stages.lines.is_some()
}

#[test]
fn what_is_not_finite_stays_visible_where_it_was() {
    let mut faults = Vec::new();
    for variant in Variant::all() {
        let built = variant.make();
        let work = built.stages().matrix.map(|stage| stage.work);
        if matches!(work, Some(MatrixWork::Solve { .. })) {
            // It leaves the tensor as it is, and counts it.
            continue;
        }
        let (whole, everything) = (spoils_its_tensor(&*built), built.name() == "prodigy");
        let good = vec![0.5, -0.5, 1.0, 0.25, -0.125, 1.0];
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let spoilt = vec![0.5, bad, 1.0, 0.25, -0.125, 1.0];
            let grads = vec![
                vec![good.clone(), good.clone()],
                vec![spoilt, good.clone()],
                vec![good.clone(), good.clone()],
            ];
            let problem = problem(layout(variant.make(), 2), grads);
            let courses = [
                (of_twin::<f64>(&problem, &[]), "f64 twin"),
                (of_twin::<f32>(&problem, &[]), "f32 twin"),
                (on_gpu(&problem, &[]), "GPU"),
            ];
            for (course, on) in courses {
                for step in [1, 2] {
                    let [first, second] = &course.params[step][..] else {
                        panic!()
                    };
                    let expected = |index| index == 1 || whole;
                    let is_right = first.iter().enumerate().all(|(index, p)| {
                        p.is_nan() == expected(index) && (p.is_nan() || p.is_finite())
                    });
                    let beside = second.iter().all(|p| p.is_nan() == everything);
                    if !is_right || !beside {
                        faults.push(format!(
                            "{variant:?}, {bad} on {on}, step {}: {first:?}, {second:?}",
                            step + 1
                        ));
                    }
                }
            }
        }
    }
    assert_none(faults);
}

/// What keeps a rule from dividing by zero may be as large as is allowed: AdaBelief adds it up.
#[test]
fn the_largest_eps_leaves_all_finite() {
    let mut tried = 0;
    for name in rules::names() {
        let mut fields = rule(name);
        let fields = fields.hyperparameters().into_iter();
        let names: Vec<_> = fields
            .map(|field| field.name)
            .filter(|field| field.starts_with("eps"))
            .collect();
        for field in names {
            for value in ["1e20", "1e30"] {
                let mut rule = rule(name);
                if rule.set(field, value).is_err() || Layout::new().group(rule).is_err() {
                    continue;
                }
                let mut rule = support::rule(name);
                rule.set(field, value).unwrap();
                let problem = Problem::of_sizes(rule, &[70, 12], 4);
                let label = format!("{name}, {field} = {value}");
                let found = problem.run(&mut problem.in_arena(Options::default()));
                assert!(found.iter().flatten().all(|p| p.is_finite()), "{label}");
                let twin = problem.twin::<f32>();
                for tensor in problem.tensors() {
                    let values = twin.param(tensor).unwrap();
                    assert!(values.iter().all(|p| p.is_finite()), "{label}: twin");
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 20, "{tried}");
    let adam = rules::Adam {
        eps: 1.1e30,
        ..Default::default()
    };
    let refused = Layout::new().group(adam).unwrap_err();
    assert!(matches!(refused, Error::Hyperparameter { .. }), "{refused}");
}
