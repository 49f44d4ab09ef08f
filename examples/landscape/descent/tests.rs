//! Descents from end to end, without a command line.

use flags::RuleText;
use wgpu_optim::{Gpu, GpuOptions, rules};

use super::cpu::OnCpu;
use super::gpu::{OnGpu, probe};
use super::*;
use crate::functions;

fn rule(text: &str) -> Box<dyn Rule> {
    text.parse::<RuleText>().unwrap().rule(&[]).unwrap()
}

/// Each with a learning rate that no function's slopes are too steep for.
fn all_rules() -> Vec<&'static str> {
    let text = |name| match name {
        "schedulefree_sgd" => "schedulefree_sgd:lr=0.001",
        name => name,
    };
    rules::names().map(text).collect()
}

fn plan<'a>(function: &'a dyn Function, texts: &[&str], starts: &[Point]) -> Plan<'a> {
    let entrants = texts.iter().map(|text| Entrant {
        rule: rule(text),
        schedule: Schedule::Constant,
        starts: starts.to_vec(),
    });
    Plan {
        function,
        entrants: entrants.collect(),
        steps: 100,
        every: 1,
        noise: None,
    }
}

fn frames(mut descent: impl Descent) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some(chunk) = descent.advance().unwrap() {
        frames.extend(chunk.frames);
    }
    frames
}

fn on_gpu(plan: Plan<'_>) -> Vec<Frame> {
    let Gpu { device, queue, .. } = Gpu::open_blocking(&GpuOptions::default()).unwrap();
    frames(pollster::block_on(OnGpu::new(&device, &queue, plan)).unwrap())
}

fn on_cpu(plan: Plan<'_>) -> Vec<Frame> {
    frames(OnCpu::<f32>::new(plan).unwrap())
}

/// Fails where any position differs by more than `most`.
fn check_near(found: &[Frame], truth: &[Frame], most: f64) {
    assert_eq!(found.len(), truth.len());
    for (found, truth) in found.iter().zip(truth) {
        assert_eq!(found.step, truth.step);
        assert_eq!(found.positions.len(), truth.positions.len());
        for (index, (p, q)) in found.positions.iter().zip(&truth.positions).enumerate() {
            let missed = [0, 1].map(|axis| (p[axis] - q[axis]).abs());
            assert!(
                missed[0].max(missed[1]) < most,
                "point {index} at step {}: {p:?} instead of {q:?}",
                found.step
            );
        }
    }
}

/// Adam by its formulas in f64, with nothing of the library's.
struct PlainAdam {
    decay: f64,
    amsgrad: bool,
}

impl PlainAdam {
    fn path(&self, start: Point, steps: u64) -> Vec<Point> {
        let (lr, beta1, beta2, eps) = (1e-3, 0.9f64, 0.999f64, 1e-8);
        let [mut m, mut v, mut most] = [[0.0; 2]; 3];
        let mut p = start;
        let mut path = Vec::new();
        for t in 1..=steps as i32 {
            let [x, y] = p;
            let g = [
                -2.0 * (1.0 - x) - 400.0 * x * (y - x * x),
                200.0 * (y - x * x),
            ];
            for i in 0..2 {
                m[i] = beta1 * m[i] + (1.0 - beta1) * g[i];
                v[i] = beta2 * v[i] + (1.0 - beta2) * g[i] * g[i];
                most[i] = f64::max(most[i], v[i]);
                let square = if self.amsgrad { most[i] } else { v[i] };
                let m_hat = m[i] / (1.0 - beta1.powi(t));
                let v_hat = square / (1.0 - beta2.powi(t));
                p[i] -= lr * self.decay * p[i];
                p[i] -= lr * m_hat / (v_hat.sqrt() + eps);
            }
            path.push(p);
        }
        path
    }
}

