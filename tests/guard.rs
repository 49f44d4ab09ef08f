//! What happens before and after the update: clipping, loss scaling, skipping, accumulation,
//! zeroing, averaging.

mod support;

use support::*;
use wgpu_optim::{
    Average, BufferRange, Buffers, Clip, DispatchLimits, Error, Gpu, Layout, LossScale, Optimizer,
    Options, Snapshot, Stats, Tensor, cpu, wgpu,
};

const TINY: DispatchLimits = DispatchLimits {
    binding_bytes: 16 * 1024,
    offset_alignment: 256,
    workgroups_per_dimension: 3,
};

const SIZES: [usize; 9] = [1, 3, 64, 65, 1023, 1024, 1025, 4097, 9001];

/// Several groups of rules that differ in how they use coefficients, state and history.
fn layout() -> Layout {
    let mut layout = Layout::new();
    let rules = ["adamw", "sgd", "adopt", "asgd", "sophia"];
    let groups = rules.map(|name| {
        let mut rule = rule(name);
        rule.set("lr", "0.01").unwrap();
        if name == "sgd" {
            rule.set("momentum", "0.9").unwrap();
            rule.set("maximize", "true").unwrap();
        }
        layout.group(rule).unwrap()
    });
    for (index, size) in SIZES.into_iter().enumerate() {
        for (of, group) in groups.into_iter().enumerate() {
            let name = format!("{index}.{of}");
            layout.tensor(group, &name, &[size]).unwrap();
        }
    }
    layout
}

/// A scale that both grows and shrinks within a few steps.
fn quick_scale() -> LossScale {
    LossScale {
        init_scale: 1024.0,
        growth_interval: 2,
        ..Default::default()
    }
}

/// Where parameters and gradients lie.
#[derive(Debug, Clone, Copy)]
enum Place {
    Arena,
    TinyArena,
    Ranges,
    OneAllocation,
}

impl Place {
    const ALL: [Self; 4] = [
        Self::Arena,
        Self::TinyArena,
        Self::Ranges,
        Self::OneAllocation,
    ];

    fn make(self, problem: &Problem, options: Options) -> Result<Optimizer, Error> {
        let device = &gpu().device;
        let limits = Some(TINY);
        let bytes = problem.packed_bytes();
        let over = |params, grads, options| {
            let grads = Some(grads);
            Optimizer::over(
                device,
                &problem.layout,
                Buffers {
                    params,
                    grads,
                    ..Default::default()
                },
                options,
            )
        };
        match self {
            Self::Arena => Optimizer::new(device, &problem.layout, options),
            Self::TinyArena => {
                Optimizer::new(device, &problem.layout, Options { limits, ..options })
            }
            Self::Ranges => {
                let (params, grads) = (buffer(bytes + 12), buffer(bytes + 16));
                let (params, grads) = (problem.packed(&params, 12), problem.packed(&grads, 16));
                over(params, grads, options)
            }
            Self::OneAllocation => {
                let both = buffer(2 * bytes + 4);
                let (params, grads) = (problem.packed(&both, 0), problem.packed(&both, bytes + 4));
                over(params, grads, Options { limits, ..options })
            }
        }
    }
}

/// The twin after all steps.
fn twin<T: cpu::Real>(problem: &Problem, options: &Options) -> cpu::Optimizer<T> {
    let mut twin = cpu::Optimizer::with_options(&problem.layout, options.clone()).unwrap();
    problem.replay(&mut twin, |_, _| Ok(())).unwrap();
    twin
}

fn params_of<T: cpu::Real>(problem: &Problem, twin: &cpu::Optimizer<T>) -> Vec<Vec<T>> {
    let read = |tensor| twin.param(tensor).unwrap().to_vec();
    problem.layout.tensors().map(read).collect()
}

fn write_grads(problem: &Problem, optimizer: &Optimizer, grads: &[Vec<f32>]) {
    for (tensor, values) in problem.layout.tensors().zip(grads) {
        optimizer.write_grad(&gpu().queue, tensor, values).unwrap();
    }
}

fn stats(optimizer: &Optimizer) -> Stats {
    let mut snapshot = None;
    submit(|encoder| snapshot = Some(optimizer.snapshot(encoder).unwrap()));
    arrived(&snapshot.unwrap())
}

fn arrived(snapshot: &Snapshot) -> Stats {
    loop {
        gpu()
            .device
            .poll(wgpu::PollType::wait_indefinitely())
            .unwrap();
        // Another test's thread may be at it, and not done yet.
        if let Some(stats) = snapshot.get().unwrap() {
            return stats;
        }
    }
}

fn assert_close(
    problem: &Problem,
    found: &[Vec<f32>],
    f32_twin: &[Vec<f32>],
    truth: &[Vec<f64>],
    label: &str,
) {
    for (index, found) in found.iter().enumerate() {
        let (error, budget) = (
            error(found, &truth[index]),
            budget(&f32_twin[index], &truth[index]),
        );
        let name = problem.layout.name(problem.tensors()[index]).unwrap();
        assert!(
            error <= budget,
            "{label}, {name}: error {error:e}, budget {budget:e}"
        );
    }
}

