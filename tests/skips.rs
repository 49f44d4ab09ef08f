//! Steps that are skipped, and steps whose encoder was dropped: those that are performed go on as if
//! there had been no others.

mod support;

use support::*;
use wgpu_optim::{
    Average, Error, Extent, Gpu, Group, Layout, Optimizer, Options, Stats, cpu, rules, wgpu,
};

fn stats(optimizer: &Optimizer) -> Stats {
    let Gpu { device, queue, .. } = gpu();
    let mut encoder = device.create_command_encoder(&Default::default());
    let snapshot = optimizer.snapshot(&mut encoder).unwrap();
    queue.submit([encoder.finish()]);
    device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    arrived(&snapshot)
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

/// Records a step that no device ever sees.
fn drop_a_step(optimizer: &mut Optimizer) {
    let mut dropped = gpu().device.create_command_encoder(&Default::default());
    optimizer.step(&mut dropped).unwrap();
}

#[test]
fn a_count_that_was_set_is_told_though_its_first_step_was_dropped() {
    for options in [Options::default(), skipping()] {
        let problem = Problem::random(one_tensor("adamw"), 3, 5);
        let group = only_group(&problem.layout);
        for count in [0, 1, 100, 1 << 40] {
            let mut optimizer = problem.in_arena(options.clone());
            let told = |optimizer: &Optimizer| {
                let group = stats(optimizer).groups[0];
                (group.step_count, group.skipped)
            };
            problem.run(&mut optimizer);
            assert_eq!(told(&optimizer), (3, 0));
            optimizer.set_step_count(group, count).unwrap();
            assert_eq!(told(&optimizer), (count, 0));
            drop_a_step(&mut optimizer);
            assert_eq!(told(&optimizer), (count, 0));
            drop_a_step(&mut optimizer);
            assert_eq!(told(&optimizer), (count, 0));
            submit(|encoder| optimizer.step(encoder).unwrap());
            assert_eq!(told(&optimizer), (count + 1, 0));
            drop_a_step(&mut optimizer);
            assert_eq!(told(&optimizer), (count + 1, 0));
        }
    }
}

#[test]
fn evaluation_follows_the_count_whether_or_not_a_step_brought_it() {
    for name in ["schedulefree_sgd", "schedulefree_adamw", "adamw"] {
        let problem = Problem::random(one_tensor(name), 3, 5);
        let group = only_group(&problem.layout);
        let options = averaging(Options::default(), &problem.layout);
        let evaluated = |optimizer: &mut Optimizer| {
            let before = problem.read_params(optimizer);
            submit(|encoder| optimizer.evaluate(encoder).unwrap());
            let within = problem.read_params(optimizer);
            submit(|encoder| optimizer.train(encoder).unwrap());
            // Rules that compute the way back round twice.
            let after = problem.read_params(optimizer);
            assert!(error(&after[0], &widened(&before[0])) < 1e-5, "{name}");
            within != before
        };
        for dropped in 0..3 {
            let ready = || {
                let mut optimizer = problem.in_arena(options.clone());
                problem.run(&mut optimizer);
                assert!(evaluated(&mut optimizer), "{name}");
                optimizer
            };
            let mut anew = ready();
            anew.set_step_count(group, 0).unwrap();
            (0..dropped).for_each(|_| drop_a_step(&mut anew));
            assert!(!evaluated(&mut anew), "{name}, {dropped}");
            submit(|encoder| anew.step(encoder).unwrap());
            drop_a_step(&mut anew);
            assert!(evaluated(&mut anew) || name == "adamw", "{name}, {dropped}");
            // As after loading a checkpoint.
            let (mut loaded, source) = (problem.in_arena(options.clone()), ready());
            let (tensor, queue) = (problem.tensors()[0], &gpu().queue);
            let mut slots = slots_of(&problem.layout, tensor);
            slots.extend(options.average.map(|_| "average"));
            for slot in slots {
                let state = source.read_state_blocking(queue, tensor, slot).unwrap();
                loaded.write_state(queue, tensor, slot, &state).unwrap();
            }
            problem.write_params(&mut loaded);
            assert!(!evaluated(&mut loaded), "{name}, {dropped}");
            loaded.set_step_count(group, 3).unwrap();
            (0..dropped).for_each(|_| drop_a_step(&mut loaded));
            assert!(evaluated(&mut loaded), "{name}, {dropped}");
        }
    }
}

fn widened(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| value.into()).collect()
}

fn skipping() -> Options {
    Options {
        skip_non_finite: true,
        ..Default::default()
    }
}