#[test]
fn adam_adamw_and_amsgrad_follow_their_formulas_down_rosenbrocks_valley() {
    let rosenbrock = functions::by_name("rosenbrock").unwrap();
    let start = [1.5, 1.5];
    let texts = ["adam", "adamw", "adam:amsgrad=max_raw"];
    let truths = [(0.0, false), (0.01, false), (0.0, true)];
    let paths = truths.map(|(decay, amsgrad)| PlainAdam { decay, amsgrad }.path(start, 1000));
    let truth = (1..=1000).map(|step| Frame {
        step,
        positions: paths.iter().map(|path| path[step as usize - 1]).collect(),
    });
    let truth: Vec<_> = truth.collect();
    let plan = || Plan {
        steps: 1000,
        ..plan(&*rosenbrock, &texts, &[start])
    };
    check_near(&on_gpu(plan()), &truth, 1e-4);
    check_near(&on_cpu(plan()), &truth, 1e-4);
    check_near(&frames(OnCpu::<f64>::new(plan()).unwrap()), &truth, 1e-11);
}

#[test]
fn every_rule_goes_the_same_way_on_both_devices() {
    let function = functions::by_name("himmelblau").unwrap();
    let names = all_rules();
    let starts = [[3.5, 2.5], [-2.5, 3.5], [4.0, -1.0]];
    let plan = || Plan {
        steps: 20,
        ..plan(&*function, &names, &starts)
    };
    check_near(&on_gpu(plan()), &on_cpu(plan()), 1e-4);
}

#[test]
fn no_point_looks_at_another() {
    let function = functions::by_name("beale").unwrap();
    let names = all_rules();
    let starts = [[0.5, 0.25], [-1.0, 2.0], [4.0, -1.0]];
    let plan = |starts| Plan {
        steps: 20,
        ..plan(&*function, &names, starts)
    };
    let together = on_gpu(plan(&starts));
    let alone = on_gpu(plan(&starts[1..2]));
    for (together, alone) in together.iter().zip(&alone) {
        let second: Vec<_> = together.positions[1..].iter().step_by(3).copied().collect();
        assert_eq!(second, alone.positions, "step {}", alone.step);
    }
}

#[test]
fn every_rule_takes_functions_of_one_variable() {
    let function = functions::by_name("cosh").unwrap();
    let names = all_rules();
    let plan = || Plan {
        steps: 10,
        ..plan(&*function, &names, &[[2.0, 0.0]])
    };
    let found = on_gpu(plan());
    check_near(&found, &on_cpu(plan()), 1e-4);
    assert!(
        found
            .iter()
            .flat_map(|frame| &frame.positions)
            .all(|p| p[1] == 0.0)
    );
}

#[test]
fn newtons_method_needs_a_few_steps_where_the_curvature_grows_with_the_slope() {
    let function = functions::by_name("cosh").unwrap();
    let plan = || plan(&*function, &["newton", "newton_dense"], &[[9.0, 0.0]]);
    for frames in [on_gpu(plan()), on_cpu(plan())] {
        for [x, _] in &frames[8].positions {
            assert!(x.abs() < 1e-5, "{:?}", frames[8]);
        }
    }
}

#[test]
fn dense_newton_takes_one_step_down_a_quadratic_whatever_its_condition() {
    let quadratic = functions::by_name("quadratic").unwrap();
    let steep = quadratic.with_condition(1000.0).unwrap();
    for frames in [
        on_gpu(plan(&*steep, &["newton_dense"], &[[-4.0, 2.0]])),
        on_cpu(plan(&*steep, &["newton_dense"], &[[-4.0, 2.0]])),
    ] {
        assert!(
            frames[0].positions[0].iter().all(|x| x.abs() < 1e-4),
            "{:?}",
            frames[0]
        );
    }
}

#[test]
fn each_rules_schedule_takes_its_learning_rate_along_on_both_devices() {
    let function = functions::by_name("saddle").unwrap();
    let texts = ["sgd:lr=0.25"; 3];
    let plan = || {
        let mut plan = Plan {
            steps: 3,
            ..plan(&*function, &texts, &[[1.0, 0.0]])
        };
        plan.entrants[1].schedule = Schedule::Exponential { gamma: 0.5 };
        plan.entrants[2].schedule = Schedule::Step {
            every: 2,
            gamma: 0.0,
        };
        plan
    };
    // x ← x − lr·2x: half each time, as the rate is halved, and twice.
    let expected = [0.125, 0.5 * 0.75 * 0.875, 0.25].map(|x| [x, 0.0]);
    for frames in [on_cpu(plan()), on_gpu(plan())] {
        assert_eq!(frames[2].positions, expected);
    }
}

