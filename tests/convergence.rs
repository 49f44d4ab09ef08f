//! Every rule finds the minimum of a convex bowl and of Rosenbrock's valley within a stated budget,
//! with the hyperparameters of this table. Rules of matrices also have tests of their own. In
//! `examples/train`, another test has every rule learn the digits.
//!
//! The learning rate falls linearly to zero over the budget, so that rules with steps of fixed size
//! come to rest.

use wgpu_optim::{
    Extent, Layout, MatrixWork, Tensor, cpu,
    rules::{self, Muon, NewtonDense},
    schedule::Schedule,
};

/// Rule, hyperparameters and learning rates for the bowl and for the valley.
type Row = (
    &'static str,
    &'static [(&'static str, &'static str)],
    f64,
    f64,
);

#[rustfmt::skip]
const TABLE: &[Row] = &[
    ("sgd", &[("momentum", "0.9")], 0.02, 0.003),
    ("adagrad", &[], 2.0, 1.0),
    ("rmsprop", &[], 0.05, 0.001),
    ("adam", &[], 0.2, 0.001),
    ("adamw", &[("weight_decay", "1e-5")], 0.2, 0.001),
    ("nadam", &[], 0.2, 0.001),
    ("radam", &[], 0.5, 0.01),
    ("adabelief", &[], 0.02, 0.05),
    ("lion", &[], 0.1, 0.001),
    ("adadelta", &[], 2.0, 0.2),
    ("rprop", &[], 0.1, 1.0),
    ("adamax", &[], 2.0, 1.0),
    ("adabound", &[("final_lr", "0.002")], 0.5, 0.1),
    ("yogi", &[], 0.2, 0.01),
    ("signsgd", &[], 0.01, 0.001),
    ("adan", &[], 0.1, 0.01),
    ("adopt", &[], 2.0, 1.0),
    ("ademamix", &[], 5.0, 0.1),
    ("asgd", &[], 0.4, 0.003),
    ("schedulefree_adamw", &[], 2.0, 0.02),
    ("schedulefree_sgd", &[], 1.0, 0.01),
    ("sophia", &[], 0.5, 1.0),
    ("newton", &[("damping", "1")], 1.0, 0.8),
    ("adafactor", &[], 0.2, 0.01),
    ("lars", &[("trust_coefficient", "0.1")], 0.02, 0.02),
    ("lamb", &[], 0.1, 0.01),
    ("novograd", &[], 0.01, 0.003),
    ("muon", &[("weight_decay", "0")], 0.1, 0.003),
    ("newton_dense", &[], 1.0, 1.0),
    ("prodigy", &[], 1.0, 1.0),
    ("gradient_agreement", &[("factor", "0.003")], 0.01, 0.001),
];

const BOWL_STEPS: u64 = 1_000;
const VALLEY_STEPS: u64 = 10_000;

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
    hyper: &[(&str, &str)],
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
    let names: Vec<_> = TABLE.iter().map(|(name, ..)| *name).collect();
    assert_eq!(names, rules::names().collect::<Vec<_>>());
    for &(name, hyper, bowl_lr, valley_lr) in TABLE {
        let found = minimize(bowl, [-1.0, 1.0], name, hyper, bowl_lr, BOWL_STEPS);
        let far = distance(found, [1.0, -2.0]);
        assert!(
            far < TOLERANCE,
            "{name} ends {far} from the bowl's minimum, at {found:?}"
        );
        let found = minimize(valley, [0.0, 0.0], name, hyper, valley_lr, VALLEY_STEPS);
        let far = distance(found, [1.0, 1.0]);
        assert!(
            far < TOLERANCE,
            "{name} ends {far} from the valley's minimum, at {found:?}"
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