fn assert_same_stats(found: &Stats, twin: &Stats, label: &str) {
    assert_eq!(found.performed, twin.performed, "{label}");
    assert_eq!(found.skipped, twin.skipped, "{label}");
    assert_eq!(found.loss_scale, twin.loss_scale, "{label}");
    assert_eq!(found.good_steps, twin.good_steps, "{label}");
    assert_eq!(
        found.grad_norm.is_some(),
        twin.grad_norm.is_some(),
        "{label}"
    );
    if let (Some(found), Some(twin)) = (found.grad_norm, twin.grad_norm) {
        assert!(
            (found / twin - 1.0).abs() < 1e-5,
            "{label}: norm {found} is not {twin}"
        );
    }
    let off = found.clip_factor / twin.clip_factor - 1.0;
    assert!(
        off.abs() < 1e-5,
        "{label}: factor {} is not {}",
        found.clip_factor,
        twin.clip_factor
    );
    for (found, twin) in found.groups.iter().zip(&twin.groups) {
        assert_eq!(found.step_count, twin.step_count, "{label}");
        assert_eq!(found.skipped, twin.skipped, "{label}");
        assert!((found.lr - twin.lr).abs() < 1e-7, "{label}");
    }
}

/// Options of every kind, alone and together.
fn all_options() -> Vec<Options> {
    let default = Options::default;
    let average = |debias| Some(Average { decay: 0.8, debias });
    vec![
        Options {
            clip: Clip::GlobalNorm(1.0),
            ..default()
        },
        Options {
            clip: Clip::GlobalNorm(1e6),
            ..default()
        },
        Options {
            clip: Clip::Value(0.02),
            ..default()
        },
        Options {
            clip: Clip::TensorNorm(0.3),
            ..default()
        },
        Options {
            loss_scale: Some(quick_scale()),
            ..default()
        },
        Options {
            skip_non_finite: true,
            zero_grad: true,
            ..default()
        },
        Options {
            accumulate: 4,
            ..default()
        },
        Options {
            average: average(true),
            ..default()
        },
        Options {
            average: average(false),
            zero_grad: true,
            accumulate: 3,
            ..default()
        },
        Options {
            clip: Clip::GlobalNorm(2.0),
            loss_scale: Some(quick_scale()),
            accumulate: 3,
            zero_grad: true,
            average: average(true),
            ..default()
        },
        Options {
            clip: Clip::TensorNorm(0.05),
            loss_scale: Some(quick_scale()),
            accumulate: 3,
            zero_grad: true,
            average: average(false),
            ..default()
        },
    ]
}

#[test]
fn whatever_the_options_the_gpu_does_what_the_twin_does() {
    let mut problem = Problem::random(layout(), 7, 3);
    // Where steps are skipped, these are.
    let poisoned: [(usize, usize, f32); 3] =
        [(2, 0, f32::NAN), (5, 17, f32::INFINITY), (6, 40, f32::NAN)];
    for options in all_options() {
        let clean = problem.grads.clone();
        if options.skips() {
            for (step, tensor, bad) in poisoned {
                *problem.grads[step][tensor].last_mut().unwrap() = bad;
            }
        }
        let mut truth = twin::<f64>(&problem, &options);
        let mut f32_twin = twin::<f32>(&problem, &options);
        for place in Place::ALL {
            let label = format!("{options:?} in {place:?}");
            let mut optimizer = place.make(&problem, options.clone()).unwrap();
            problem.run(&mut optimizer);
            let check = |optimizer: &Optimizer, f32_twin: &cpu::Optimizer<f32>, truth: &_| {
                assert_close(
                    &problem,
                    &problem.read_params(optimizer),
                    &params_of(&problem, f32_twin),
                    &params_of(&problem, truth),
                    &label,
                );
            };
            check(&optimizer, &f32_twin, &truth);
            assert_same_stats(&stats(&optimizer), &truth.stats(), &label);
            if options.zero_grad {
                for tensor in problem.tensors() {
                    let grad = optimizer.read_grad_blocking(&gpu().queue, tensor).unwrap();
                    assert!(grad.iter().all(|g| *g == 0.0), "{label}");
                }
            }
            if options.average.is_some() {
                let trained = problem.read_params(&optimizer);
                submit(|encoder| optimizer.evaluate(encoder).unwrap());
                f32_twin.evaluate();
                truth.evaluate();
                check(&optimizer, &f32_twin, &truth);
                assert!(problem.read_params(&optimizer) != trained);
                submit(|encoder| optimizer.train(encoder).unwrap());
                f32_twin.train();
                truth.train();
                assert!(problem.read_params(&optimizer) == trained, "{label}");
            }
        }
        problem.grads = clean;
    }
}