#[test]
fn the_last_position_is_kept_beside_each_nth() {
    let function = functions::by_name("saddle").unwrap();
    let plan = || Plan {
        every: 40,
        ..plan(&*function, &["sgd"], &[[1.0, 0.0]])
    };
    for frames in [on_cpu(plan()), on_gpu(plan())] {
        let steps: Vec<_> = frames.iter().map(|frame| frame.step).collect();
        assert_eq!(steps, [40, 80, 100]);
    }
}

#[test]
fn noise_is_normal_and_no_two_draws_go_together() {
    const COUNT: u32 = 20_000;
    let draws: Vec<_> = (0..COUNT)
        .flat_map(|step| noise::normals(1, step, 3))
        .map(f64::from)
        .collect();
    let mean = |values: &mut dyn Iterator<Item = f64>| {
        let (sum, count) = values.fold((0.0, 0.0), |(sum, count), x| (sum + x, count + 1.0));
        sum / count
    };
    let moment = |power| mean(&mut draws.iter().map(|x| x.powi(power)));
    assert!(moment(1).abs() < 0.02, "mean {}", moment(1));
    assert!((moment(2) - 1.0).abs() < 0.03, "variance {}", moment(2));
    // Twelve uniform numbers: 0.1 below a normal distribution's 3.
    assert!((moment(4) - 2.9).abs() < 0.15, "kurtosis {}", moment(4));
    for lag in [1, 2, 3] {
        let together = mean(&mut draws.iter().zip(&draws[lag..]).map(|(a, b)| a * b));
        assert!(together.abs() < 0.02, "lag {lag}: {together}");
    }
    let seeds = (0..COUNT).map(|step| {
        let [a, b] = [1, 2].map(|seed| noise::normals(seed, step, 3)[0]);
        f64::from(a * b)
    });
    assert!(mean(&mut seeds.into_iter()).abs() < 0.03);
}

#[test]
fn noise_is_the_same_to_the_bit_on_the_gpu() {
    const MAIN: &str = "
        @group(0) @binding(0) var<storage, read> keys: array<vec4<u32>>;
        @group(0) @binding(1) var<storage, read_write> drawn: array<vec2<f32>>;

        @compute @workgroup_size(1)
        fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            let key = keys[id.x];
            drawn[id.x] = normals(key.x, key.y, key.z);
        }";
    let keys = (0..2000u32).map(|i| [i.wrapping_mul(0x9e37_79b9), i % 7, u32::MAX - i, 0]);
    let keys: Vec<_> = keys.collect();
    let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
    let wgsl = format!("{}\n{MAIN}", include_str!("noise.wgsl"));
    let input = bytemuck::cast_slice(&keys);
    let drawn = probe::run(&gpu, &wgsl, &[], input, 2 * keys.len(), keys.len());
    let drawn = drawn.as_chunks::<2>().0;
    for (&[seed, step, start, _], drawn) in keys.iter().zip(drawn) {
        let truth = noise::normals(seed, step, start).map(f32::to_bits);
        assert_eq!(drawn.map(f32::to_bits), truth, "{seed} {step} {start}");
    }
}

#[test]
fn noise_depends_on_seed_step_and_start_and_on_nothing_else() {
    let function = functions::by_name("himmelblau").unwrap();
    let plan = |seed| Plan {
        noise: Some(Noise { sigma: 5.0, seed }),
        ..plan(
            &*function,
            &["sgd", "sgd", "prodigy"],
            &[[0.0, 0.0], [0.0, 0.0]],
        )
    };
    let found = on_gpu(plan(1));
    check_near(&found, &on_cpu(plan(1)), 1e-3);
    let last = |frames: &[Frame]| frames.last().unwrap().positions.clone();
    let positions = last(&found);
    // The same for each rule, another for each start.
    assert_eq!(positions[..2], positions[2..4]);
    assert_ne!(positions[0], positions[1]);
    assert_ne!(positions[4], positions[5]);
    assert_ne!(last(&on_gpu(plan(2))), positions);
}
