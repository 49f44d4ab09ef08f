//! What happens before and after the update: clipping, loss scaling, skipping, accumulation,
//! zeroing, averaging.

mod clipping;
mod loss_scale;
mod skipping;
mod snapshots;

#[path = "../support/mod.rs"]
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