/// All that a step may change: parameters, gradients, state by bits.
fn everything(problem: &Problem, optimizer: &Optimizer) -> Vec<Vec<u32>> {
    let queue = &gpu().queue;
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
    let mut all = Vec::new();
    for tensor in problem.tensors() {
        all.push(bits(optimizer.read_param_blocking(queue, tensor).unwrap()));
        all.push(bits(optimizer.read_grad_blocking(queue, tensor).unwrap()));
        let group = problem.layout.group_of(tensor).unwrap();
        let rule = problem.layout.rule(group).unwrap();
        for slot in element_slots(rule).into_iter().chain(["average"]) {
            all.push(bits(
                optimizer.read_state_blocking(queue, tensor, slot).unwrap(),
            ));
        }
    }
    all
}

/// Every seam of a tensor: ends, quads, blocks, windows of 16 KiB, spans.
fn seams(count: usize) -> Vec<usize> {
    let mut seams = vec![0, count - 1];
    for seam in [4, 64, 1024, 4096] {
        seams.extend([seam - 1, seam, count.saturating_sub(seam)]);
    }
    seams.retain(|&position| position < count);
    seams.sort_unstable();
    seams.dedup();
    seams
}

#[test]
fn one_bad_value_anywhere_makes_the_step_nothing() {
    let problem = Problem::random(layout(), 3, 4);
    let options = Options {
        clip: Clip::GlobalNorm(1.0),
        loss_scale: Some(LossScale::default()),
        average: Some(Average {
            decay: 0.9,
            debias: false,
        }),
        ..Default::default()
    };
    for place in [Place::Arena, Place::OneAllocation] {
        let mut optimizer = place.make(&problem, options.clone()).unwrap();
        problem.run(&mut optimizer);
        let mut before = stats(&optimizer);
        let bad = [
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::from_bits(0xff80_0001),
        ];
        let mut turn = 0;
        for (index, tensor) in problem.tensors().into_iter().enumerate() {
            for position in seams(problem.layout.element_count(tensor).unwrap()) {
                let label = format!("{place:?}, tensor {index} at {position}");
                let mut grads = problem.grads[0].clone();
                grads[index][position] = bad[turn % bad.len()];
                turn += 1;
                write_grads(&problem, &optimizer, &grads);
                // Looking at everything takes long: every few seams, and one of each tensor.
                let expected =
                    (turn % 7 == 0 || position == 0).then(|| everything(&problem, &optimizer));
                submit(|encoder| optimizer.step(encoder).unwrap());
                let after = stats(&optimizer);
                assert_eq!(after.performed, before.performed, "{label}");
                assert_eq!(after.skipped, before.skipped + 1, "{label}");
                let halved = (before.loss_scale / 2.0).max(f64::from(f32::MIN_POSITIVE));
                assert_eq!(after.loss_scale, halved, "{label}");
                for (after, before) in after.groups.iter().zip(&before.groups) {
                    assert_eq!(after.step_count, before.step_count, "{label}");
                }
                if let Some(expected) = expected {
                    assert!(everything(&problem, &optimizer) == expected, "{label}");
                }
                before = after;
            }
        }
        // And a good one is performed again.
        write_grads(&problem, &optimizer, &problem.grads[0]);
        submit(|encoder| optimizer.step(encoder).unwrap());
        assert_eq!(stats(&optimizer).performed, before.performed + 1);
    }
}

#[test]
fn a_skipped_first_step_leaves_the_first_step_to_come() {
    let mut problem = Problem::random(layout(), 5, 6);
    problem.grads[0][3][0] = f32::NAN;
    problem.grads[1][0][0] = f32::INFINITY;
    let options = Options {
        skip_non_finite: true,
        average: Some(Average {
            decay: 0.9,
            debias: false,
        }),
        ..Default::default()
    };
    let mut optimizer = Place::Arena.make(&problem, options.clone()).unwrap();
    problem.run(&mut optimizer);
    let without = Problem {
        layout: problem.layout.clone(),
        params: problem.params.clone(),
        grads: problem.grads[2..].to_vec(),
        rates: Vec::new(),
        inputs: problem.inputs[2..].to_vec(),
    };
    let mut expected = Place::Arena.make(&without, options).unwrap();
    without.run(&mut expected);
    assert!(everything(&problem, &optimizer) == everything(&without, &expected));
}

#[test]
fn before_a_step_is_performed_evaluation_changes_nothing() {
    let mut layout = Layout::new();
    let group = layout.group(rule("schedulefree_sgd")).unwrap();
    layout.tensor(group, "x", &[100]).unwrap();
    for average in [false, true] {
        let mut layout = layout.clone();
        if average {
            layout = Layout::new();
            let group = layout.group(rule("adam")).unwrap();
            layout.tensor(group, "x", &[100]).unwrap();
        }
        let mut problem = Problem::random(layout, 1, 1);
        problem.grads[0][0][99] = f32::NAN;
        let options = Options {
            skip_non_finite: true,
            average: average.then_some(Average {
                decay: 0.9,
                debias: true,
            }),
            ..Default::default()
        };
        let mut optimizer = Place::Arena.make(&problem, options.clone()).unwrap();
        problem.run(&mut optimizer);
        submit(|encoder| optimizer.evaluate(encoder).unwrap());
        assert!(problem.read_params(&optimizer) == problem.params);
        let mut twin = twin::<f32>(&problem, &options);
        twin.evaluate();
        assert!(params_of(&problem, &twin) == problem.params);
    }
}

