//! Every rule finds the minimum of a convex bowl and of Rosenbrock's valley within a stated budget,
//! with the hyperparameters of `convergence.txt`. `UPDATE_CONVERGENCE=1 cargo test --test convergence`
//! writes a line for each rule that has none there. Rules of matrices also have tests of their own. In
//! `examples/train`, another test has every rule learn the digits.
//!
//! The learning rate falls linearly to zero over the budget, so that rules with steps of fixed size
//! come to rest.

use std::{
    fs,
    path::{Path, PathBuf},
};

use wgpu_optim::{
    Extent, Layout, MatrixWork, Tensor, cpu,
    rules::{self, Muon, NewtonDense},
    schedule::Schedule,
};

/// The rates that the table is made from.
const RATES: [f64; 15] = [
    5.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 5e-4, 2e-4, 1e-4,
];

/// A line of the table.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    rule: String,
    bowl_lr: f64,
    valley_lr: f64,
    hyper: Vec<(String, String)>,
}

fn parse(line: &str) -> Row {
    let mut words = line.split_whitespace();
    let mut next = || words.next().unwrap_or_else(|| panic!("{line}"));
    let (rule, bowl_lr, valley_lr) = (next().to_owned(), next(), next());
    let [bowl_lr, valley_lr] = [bowl_lr, valley_lr].map(|lr| lr.parse().unwrap());
    let hyper = words.map(|word| {
        let (field, value) = word.split_once('=').unwrap_or_else(|| panic!("{line}"));
        (field.to_owned(), value.to_owned())
    });
    Row {
        rule,
        bowl_lr,
        valley_lr,
        hyper: hyper.collect(),
    }
}

fn table_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/convergence.txt")
}

fn is_line(line: &&str) -> bool {
    !line.is_empty() && !line.starts_with('#')
}

fn table() -> Vec<Row> {
    let text = fs::read_to_string(table_path()).unwrap();
    text.lines().filter(is_line).map(parse).collect()
}

/// Writes the lines that the table lacks.
fn complete_the_table() {
    let text = fs::read_to_string(table_path()).unwrap();
    let mut written: String = text
        .lines()
        .filter(|line| line.starts_with('#'))
        .fold(String::new(), |text, line| text + line + "\n");
    for name in rules::names() {
        let known = text
            .lines()
            .filter(is_line)
            .find(|line| parse(line).rule == name);
        written += &known.map_or_else(|| found(name), |line| line.to_owned());
        written += "\n";
    }
    fs::write(table_path(), written).unwrap();
}

/// The line of a rule by its defaults, at the rates that bring it nearest.
fn found(name: &str) -> String {
    let best = |problem, start, steps, minimum| {
        let far = |lr: &f64| distance(minimize(problem, start, name, &[], *lr, steps), minimum);
        let ends = RATES.iter().map(|lr| (far(lr), *lr));
        let (far, lr) = ends.min_by(|one, other| one.0.total_cmp(&other.0)).unwrap();
        assert!(
            far < TOLERANCE,
            "no rate brings {name} nearer than {far} by its defaults: write its line by hand, with \
             other hyperparameters"
        );
        lr
    };
    let bowl = best(bowl, BOWL_START, BOWL_STEPS, BOWL_MINIMUM);
    let valley = best(valley, VALLEY_START, VALLEY_STEPS, VALLEY_MINIMUM);
    format!("{name} {bowl} {valley}")
}

const BOWL_STEPS: u64 = 1_000;
const BOWL_START: [f64; 2] = [-1.0, 1.0];
const BOWL_MINIMUM: [f64; 2] = [1.0, -2.0];
const VALLEY_STEPS: u64 = 10_000;
const VALLEY_START: [f64; 2] = [0.0, 0.0];
const VALLEY_MINIMUM: [f64; 2] = [1.0, 1.0];

/// How far from the minimum a parameter may end.
const TOLERANCE: f64 = 1e-2;

/// A function of two variables: its gradient and its Hessian.
type Problem = fn([f64; 2]) -> ([f64; 2], [[f64; 2]; 2]);

/// `½(x − 1)² + 5(y + 2)²`: round as a bowl, ten times steeper one way than the other.
fn bowl([x, y]: [f64; 2]) -> ([f64; 2], [[f64; 2]; 2]) {
    ([x - 1.0, 10.0 * (y + 2.0)], [[1.0, 0.0], [0.0, 10.0]])
}