#[test]
fn what_is_set_amid_skips_is_read_and_followed() {
    for name in ["asgd", "schedulefree_adamw", "schedulefree_sgd"] {
        let problem = Problem::random(one_tensor(name), 12, 3);
        // Five skipped steps, three good ones.
        let first = with_skips(
            &Problem {
                grads: problem.grads[..3].to_vec(),
                inputs: problem.inputs[..3].to_vec(),
                layout: problem.layout.clone(),
                params: problem.params.clone(),
                rates: Vec::new(),
            },
            |step| [2, 0, 3][step],
        );
        let (group, slots) = group_slots(&problem.layout);
        let mut optimizer = first.in_arena(skipping());
        first.run(&mut optimizer);
        let mut twin = twin(&first, skipping());
        let read = |optimizer: &Optimizer, slot| {
            let count = stats(optimizer).groups[0].step_count;
            optimizer.group_state_at(group, slot, count)
        };
        for (&slot, value) in slots.iter().zip([0.125, 0.75]) {
            optimizer.set_group_state(group, slot, value).unwrap();
            twin.set_group_state(group, slot, value).unwrap();
            assert_eq!(read(&optimizer, slot), Ok(value), "{name}");
            assert_eq!(optimizer.group_state(group, slot), Ok(value), "{name}");
            assert_eq!(twin.group_state(group, slot), Ok(value), "{name}");
        }
        for step in 3..problem.grads.len() {
            problem.write_step(&mut optimizer, step);
            submit(|encoder| optimizer.step(encoder).unwrap());
            let tensor = problem.tensors()[0];
            let grad = twin.grad_mut(tensor).unwrap();
            grad.copy_from_slice(&widened(&problem.grads[step][0]));
            twin.step().unwrap();
            for slot in &slots {
                assert_eq!(read(&optimizer, slot), twin.group_state(group, slot));
            }
            let found = problem.read_params(&optimizer);
            let truth = twin.param(tensor).unwrap();
            assert!(error(&found[0], truth) < 1e-5, "{name} at {step}");
        }
        // More steps than were skipped: the value has come through.
        let slot = slots[slots.len() - 1];
        let last = read(&optimizer, slot).unwrap();
        assert!(last != 0.125 || name != "asgd", "{name}: {last}");
    }
}

#[test]
fn the_twin_knows_what_it_keeps_after_any_number_of_skips() {
    let good = Problem::random(one_tensor("schedulefree_adamw"), 3, 3);
    let problem = with_skips(&good, |step| if step == 1 { 5000 } else { 0 });
    let (group, slots) = group_slots(&good.layout);
    let (good, skipped) = (twin(&good, skipping()), twin(&problem, skipping()));
    for slot in slots {
        let expected = good.group_state(group, slot);
        assert_eq!(skipped.group_state(group, slot), expected, "{slot}");
    }
}

#[test]
fn numbers_that_a_rule_cannot_keep_are_refused() {
    let asgd = |lambd| rules::Asgd {
        lambd,
        ..Default::default()
    };
    for (rule, slot, good, bad) in [
        (
            asgd(1e-4).into(),
            "eta",
            vec![-1.0, 0.0, 1e-3, 3e38],
            vec![-0.5, -1e-9, 1e39, 1e300],
        ),
        (asgd(1e3).into(), "eta", vec![3e35], vec![4e35, 3e38]),
        (
            rule("schedulefree_sgd"),
            "weight_sum",
            vec![0.0, 1e30, 1e290],
            vec![-1.0, -1e-300],
        ),
        (
            rule("schedulefree_adamw"),
            "lr_max",
            vec![0.0, 0.5, 3e38],
            vec![-1.0, 1e39],
        ),
    ] {
        let problem = Problem::of_sizes(rule, &[3], 2);
        let group = only_group(&problem.layout);
        let mut twin = cpu::Optimizer::<f32>::new(&problem.layout).unwrap();
        let mut optimizer = problem.in_arena(Options::default());
        for value in good {
            optimizer.set_group_state(group, slot, value).unwrap();
            twin.set_group_state(group, slot, value).unwrap();
            let found = problem.run(&mut optimizer);
            assert!(found[0].iter().all(|p| p.is_finite()), "{slot} = {value}");
            optimizer.set_group_state(group, slot, 0.25).unwrap();
        }
        for value in bad.into_iter().chain([f64::NAN, f64::INFINITY]) {
            let on_gpu = optimizer.set_group_state(group, slot, value).unwrap_err();
            let of_twin = twin.set_group_state(group, slot, value).unwrap_err();
            assert!(matches!(on_gpu, Error::Hyperparameter { .. }), "{on_gpu}");
            assert_eq!(on_gpu.to_string(), of_twin.to_string());
            assert_eq!(optimizer.group_state(group, slot), Ok(0.25));
        }
    }
}

/// Runs a good step of each kind of gradients, and skips or drops steps where it is told to.
struct Run<'a> {
    good: &'a Problem,
    optimizer: Optimizer,
    done: usize,
}