fn norm_of(gradient: &[f32]) -> (f64, f64) {
    let mut layout = Layout::new();
    let group = layout.group(rule("sgd")).unwrap();
    layout.tensor(group, "x", &[gradient.len()]).unwrap();
    let options = Options {
        skip_non_finite: true,
        ..Default::default()
    };
    let mut optimizer = Optimizer::new(&gpu().device, &layout, options).unwrap();
    let tensor = layout.tensors().next().unwrap();
    optimizer
        .write_grad(&gpu().queue, tensor, gradient)
        .unwrap();
    submit(|encoder| optimizer.step(encoder).unwrap());
    let found = stats(&optimizer).grad_norm.unwrap();
    let truth = gradient
        .iter()
        .map(|g| f64::from(*g).powi(2))
        .sum::<f64>()
        .sqrt();
    (found, truth)
}

#[test]
fn norms_are_right_for_every_finite_gradient() {
    let mut rng = random(5);
    for count in [1, 5, 1025, 300_000] {
        for magnitude in [
            1e-30, 1e-20, 1e-13, 1e-12, 1e-5, 1.0, 1e10, 1e14, 1e15, 1e20, 1e30, 3e38,
        ] {
            let mut gradient = random_params(&mut rng, count);
            gradient.iter_mut().for_each(|g| *g *= magnitude);
            gradient[count / 2] = magnitude;
            let (found, truth) = norm_of(&gradient);
            assert!(
                (found / truth - 1.0).abs() < 1e-5,
                "{count} of {magnitude}: {found} is not {truth}"
            );
        }
    }
    assert_eq!(norm_of(&[0.0; 70]), (0.0, 0.0));
    // Magnitudes over all of f32 at once.
    let mixed: Vec<f32> = (0..4000)
        .map(|i| 10f32.powf((i % 68) as f32 - 30.0))
        .collect();
    let (found, truth) = norm_of(&mixed);
    assert!((found / truth - 1.0).abs() < 1e-5, "{found} is not {truth}");
}

#[test]
fn norms_of_groups_of_extreme_and_of_common_size_are_added() {
    for sizes in [
        [1e38, 1.0],
        [1e-30, 1.0],
        [1e-30, 1e30],
        [2e-25, 1e-25],
        [3e38, 2e38],
    ] {
        let mut layout = Layout::new();
        for index in 0..2 {
            let group = layout.group(rule("sgd")).unwrap();
            layout.tensor(group, &format!("{index}"), &[100]).unwrap();
        }
        let mut problem = Problem::random(layout, 1, 1);
        for (grad, size) in problem.grads[0].iter_mut().zip(sizes) {
            grad.fill(size as f32);
        }
        let options = Options {
            skip_non_finite: true,
            ..Default::default()
        };
        let mut optimizer = Place::Arena.make(&problem, options).unwrap();
        problem.run(&mut optimizer);
        let truth = 10.0 * f64::hypot(f64::from(sizes[0] as f32), f64::from(sizes[1] as f32));
        let found = stats(&optimizer).grad_norm.unwrap();
        assert!(
            (found / truth - 1.0).abs() < 1e-5,
            "{sizes:?}: {found} is not {truth}"
        );
    }
}

#[test]
fn gradients_of_any_size_are_clipped_to_the_norm() {
    for size in [1e-25f32, 1e-6, 1.0, 1e19, 1e30, 3e38] {
        for clip in [Clip::GlobalNorm(1e-3), Clip::TensorNorm(1e-3)] {
            let mut layout = Layout::new();
            let mut sgd = rule("sgd");
            sgd.set("lr", "1").unwrap();
            let group = layout.group(sgd).unwrap();
            layout.tensor(group, "x", &[256]).unwrap();
            let mut problem = Problem::random(layout, 1, 1);
            problem.params[0].fill(0.0);
            problem.grads[0][0].fill(size);
            let options = Options {
                clip,
                ..Default::default()
            };
            let mut optimizer = Place::Arena.make(&problem, options.clone()).unwrap();
            problem.run(&mut optimizer);
            let truth = params_of(&problem, &twin::<f64>(&problem, &options));
            let found = f64::from(problem.read_params(&optimizer)[0][0]);
            let expected = truth[0][0];
            assert!(
                (found / expected - 1.0).abs() < 1e-5,
                "{clip:?} of {size}: {found} is not {expected}"
            );
        }
    }
}

