//! Steps in the caller's encoder: step counts, learning rates, frozen groups, resuming.

mod support;

use support::*;
use wgpu_optim::{Extent, Gpu, Layout, Options, Tensor, rules, schedule::Schedule};

const STEPS: u64 = 12;

fn lr(n: u64) -> f64 {
    Schedule::Cosine {
        steps: STEPS,
        floor: 1e-3,
    }
    .with_warmup(3)
    .at(0.1, n)
}

#[test]
fn steps_in_one_encoder_are_those_of_as_many_submissions_each_with_its_own_rate() {
    let Gpu { device, queue, .. } = gpu();
    for name in rules::names() {
        let problem = Problem::of_sizes(rule(name), &[5, 1030], 1);
        let group = only_group(&problem.layout);
        let run = |steps_per_encoder: u64| {
            let mut optimizer = problem.in_arena(Options::default());
            for (index, tensor) in problem.layout.tensors().enumerate() {
                optimizer
                    .write_param(queue, tensor, &problem.params[index])
                    .unwrap();
                optimizer
                    .write_grad(queue, tensor, &problem.grads[0][index])
                    .unwrap();
            }
            for first in (0..STEPS).step_by(steps_per_encoder as usize) {
                let mut encoder = device.create_command_encoder(&Default::default());
                for n in first..first + steps_per_encoder {
                    optimizer.set_lr(group, lr(n)).unwrap();
                    optimizer.step(&mut encoder).unwrap();
                }
                queue.submit([encoder.finish()]);
            }
            let read = |tensor| optimizer.read_param_blocking(queue, tensor).unwrap();
            problem.layout.tensors().map(read).collect::<Vec<_>>()
        };
        let one_by_one = run(1);
        assert!(one_by_one == run(STEPS), "{name}: all in one encoder");
        assert!(one_by_one == run(4), "{name}: four at a time");
        // And they are the right ones.
        let mut twin = wgpu_optim::cpu::Optimizer::<f64>::new(&problem.layout).unwrap();
        for (index, tensor) in problem.layout.tensors().enumerate() {
            let widen = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
            let param = widen(&problem.params[index]);
            let grad = widen(&problem.grads[0][index]);
            twin.param_mut(tensor).unwrap().copy_from_slice(&param);
            twin.grad_mut(tensor).unwrap().copy_from_slice(&grad);
        }
        for n in 0..STEPS {
            twin.set_lr(group, lr(n)).unwrap();
            twin.step().unwrap();
        }
        for (tensor, found) in problem.layout.tensors().zip(one_by_one) {
            let truth = twin.param(tensor).unwrap();
            let largest = truth
                .iter()
                .fold(1.0f64, |largest, value| largest.max(value.abs()));
            let error = error(&found, truth) / largest;
            assert!(error < 1e-6, "{name}: {error}");
        }
    }
}

#[test]
fn encoders_may_be_submitted_in_another_order_or_dropped() {
    let Gpu { device, queue, .. } = gpu();
    let mut layout = Layout::new();
    let group = layout
        .group(rules::Sgd {
            lr: 1.0,
            ..Default::default()
        })
        .unwrap();
    let x = layout.tensor(group, "x", &[1]).unwrap();
    let mut optimizer = wgpu_optim::Optimizer::new(device, &layout, Options::default()).unwrap();
    optimizer.write_grad(queue, x, &[1.0]).unwrap();
    let mut recorded = Vec::new();
    for lr in [1.0, 10.0, 100.0] {
        optimizer.set_lr(group, lr).unwrap();
        let mut encoder = device.create_command_encoder(&Default::default());
        optimizer.step(&mut encoder).unwrap();
        recorded.push(encoder.finish());
    }
    recorded.remove(1);
    queue.submit(recorded.into_iter().rev());
    assert_eq!(optimizer.read_param_blocking(queue, x).unwrap(), [-101.0]);
    assert_eq!(optimizer.step_count(group), Ok(3), "a recorded step counts");
}

