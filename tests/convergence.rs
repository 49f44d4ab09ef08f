//! Every rule finds the minimum of a convex bowl and of Rosenbrock's valley within a stated budget,
//! with the hyperparameters of this table. (`examples/train` has a test in which every rule learns
//! the digits.)
//!
//! The learning rate falls linearly to zero over the budget, so that rules whose steps have a fixed
//! size come to rest.

use wgpu_optim::{Layout, cpu, rules, schedule::Schedule};

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
];

const BOWL_STEPS: u64 = 1_000;
const VALLEY_STEPS: u64 = 10_000;

/// How far from the minimum a parameter may end.
const TOLERANCE: f64 = 1e-2;

/// A function of two variables: its gradient and the diagonal of its Hessian.
type Problem = fn([f64; 2]) -> [[f64; 2]; 2];

/// `½(x − 1)² + 5(y + 2)²`: round as a bowl, ten times steeper one way than the other.
fn bowl([x, y]: [f64; 2]) -> [[f64; 2]; 2] {
    [[x - 1.0, 10.0 * (y + 2.0)], [1.0, 10.0]]
}

/// Rosenbrock 1960: `(1 − x)² + 100(y − x²)²`.
fn valley([x, y]: [f64; 2]) -> [[f64; 2]; 2] {
    let off = y - x * x;
    [
        [-2.0 * (1.0 - x) - 400.0 * x * off, 200.0 * off],
        [2.0 - 400.0 * off + 800.0 * x * x, 200.0],
    ]
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
    let mut layout = Layout::new();
    let group = layout.group(rule).unwrap();
    let p = layout.tensor(group, "p", &[2]).unwrap();
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
        let [gradient, curvature] = problem(position(&optimizer));
        optimizer
            .grad_mut(p)
            .unwrap()
            .copy_from_slice(&gradient.map(|g| g as f32));
        for input in &inputs {
            let values = curvature.map(|h| h as f32);
            optimizer
                .state_mut(p, input.name)
                .unwrap()
                .copy_from_slice(&values);
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