/// Tensors whose norms one thread adds up lie among others that take a workgroup.
#[test]
fn each_tensor_is_clipped_by_its_own_norm_whatever_its_size_and_its_neighbours() {
    const MOST: f64 = 1e-3;
    let magnitudes = [1.0, 1e-25, 1e30, 1e-5, 3e38, 1e-12];
    let counts = [
        1, 64, 130_000, 3, 16_384, 40_001, 32_771, 70_003, 257, 65_536,
    ];
    for place in Place::ALL {
        let mut layout = Layout::new();
        let mut sgd = rule("sgd");
        sgd.set("lr", "1").unwrap();
        let group = layout.group(sgd).unwrap();
        for (index, count) in counts.into_iter().cycle().take(130).enumerate() {
            // Most of 130 tensors are small, so that they take several workgroups together.
            let count = if index < counts.len() {
                count
            } else {
                count % 300
            };
            layout
                .tensor(group, &index.to_string(), &[count.max(1)])
                .unwrap();
        }
        let mut problem = Problem::random(layout, 1, 4);
        problem.params.iter_mut().for_each(|param| param.fill(0.0));
        for (index, grad) in problem.grads[0].iter_mut().enumerate() {
            let magnitude = magnitudes[index % magnitudes.len()];
            grad.iter_mut()
                .for_each(|g| *g = magnitude * g.clamp(-1.0, 1.0));
        }
        let options = Options {
            clip: Clip::TensorNorm(MOST),
            ..Default::default()
        };
        let mut optimizer = place.make(&problem, options).unwrap();
        problem.run(&mut optimizer);
        let found = problem.read_params(&optimizer);
        for (index, (param, grad)) in found.iter().zip(&problem.grads[0]).enumerate() {
            let squares = grad.iter().map(|g| f64::from(*g).powi(2));
            let norm = squares.sum::<f64>().sqrt();
            let factor = (MOST / (norm + 1e-6)).min(1.0);
            for (p, g) in param.iter().zip(grad) {
                let expected = -f64::from(*g) * factor;
                // Below the normal numbers, devices may flush to zero.
                let allowed = 1e-5 * expected.abs() + 1.2e-38;
                assert!(
                    (f64::from(*p) - expected).abs() <= allowed,
                    "{place:?}: tensor {index} of {}: {p} is not {expected}",
                    grad.len()
                );
            }
        }
    }
}

#[test]
fn steps_in_one_encoder_are_those_of_as_many_submissions() {
    let problem = Problem::random(layout(), 1, 8);
    let options = Options {
        clip: Clip::GlobalNorm(1.0),
        loss_scale: Some(quick_scale()),
        ..Default::default()
    };
    let groups: Vec<_> = problem.layout.groups().collect();
    let mut results = Vec::new();
    for together in [true, false] {
        let mut optimizer = Place::Arena.make(&problem, options.clone()).unwrap();
        problem.write_params(&mut optimizer);
        write_grads(&problem, &optimizer, &problem.grads[0]);
        let Gpu { device, queue, .. } = gpu();
        let mut encoder = device.create_command_encoder(&Default::default());
        for step in 0..9 {
            for &group in &groups {
                optimizer.set_lr(group, 0.1 / f64::from(step + 1)).unwrap();
            }
            optimizer.step(&mut encoder).unwrap();
            if !together {
                queue.submit([encoder.finish()]);
                encoder = device.create_command_encoder(&Default::default());
            }
        }
        queue.submit([encoder.finish()]);
        results.push((problem.read_params(&optimizer), stats(&optimizer)));
    }
    assert!(results[0] == results[1]);
}

#[test]
fn frozen_groups_neither_count_nor_change() {
    let mut problem = Problem::random(layout(), 3, 9);
    let frozen = problem.layout.groups().nth(1).unwrap();
    let is_frozen = |tensor: Tensor| problem.layout.group_of(tensor) == Ok(frozen);
    let of_group: Vec<_> = (0..problem.tensors().len())
        .filter(|&index| is_frozen(problem.tensors()[index]))
        .collect();
    for step in 0..3 {
        for &index in &of_group {
            problem.grads[step][index].fill([f32::NAN, 1e9, f32::NAN][step]);
        }
    }
    let options = Options {
        clip: Clip::GlobalNorm(1.0),
        zero_grad: true,
        ..Default::default()
    };
    let mut optimizer = Place::Arena.make(&problem, options.clone()).unwrap();
    let mut twin = cpu::Optimizer::<f64>::with_options(&problem.layout, options).unwrap();
    problem.write_params(&mut optimizer);
    for (step, grads) in problem.grads.iter().enumerate() {
        write_grads(&problem, &optimizer, grads);
        for (tensor, values) in problem.layout.tensors().zip(grads) {
            for (to, from) in twin.grad_mut(tensor).unwrap().iter_mut().zip(values) {
                *to = f64::from(*from);
            }
        }
        // It takes part in the first step, which is skipped for its sake; what was found of it then
        // does not count any more.
        optimizer.set_frozen(frozen, step > 0).unwrap();
        twin.set_frozen(frozen, step > 0).unwrap();
        submit(|encoder| optimizer.step(encoder).unwrap());
        twin.step().unwrap();
    }
    assert_same_stats(&stats(&optimizer), &twin.stats(), "one group frozen");
    assert_eq!((twin.stats().performed, twin.stats().skipped), (2, 1));
    for index in of_group {
        let tensor = problem.tensors()[index];
        assert!(problem.read_params(&optimizer)[index] == problem.params[index]);
        let grad = optimizer.read_grad_blocking(&gpu().queue, tensor).unwrap();
        assert!(grad.iter().all(|g| g.is_nan()));
    }
}