/// Rosenbrock 1960: `(1 − x)² + 100(y − x²)²`.
fn valley([x, y]: [f64; 2]) -> ([f64; 2], [[f64; 2]; 2]) {
    let off = y - x * x;
    let gradient = [-2.0 * (1.0 - x) - 400.0 * x * off, 200.0 * off];
    let curvature = 2.0 - 400.0 * off + 800.0 * x * x;
    (gradient, [[curvature, -400.0 * x], [-400.0 * x, 200.0]])
}

/// What an input with one value of each `extent` is of a Hessian.
fn input_of(extent: Extent, [[xx, xy], [yx, yy]]: [[f64; 2]; 2]) -> Vec<f32> {
    let values = match extent {
        Extent::Pair => vec![xx, xy, yx, yy],
        _ => vec![xx, yy],
    };
    values.into_iter().map(|h| h as f32).collect()
}

/// Where the rule ends.
fn minimize(
    problem: Problem,
    start: [f64; 2],
    name: &str,
    hyper: &[(String, String)],
    lr: f64,
    steps: u64,
) -> [f64; 2] {
    let mut rule = rules::by_name(name).unwrap();
    rule.set("lr", &lr.to_string()).unwrap();
    for (field, value) in hyper {
        rule.set(field, value).unwrap();
    }
    let inputs: Vec<_> = rule.slots().into_iter().filter(|slot| slot.input).collect();
    let takes_matrices = rule.stages().matrix.is_some_and(|stage| {
        // Alone, and no other tensors.
        matches!(stage.work, MatrixWork::Orthogonalize { .. })
    });
    let mut layout = Layout::new();
    let group = layout.group(rule).unwrap();
    let shape: &[usize] = if takes_matrices { &[1, 2] } else { &[2] };
    let p = layout.tensor(group, "p", shape).unwrap();
    let mut optimizer = cpu::Optimizer::<f32>::new(&layout).unwrap();
    optimizer
        .param_mut(p)
        .unwrap()
        .copy_from_slice(&start.map(|x| x as f32));
    let position = |optimizer: &cpu::Optimizer<f32>| {
        let p = optimizer.param(p).unwrap();
        [f64::from(p[0]), f64::from(p[1])]
    };
    let falling = Schedule::Linear {
        start: 1.0,
        end: 0.0,
        steps,
    };
    for step in 0..steps {
        let (gradient, hessian) = problem(position(&optimizer));
        optimizer
            .grad_mut(p)
            .unwrap()
            .copy_from_slice(&gradient.map(|g| g as f32));
        for input in &inputs {
            optimizer
                .state_mut(p, input.name)
                .unwrap()
                .copy_from_slice(&input_of(input.extent, hessian));
            optimizer.refresh(group).unwrap();
        }
        optimizer.set_lr(group, falling.at(lr, step)).unwrap();
        optimizer.step().unwrap();
    }
    optimizer.evaluate();
    position(&optimizer)
}

fn distance(found: [f64; 2], minimum: [f64; 2]) -> f64 {
    (found[0] - minimum[0])
        .abs()
        .max((found[1] - minimum[1]).abs())
}

#[test]
fn every_rule_reaches_the_minimum_of_the_bowl_and_of_the_valley() {
    if std::env::var_os("UPDATE_CONVERGENCE").is_some() {
        complete_the_table();
    }
    let table = table();
    let names: Vec<_> = table.iter().map(|row| &*row.rule).collect();
    assert_eq!(
        names,
        rules::names().collect::<Vec<_>>(),
        "UPDATE_CONVERGENCE=1 cargo test --test convergence writes what lacks"
    );
    for row in &table {
        let reach = |problem, start, steps, minimum, lr, what| {
            let found = minimize(problem, start, &row.rule, &row.hyper, lr, steps);
            let far = distance(found, minimum);
            assert!(
                far < TOLERANCE,
                "{} ends {far} from the minimum of the {what}, at {found:?}",
                row.rule
            );
        };
        reach(
            bowl,
            BOWL_START,
            BOWL_STEPS,
            BOWL_MINIMUM,
            row.bowl_lr,
            "bowl",
        );
        reach(
            valley,
            VALLEY_START,
            VALLEY_STEPS,
            VALLEY_MINIMUM,
            row.valley_lr,
            "valley",
        );
    }
}

