//! Steps that are skipped, and steps whose encoder was dropped: those that are performed go on as if
//! there had been no others.

mod support;

use support::*;
use wgpu_optim::{Average, Extent, Gpu, Group, Layout, Optimizer, Options, Stats, cpu, wgpu};

fn stats(optimizer: &Optimizer) -> Stats {
    let Gpu { device, queue, .. } = gpu();
    let mut encoder = device.create_command_encoder(&Default::default());
    let snapshot = optimizer.snapshot(&mut encoder).unwrap();
    queue.submit([encoder.finish()]);
    device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    snapshot.get().unwrap().unwrap()
}

fn twin(problem: &Problem, options: Options) -> cpu::Optimizer<f64> {
    let mut twin = cpu::Optimizer::with_options(&problem.layout, options).unwrap();
    problem.replay(&mut twin, |_, _| Ok(())).unwrap();
    twin
}

/// The slots that a group has one of.
fn group_slots(layout: &Layout) -> (Group, Vec<&'static str>) {
    let group = layout.groups().next().unwrap();
    let slots = layout.rule(group).unwrap().slots().into_iter();
    let of_group = slots.filter(|slot| slot.extent == Extent::Group);
    (group, of_group.map(|slot| slot.name).collect())
}

/// The options, and an average for rules that do not average by themselves.
fn averaging(options: Options, layout: &Layout) -> Options {
    let group = layout.groups().next().unwrap();
    let average = Average {
        decay: 0.9,
        debias: false,
    };
    let averages = !layout.rule(group).unwrap().evaluates_elsewhere();
    Options {
        average: averages.then_some(average),
        ..options
    }
}

/// The problem with `bad` steps before each of its own, all of them skipped.
fn with_skips(problem: &Problem, bad: impl Fn(usize) -> usize) -> Problem {
    let mut grads = Vec::new();
    let mut inputs = Vec::new();
    for (step, of_step) in problem.grads.iter().enumerate() {
        let mut spoilt = of_step.clone();
        spoilt[0][0] = f32::NAN;
        for _ in 0..bad(step) {
            grads.push(spoilt.clone());
            inputs.push(Vec::new());
        }
        grads.push(of_step.clone());
        inputs.push(problem.inputs[step].clone());
    }
    Problem {
        layout: problem.layout.clone(),
        params: problem.params.clone(),
        grads,
        rates: Vec::new(),
        inputs,
    }
}

fn one_tensor(name: &str) -> Layout {
    let mut layout = Layout::new();
    let group = layout.group(rule(name)).unwrap();
    layout.tensor(group, "x", &[70]).unwrap();
    layout
}

#[test]
fn skipped_steps_leave_no_trace_however_many_there_are() {
    for name in ["adamw", "asgd", "schedulefree_adamw", "radam", "nadam"] {
        for (steps, bad, label) in [
            (
                20,
                (|step| if step == 0 { 1000 } else { 0 }) as fn(usize) -> usize,
                "1000 at first",
            ),
            (250, |_| 1, "every other step"),
        ] {
            let good = Problem::random(one_tensor(name), steps, 3);
            let options = Options {
                skip_non_finite: true,
                ..Default::default()
            };
            let options = averaging(options, &good.layout);
            let skipping = with_skips(&good, bad);
            let label = format!("{name}, {label}");
            let expected = good.run(&mut good.in_arena(options.clone()));
            let mut optimizer = skipping.in_arena(options.clone());
            assert!(skipping.run(&mut optimizer) == expected, "{label}");
            let (of_good, of_skipping) = (twin(&good, options.clone()), twin(&skipping, options));
            let tensor = good.tensors()[0];
            assert!(
                of_good.param(tensor) == of_skipping.param(tensor),
                "{label}"
            );
            let (group, slots) = group_slots(&good.layout);
            for slot in slots {
                let count = stats(&optimizer).groups[0].step_count;
                let right = of_good.group_state(group, slot).unwrap();
                assert_eq!(
                    optimizer.group_state_at(group, slot, count),
                    Ok(right),
                    "{label}"
                );
                assert_eq!(of_skipping.group_state(group, slot), Ok(right), "{label}");
            }
        }
    }
}