#[test]
fn a_snapshot_arrives_while_training_goes_on() {
    let problem = Problem::random(layout(), 1, 2);
    let options = Options {
        clip: Clip::GlobalNorm(1.0),
        ..Default::default()
    };
    let mut optimizer = Place::Arena.make(&problem, options).unwrap();
    write_grads(&problem, &optimizer, &problem.grads[0]);
    let Gpu { device, queue, .. } = gpu();
    let mut encoder = device.create_command_encoder(&Default::default());
    optimizer.step(&mut encoder).unwrap();
    let snapshot = optimizer.snapshot(&mut encoder).unwrap();
    // The same encoder goes on: the snapshot is of its moment.
    optimizer.step(&mut encoder).unwrap();
    assert_eq!(snapshot.get(), Ok(None));
    queue.submit([encoder.finish()]);
    for _ in 0..3 {
        submit(|encoder| optimizer.step(encoder).unwrap());
    }
    assert_eq!(arrived(&snapshot).performed, 1);
    assert_eq!(stats(&optimizer).performed, 5);
}

#[test]
fn the_scale_can_be_bound_by_the_callers_shaders() {
    let problem = Problem::random(layout(), 1, 2);
    let options = Options {
        loss_scale: Some(LossScale::default()),
        ..Default::default()
    };
    let optimizer = Place::Arena.make(&problem, options).unwrap();
    let range = optimizer.loss_scale();
    let Gpu { device, queue, .. } = gpu();
    assert_eq!(
        wgpu_optim::read_blocking(device, queue, &range).unwrap(),
        [65536.0]
    );
    let limits = device.limits();
    assert_eq!(
        range.offset % u64::from(limits.min_storage_buffer_offset_alignment),
        0
    );
    assert!(range.buffer.usage().contains(wgpu::BufferUsages::STORAGE));
}

#[test]
fn a_tensors_factor_is_its_own_wherever_its_window_begins() {
    let mut layout = Layout::new();
    let group = layout.group(rule("sgd")).unwrap();
    // The first one's last three elements and the second tensor are moved one by one, together.
    layout.tensor(group, "weight", &[103]).unwrap();
    layout.tensor(group, "bias", &[3]).unwrap();
    let problem = Problem::random(layout, 2, 3);
    let options = Options {
        clip: Clip::TensorNorm(0.01),
        limits: Some(DispatchLimits {
            offset_alignment: 32.max(u64::from(
                gpu().device.limits().min_storage_buffer_offset_alignment,
            )),
            ..DispatchLimits::of(&gpu().device.limits())
        }),
        ..Default::default()
    };
    let bytes = problem.packed_bytes();
    let (params, grads) = (buffer(bytes), buffer(bytes));
    let buffers = Buffers {
        params: problem.packed(&params, 0),
        grads: Some(problem.packed(&grads, 0)),
        ..Default::default()
    };
    let found = problem.run(&mut problem.over(buffers, options.clone()));
    assert_close(
        &problem,
        &found,
        &params_of(&problem, &twin::<f32>(&problem, &options)),
        &params_of(&problem, &twin::<f64>(&problem, &options)),
        "unaligned",
    );
}

#[test]
fn a_count_that_is_set_is_known_at_once_though_the_next_step_is_skipped() {
    let mut layout = Layout::new();
    let group = layout.group(rule("adam")).unwrap();
    layout.tensor(group, "x", &[100]).unwrap();
    let mut problem = Problem::random(layout, 1, 1);
    problem.grads[0][0][0] = f32::NAN;
    let options = Options {
        skip_non_finite: true,
        average: Some(Average {
            decay: 0.9,
            debias: false,
        }),
        ..Default::default()
    };
    let mut optimizer = Place::Arena.make(&problem, options).unwrap();
    let tensor = problem.tensors()[0];
    let queue = &gpu().queue;
    let average = [7.0; 100];
    optimizer
        .write_state(queue, tensor, "average", &average)
        .unwrap();
    optimizer.set_step_count(group, 1000).unwrap();
    assert_eq!(stats(&optimizer).groups[0].step_count, 1000);
    problem.run(&mut optimizer);
    let after = stats(&optimizer).groups[0];
    assert_eq!((after.step_count, after.skipped), (1000, 1));
    submit(|encoder| optimizer.evaluate(encoder).unwrap());
    assert_eq!(problem.read_params(&optimizer)[0], average);
}

#[test]
fn a_dropped_encoder_after_a_skipped_step_leaves_no_step_without_coefficients() {
    let mut layout = Layout::new();
    let group = layout.group(rule("adam")).unwrap();
    layout.tensor(group, "x", &[1]).unwrap();
    let problem = Problem::random(layout, 1, 1);
    let options = Options {
        skip_non_finite: true,
        ..Default::default()
    };
    let mut optimizer = Place::Arena.make(&problem, options).unwrap();
    problem.write_params(&mut optimizer);
    write_grads(&problem, &optimizer, &[vec![f32::NAN]]);
    submit(|encoder| optimizer.step(encoder).unwrap());
    write_grads(&problem, &optimizer, &[vec![1.0]]);
    let mut dropped = gpu().device.create_command_encoder(&Default::default());
    optimizer.step(&mut dropped).unwrap();
    drop(dropped);
    submit(|encoder| optimizer.step(encoder).unwrap());
    assert!(problem.read_params(&optimizer) != problem.params);
}