impl<'a> Run<'a> {
    fn new(good: &'a Problem, options: &Options) -> Self {
        let mut optimizer = good.in_arena(options.clone());
        good.write_params(&mut optimizer);
        Self {
            good,
            optimizer,
            done: 0,
        }
    }

    fn good(&mut self, steps: usize) {
        for _ in 0..steps {
            self.good.write_step(&mut self.optimizer, self.done);
            submit(|encoder| self.optimizer.step(encoder).unwrap());
            self.done += 1;
            // The device is never far behind.
            if self.done.is_multiple_of(64) {
                wait();
            }
        }
    }

    fn skip(&mut self, steps: usize) {
        let (tensor, queue) = (self.good.tensors()[0], &gpu().queue);
        let bad = vec![f32::NAN; self.good.grads[0][0].len()];
        self.optimizer.write_grad(queue, tensor, &bad).unwrap();
        for first in (0..steps).step_by(50) {
            submit(|encoder| {
                for _ in first..steps.min(first + 50) {
                    self.optimizer.step(encoder).unwrap();
                }
            });
            wait();
        }
    }

    fn assert_leaves_no_trace(&mut self, options: &Options, label: &str) {
        let mut expected = Self::new(self.good, options);
        expected.good(self.done);
        let count = stats(&self.optimizer).groups[0].step_count;
        assert_eq!(count, self.done as u64, "{label}");
        let [found, right] = [&self.optimizer, &expected.optimizer];
        assert!(
            everything(self.good, found) == everything(self.good, right),
            "{label}"
        );
        let (group, slots) = group_slots(&self.good.layout);
        for slot in slots {
            let found = found.group_state_at(group, slot, count);
            assert_eq!(found, right.group_state(group, slot), "{label}");
        }
    }
}

fn wait() {
    let waiting = wgpu::PollType::wait_indefinitely();
    gpu().device.poll(waiting).unwrap();
}

const FOLLOWING_COUNTS: [&str; 5] = ["adamw", "asgd", "radam", "nadam", "schedulefree_adamw"];

#[test]
fn ten_thousand_skipped_steps_leave_no_trace() {
    for name in FOLLOWING_COUNTS {
        let good = Problem::random(one_tensor(name), 20, 3);
        let options = averaging(skipping(), &good.layout);
        let mut run = Run::new(&good, &options);
        run.skip(10_000);
        run.good(20);
        run.assert_leaves_no_trace(&options, name);
    }
}

#[test]
fn however_long_training_goes_on_after_skipped_steps_they_leave_no_trace() {
    for name in FOLLOWING_COUNTS {
        let good = Problem::random(one_tensor(name), 1200, 3);
        let options = averaging(skipping(), &good.layout);
        let mut run = Run::new(&good, &options);
        run.good(10);
        run.skip(2500);
        run.good(1190);
        run.assert_leaves_no_trace(&options, name);
    }
}

#[test]
fn every_other_of_five_thousand_steps_is_skipped_and_leaves_no_trace() {
    for name in ["adamw", "asgd"] {
        let good = Problem::random(one_tensor(name), 2500, 3);
        let options = averaging(skipping(), &good.layout);
        let mut run = Run::new(&good, &options);
        for _ in 0..2500 {
            run.skip(1);
            run.good(1);
        }
        run.assert_leaves_no_trace(&options, name);
    }
}

#[test]
fn encoders_dropped_one_after_another_amid_skips_leave_no_trace() {
    for name in FOLLOWING_COUNTS {
        let good = Problem::random(one_tensor(name), 240, 3);
        let options = averaging(skipping(), &good.layout);
        let mut run = Run::new(&good, &options);
        for round in 0..60 {
            run.skip([12, 1, 0, 30][round % 4]);
            (0..round % 6).for_each(|_| drop_a_step(&mut run.optimizer));
            run.good(4);
        }
        run.assert_leaves_no_trace(&options, name);
    }
}

#[test]
fn the_steps_that_the_ring_holds_need_no_news_from_the_device() {
    for name in FOLLOWING_COUNTS {
        let good = Problem::random(one_tensor(name), 1, 3);
        let options = averaging(skipping(), &good.layout);
        let (tensor, queue) = (good.tensors()[0], &gpu().queue);
        let run = |skipped: usize| {
            let mut optimizer = Run::new(&good, &options).optimizer;
            let bad = [f32::NAN; 70];
            // The gradients of the first steps are those that are written last before the submission.
            for (steps, grad) in [(skipped, &bad[..]), (512, &good.grads[0][0])] {
                optimizer.write_grad(queue, tensor, grad).unwrap();
                submit(|encoder| (0..steps).for_each(|_| optimizer.step(encoder).unwrap()));
            }
            everything(&good, &optimizer)
        };
        assert!(run(2100) == run(0), "{name}");
    }
}