#[test]
fn after_skipped_steps_an_optimizer_resumes_to_the_bit() {
    let options = Options {
        skip_non_finite: true,
        ..Default::default()
    };
    for name in ["adamw", "asgd", "schedulefree_adamw", "schedulefree_sgd"] {
        let good = Problem::random(one_tensor(name), 12, 3);
        let problem = with_skips(&good, |step| step % 3);
        let (tensor, queue) = (problem.tensors()[0], &gpu().queue);
        let (group, slots) = group_slots(&problem.layout);
        let mut first = problem.in_arena(options.clone());
        problem.run(&mut first);
        let mut second = problem.in_arena(options.clone());
        let params = first.read_param_blocking(queue, tensor).unwrap();
        second.write_param(queue, tensor, &params).unwrap();
        for slot in slots_of(&problem.layout, tensor) {
            let state = first.read_state_blocking(queue, tensor, slot).unwrap();
            second.write_state(queue, tensor, slot, &state).unwrap();
        }
        let count = stats(&first).groups[0].step_count;
        assert_eq!(count, 12);
        for slot in slots {
            let value = first.group_state_at(group, slot, count).unwrap();
            second.set_group_state(group, slot, value).unwrap();
        }
        second.set_step_count(group, count).unwrap();
        for step in 0..5 {
            for optimizer in [&mut first, &mut second] {
                good.write_step(optimizer, step);
                submit(|encoder| optimizer.step(encoder).unwrap());
            }
        }
        assert!(
            problem.read_params(&first) == problem.read_params(&second),
            "{name}"
        );
    }
}

#[test]
fn the_first_step_that_is_performed_is_the_first_though_an_encoder_was_dropped() {
    for name in [
        "schedulefree_adamw",
        "schedulefree_sgd",
        "prodigy",
        "adopt",
        "adamw",
        "novograd",
    ] {
        let problem = Problem::random(one_tensor(name), 4, 5);
        let options = averaging(Options::default(), &problem.layout);
        let mut expected = problem.in_arena(options.clone());
        problem.run(&mut expected);
        let mut optimizer = problem.in_arena(options);
        let mut dropped = gpu().device.create_command_encoder(&Default::default());
        optimizer.step(&mut dropped).unwrap();
        drop(dropped);
        problem.run(&mut optimizer);
        assert!(
            everything(&problem, &optimizer) == everything(&problem, &expected),
            "{name}"
        );
        for optimizer in [&mut optimizer, &mut expected] {
            submit(|encoder| optimizer.evaluate(encoder).unwrap());
        }
        let evaluated = problem.read_params(&optimizer);
        assert!(evaluated == problem.read_params(&expected), "{name}");
    }
}

/// Parameters and state.
fn everything(problem: &Problem, optimizer: &Optimizer) -> Vec<Vec<f32>> {
    let mut all = problem.read_params(optimizer);
    let tensor = problem.tensors()[0];
    for slot in slots_of(&problem.layout, tensor) {
        let state = optimizer.read_state_blocking(&gpu().queue, tensor, slot);
        all.push(state.unwrap());
    }
    all
}

#[test]
fn counts_beyond_32_bits_are_told_and_begin_nothing_anew() {
    for name in ["schedulefree_sgd", "adan"] {
        for count in [(1 << 32) - 1, 1 << 32, (1 << 32) + 1, 1 << 52] {
            let problem = Problem::random(one_tensor(name), 3, 5);
            let group = problem.layout.groups().next().unwrap();
            let (tensor, queue) = (problem.tensors()[0], &gpu().queue);
            let mut optimizer = problem.in_arena(Options::default());
            let mut twin = cpu::Optimizer::<f64>::new(&problem.layout).unwrap();
            for slot in slots_of(&problem.layout, tensor) {
                optimizer
                    .write_state(queue, tensor, slot, &[0.5; 70])
                    .unwrap();
                twin.state_mut(tensor, slot).unwrap().fill(0.5);
            }
            optimizer.set_step_count(group, count).unwrap();
            twin.set_step_count(group, count).unwrap();
            let found = problem.run(&mut optimizer);
            problem.replay(&mut twin, |_, _| Ok(())).unwrap();
            assert_eq!(stats(&optimizer).groups[0].step_count, count + 3, "{name}");
            let truth = twin.param(tensor).unwrap();
            assert!(error(&found[0], truth) < 1e-5, "{name} from {count}");
        }
    }
}