#[test]
fn a_snapshot_of_a_dropped_encoder_says_that_it_will_not_come() {
    let problem = Problem::random(layout(), 1, 1);
    let optimizer = Place::Arena.make(&problem, Options::default()).unwrap();
    let mut encoder = gpu().device.create_command_encoder(&Default::default());
    let snapshot = optimizer.snapshot(&mut encoder).unwrap();
    assert_eq!(snapshot.get(), Ok(None));
    drop(encoder);
    let error = snapshot.get().unwrap_err().to_string();
    assert!(error.contains("dropped"), "{error}");
}

#[test]
fn a_snapshot_of_a_refused_submission_says_so() {
    let problem = Problem::random(layout(), 1, 1);
    let optimizer = Place::Arena.make(&problem, Options::default()).unwrap();
    let Gpu { device, queue, .. } = gpu();
    let mut encoder = device.create_command_encoder(&Default::default());
    let snapshot = optimizer.snapshot(&mut encoder).unwrap();
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    // The caller's own mistake: a copy from a buffer that was destroyed.
    let buffer = buffer(64);
    encoder.copy_buffer_to_buffer(
        &buffer,
        0,
        &optimizer.param(problem.tensors()[0]).unwrap().buffer,
        0,
        4,
    );
    buffer.destroy();
    queue.submit([encoder.finish()]);
    assert!(pollster::block_on(scope.pop()).is_some());
    device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    let error = snapshot.get().unwrap_err();
    assert!(matches!(error, Error::Wgpu { .. }), "{error}");
}

#[test]
fn an_estimate_that_was_not_announced_does_not_reach_the_curvature() {
    let problem = Problem::of_sizes(rule("sophia"), &[5], 2);
    let mut optimizer = problem.in_arena(Options::default());
    let mut twin = problem.twin::<f32>();
    problem.run(&mut optimizer);
    let tensor = problem.tensors()[0];
    let bad = [f32::INFINITY; 5];
    let queue = &gpu().queue;
    optimizer
        .write_state(queue, tensor, "hessian_estimate", &bad)
        .unwrap();
    twin.state_mut(tensor, "hessian_estimate")
        .unwrap()
        .copy_from_slice(&bad);
    submit(|encoder| optimizer.step(encoder).unwrap());
    twin.step().unwrap();
    let found = optimizer
        .read_state_blocking(queue, tensor, "hessian")
        .unwrap();
    assert!(found.iter().all(|h| h.is_finite()), "{found:?}");
    let found = twin.state(tensor, "hessian").unwrap();
    assert!(found.iter().all(|h| h.is_finite()), "{found:?}");
}

#[test]
fn training_goes_on_from_a_loss_scale_that_was_saved() {
    let problem = Problem::random(layout(), 2, 2);
    let options = Options {
        loss_scale: Some(quick_scale()),
        ..Default::default()
    };
    let mut optimizer = Place::Arena.make(&problem, options.clone()).unwrap();
    let queue = &gpu().queue;
    // One good step more lets it grow, and the next is the first of the new scale.
    optimizer.set_loss_scale(queue, 32.0, 1).unwrap();
    problem.run(&mut optimizer);
    let mut twin = cpu::Optimizer::<f64>::with_options(&problem.layout, options).unwrap();
    twin.set_loss_scale(32.0, 1).unwrap();
    problem.replay(&mut twin, |_, _| Ok(())).unwrap();
    assert_same_stats(&stats(&optimizer), &twin.stats(), "from 32");
    assert_eq!((twin.loss_scale(), twin.stats().good_steps), (64.0, 1));
    for (scale, good_steps) in [
        (0.0, 0),
        (f64::NAN, 0),
        (f64::INFINITY, 0),
        (1e-40, 0),
        (2f64.powi(127), 0),
        (2f64.powi(126) * 1.0001, 0),
        (2.0, 2),
    ] {
        let of_twin = twin.set_loss_scale(scale, good_steps).unwrap_err();
        let on_gpu = optimizer
            .set_loss_scale(queue, scale, good_steps)
            .unwrap_err();
        assert_eq!(of_twin.to_string(), on_gpu.to_string());
        assert!(matches!(on_gpu, Error::Hyperparameter { .. }), "{on_gpu}");
    }
    assert_eq!(stats(&optimizer).loss_scale, 64.0);
    let mut without = cpu::Optimizer::<f64>::new(&problem.layout).unwrap();
    assert!(without.set_loss_scale(2.0, 0).is_err());
    let without = Place::Arena.make(&problem, Options::default()).unwrap();
    assert!(without.set_loss_scale(queue, 2.0, 0).is_err());
}