#[test]
fn muon_brings_matrices_of_every_shape_to_their_targets() {
    const STEPS: u64 = 1_000;
    let lr = 0.1;
    for (rows, columns) in [(4, 4), (3, 7), (9, 2)] {
        let mut layout = Layout::new();
        let group = layout.group(Muon {
            weight_decay: 0.0,
            ..Default::default()
        });
        let group = group.unwrap();
        let x = layout.tensor(group, "x", &[rows, columns]).unwrap();
        let mut optimizer = cpu::Optimizer::<f32>::new(&layout).unwrap();
        let target: Vec<_> = (0..rows * columns)
            .map(|i| (3.7 * i as f32).sin())
            .collect();
        let falling = Schedule::Linear {
            start: 1.0,
            end: 0.0,
            steps: STEPS,
        };
        for step in 0..STEPS {
            let at = optimizer.param(x).unwrap().to_vec();
            let gradient = optimizer.grad_mut(x).unwrap();
            for (i, g) in gradient.iter_mut().enumerate() {
                // Steeper from row to row.
                *g = (1 + i / columns) as f32 * (at[i] - target[i]);
            }
            optimizer.set_lr(group, falling.at(lr, step)).unwrap();
            optimizer.step().unwrap();
        }
        let found = optimizer.param(x).unwrap().iter().zip(&target);
        let far = found.fold(0.0f32, |far, (x, target)| far.max((x - target).abs()));
        assert!(f64::from(far) < TOLERANCE, "{rows} × {columns}: {far}");
    }
}

/// `newton_dense` and its parameters, which start at `start`.
fn newton(start: &[f32]) -> (cpu::Optimizer<f32>, Tensor) {
    let mut layout = Layout::new();
    let group = layout.group(NewtonDense::default()).unwrap();
    let p = layout.tensor(group, "p", &[start.len()]).unwrap();
    let mut optimizer = cpu::Optimizer::new(&layout).unwrap();
    optimizer.param_mut(p).unwrap().copy_from_slice(start);
    (optimizer, p)
}

fn newton_step(optimizer: &mut cpu::Optimizer<f32>, p: Tensor, gradient: &[f32], hessian: &[f32]) {
    optimizer.grad_mut(p).unwrap().copy_from_slice(gradient);
    optimizer
        .state_mut(p, "hessian")
        .unwrap()
        .copy_from_slice(hessian);
    optimizer.step().unwrap();
}

#[test]
fn newton_with_the_whole_hessian_is_at_the_minimum_of_a_quadratic_in_one_step() {
    let hessian = [4.0, 1.0, -2.0, 1.0, 3.0, 0.5, -2.0, 0.5, 5.0];
    let (start, minimum) = ([7.0, -3.0, 2.0], [1.0, -2.0, 0.5]);
    let (mut optimizer, p) = newton(&start);
    let row = |row: &[f32]| {
        let terms = row.iter().zip(start.iter().zip(&minimum));
        terms
            .map(|(h, (start, minimum))| h * (start - minimum))
            .sum()
    };
    let gradient: Vec<f32> = hessian.chunks(3).map(row).collect();
    newton_step(&mut optimizer, p, &gradient, &hessian);
    for (found, minimum) in optimizer.param(p).unwrap().iter().zip(minimum) {
        assert!((found - minimum).abs() < 1e-5, "{found}, not {minimum}");
    }
}

/// `x⁴/4 − x²/2 + y²/2`: two minima, and between them a saddle.
#[test]
fn newton_with_the_whole_hessian_leaves_a_saddle_for_a_minimum() {
    let (mut optimizer, p) = newton(&[0.1, 1.0]);
    for _ in 0..50 {
        let [x, y] = *optimizer.param(p).unwrap() else {
            panic!("two parameters");
        };
        let gradient = [x * x * x - x, y];
        let hessian = [3.0 * x * x - 1.0, 0.0, 0.0, 1.0];
        newton_step(&mut optimizer, p, &gradient, &hessian);
    }
    let found = optimizer.param(p).unwrap();
    let found = [f64::from(found[0]), f64::from(found[1])];
    assert!(distance(found, [1.0, 0.0]) < 1e-5, "{found:?}");
    assert!(optimizer.stats().groups[0].failures > 0);
}