#[test]
fn a_frozen_group_rests_and_goes_on_at_its_own_step_count() {
    let Gpu { device, queue, .. } = gpu();
    let mut layout = Layout::new();
    let group = |layout: &mut Layout, name: &str| {
        let group = layout.group(rule("adam")).unwrap();
        (group, layout.tensor(group, name, &[70]).unwrap())
    };
    let (a, of_a) = group(&mut layout, "a");
    let (b, of_b) = group(&mut layout, "b");
    let mut optimizer = wgpu_optim::Optimizer::new(device, &layout, Options::default()).unwrap();
    let mut rng = random(3);
    let grads: Vec<_> = (0..3).map(|_| random_grads(&mut rng, 70)).collect();
    // b gets each gradient one step later than a, with a rest between.
    let step_one = |optimizer: &mut wgpu_optim::Optimizer, tensor, other, step: usize| {
        optimizer.set_frozen(other, true).unwrap();
        optimizer.write_grad(queue, tensor, &grads[step]).unwrap();
        let mut encoder = device.create_command_encoder(&Default::default());
        optimizer.step(&mut encoder).unwrap();
        queue.submit([encoder.finish()]);
        optimizer.set_frozen(other, false).unwrap();
    };
    for step in 0..3 {
        step_one(&mut optimizer, of_a, b, step);
        step_one(&mut optimizer, of_b, a, step);
    }
    assert_eq!(optimizer.step_count(a), Ok(3));
    let read = |tensor| optimizer.read_param_blocking(queue, tensor).unwrap();
    let (a, b) = (read(of_a), read(of_b));
    assert!(a == b && a.iter().any(|value| *value != 0.0));
}

#[test]
fn the_twin_freezes_groups_too() {
    let mut layout = Layout::new();
    let a = layout.group(rule("adam")).unwrap();
    let b = layout.group(rule("adam")).unwrap();
    let of_a = layout.tensor(a, "a", &[1]).unwrap();
    let of_b = layout.tensor(b, "b", &[1]).unwrap();
    let mut twin = wgpu_optim::cpu::Optimizer::<f64>::new(&layout).unwrap();
    twin.grad_mut(of_a).unwrap().fill(1.0);
    twin.grad_mut(of_b).unwrap().fill(1.0);
    twin.set_frozen(b, true).unwrap();
    twin.step().unwrap();
    assert_eq!((twin.step_count(a), twin.step_count(b)), (Ok(1), Ok(0)));
    assert_eq!(twin.param(of_b).unwrap(), [0.0]);
    twin.set_frozen(b, false).unwrap();
    twin.set_frozen(a, true).unwrap();
    twin.step().unwrap();
    assert_eq!(twin.param(of_a).unwrap(), twin.param(of_b).unwrap());
}

#[test]
fn a_saved_run_resumes_bit_for_bit() {
    let queue = &gpu().queue;
    // What is kept depends on flags and choices, not on numbers.
    let mut variants = Variant::all();
    variants.retain(|variant| variant.settings.len() <= 1);
    for variant in variants {
        let problem = Problem::of_sizes(variant.make(), &[5, 1030], 6);
        let expected = problem.run(&mut problem.in_arena(Options::default()));
        let group = only_group(&problem.layout);
        let rule = problem.layout.rule(group).unwrap();
        let of_group: Vec<_> = rule
            .slots()
            .into_iter()
            .filter(|slot| slot.extent == Extent::Group)
            .map(|slot| slot.name)
            .collect();
        let mut values = problem.params.clone();
        let mut saved: Vec<(Tensor, &str, Vec<f32>)> = Vec::new();
        let mut saved_of_group: Vec<f64> = Vec::new();
        for step in 0..problem.grads.len() {
            // A new optimizer at every step, from nothing but what was saved.
            let mut optimizer = problem.in_arena(Options::default());
            optimizer.set_step_count(group, step as u64).unwrap();
            for (tensor, slot, values) in &saved {
                optimizer.write_state(queue, *tensor, slot, values).unwrap();
            }
            for (slot, value) in of_group.iter().zip(&saved_of_group) {
                optimizer.set_group_state(group, slot, *value).unwrap();
            }
            for (tensor, values) in problem.layout.tensors().zip(&values) {
                optimizer.write_param(queue, tensor, values).unwrap();
            }
            problem.write_step(&mut optimizer, step);
            submit(|encoder| optimizer.step(encoder).unwrap());
            values = problem.read_params(&optimizer);
            saved.clear();
            for tensor in problem.layout.tensors() {
                for slot in slots_of(&problem.layout, tensor) {
                    let state = optimizer.read_state_blocking(queue, tensor, slot).unwrap();
                    saved.push((tensor, slot, state));
                }
            }
            let read = |slot: &&str| optimizer.group_state(group, slot).unwrap();
            saved_of_group = of_group.iter().map(read).collect();
        }
        assert!(values == expected, "{variant:?}");
    }
}