#[test]
fn a_scale_that_cannot_be_used_skips_a_step_and_is_the_first_one_again() {
    let problem = Problem::random(layout(), 1, 2);
    let options = Options {
        loss_scale: Some(quick_scale()),
        ..Default::default()
    };
    let Gpu { device, queue, .. } = gpu();
    let limit = 2f32.powi(126);
    for (scale, accumulate) in [0.0, -0.0, -4.0, 1e-40, f32::NAN, f32::INFINITY]
        .map(|scale| (scale, 1))
        .into_iter()
        .chain([(limit.next_up(), 1), (f32::MAX, 1)])
        .chain([(limit / 2.0, 4), ((limit / 3.0).next_up(), 3)])
    {
        let options = Options {
            accumulate,
            ..options.clone()
        };
        let mut optimizer = Place::Arena.make(&problem, options).unwrap();
        problem.write_params(&mut optimizer);
        problem.write_step(&mut optimizer, 0);
        wgpu_optim::write(device, queue, &optimizer.loss_scale(), &[scale]).unwrap();
        let written = stats(&optimizer).loss_scale;
        assert!(written == f64::from(scale) || scale.is_nan(), "{written}");
        submit(|encoder| optimizer.step(encoder).unwrap());
        assert_eq!(problem.read_params(&optimizer), problem.params, "{scale}");
        let found = stats(&optimizer);
        assert_eq!((found.performed, found.skipped), (0, 1), "{scale}");
        assert_eq!((found.loss_scale, found.good_steps), (1024.0, 0), "{scale}");
        submit(|encoder| optimizer.step(encoder).unwrap());
        assert_eq!(stats(&optimizer).performed, 1, "{scale}");
        assert!(problem.read_params(&optimizer) != problem.params, "{scale}");
    }
}

#[test]
fn gradients_that_come_per_step_are_guarded_too() {
    let mut problem = Problem::random(layout(), 6, 2);
    problem.grads[3][7][0] = f32::NAN;
    problem.inputs.clear();
    let options = Options {
        clip: Clip::TensorNorm(0.5),
        loss_scale: Some(quick_scale()),
        zero_grad: true,
        ..Default::default()
    };
    let bytes = problem.packed_bytes();
    let params = buffer(bytes);
    let params = problem.packed(&params, 0);
    let mut optimizer = Optimizer::over(
        &gpu().device,
        &problem.layout,
        Buffers {
            params,
            grads: None,
            ..Default::default()
        },
        options.clone(),
    )
    .unwrap();
    problem.write_params(&mut optimizer);
    let sets: Vec<Vec<BufferRange>> = (0..3u64)
        .map(|turn| problem.packed(&buffer(bytes + 4 * turn), 4 * turn))
        .collect();
    for (step, grads) in problem.grads.iter().enumerate() {
        let ranges = &sets[step % sets.len()];
        for (range, values) in ranges.iter().zip(grads) {
            wgpu_optim::write(&gpu().device, &gpu().queue, range, values).unwrap();
        }
        submit(|encoder| optimizer.step_with(encoder, ranges).unwrap());
    }
    let truth = twin::<f64>(&problem, &options);
    assert_close(
        &problem,
        &problem.read_params(&optimizer),
        &params_of(&problem, &twin::<f32>(&problem, &options)),
        &params_of(&problem, &truth),
        "per step",
    );
    assert_same_stats(&stats(&optimizer), &truth.stats(), "per step");
}

#[test]
fn what_does_not_go_together_is_refused() {
    let mut layout = Layout::new();
    let group = layout.group(rule("schedulefree_adamw")).unwrap();
    layout.tensor(group, "x", &[3]).unwrap();
    let average = Some(Average {
        decay: 0.9,
        debias: true,
    });
    let options = Options {
        average,
        ..Default::default()
    };
    for error in [
        Optimizer::new(&gpu().device, &layout, options.clone()).unwrap_err(),
        cpu::Optimizer::<f32>::with_options(&layout, options).unwrap_err(),
    ] {
        assert!(
            error
                .to_string()
                .contains("schedulefree_adamw averages by itself"),
            "{error}"
        );
    }
    // One gradient of two tensors, zeroed by the first that is updated.
    let mut layout = Layout::new();
    let group = layout.group(rule("sgd")).unwrap();
    layout.tensor(group, "a", &[4]).unwrap();
    layout.tensor(group, "b", &[4]).unwrap();
    let (params, grad) = (buffer(32), BufferRange::whole(&buffer(16)));
    let buffers = || Buffers {
        params: [0, 16]
            .map(|offset| BufferRange {
                buffer: params.clone(),
                offset,
                size: 16,
            })
            .to_vec(),
        grads: Some(vec![grad.clone(), grad.clone()]),
        ..Default::default()
    };
    let over = |options| Optimizer::over(&gpu().device, &layout, buffers(), options);
    over(Options::default()).unwrap();
    let error = over(Options {
        zero_grad: true,
        ..Default::default()
    })
    .unwrap_err();
    assert!(error.to_string().contains("gradient of \"a\""), "{error}");
}
