//! Rules that evaluate with other parameters than they train with.

mod support;

use support::*;
use wgpu_optim::{Buffers, Checkpoint, DispatchLimits, Error, Layout, Options, Save, cpu, rules};

/// All rules that tell the two apart, and one that does not beside them.
fn problem() -> Problem {
    let mut layout = Layout::new();
    let mut names: Vec<_> = rules::names()
        .filter(|name| rule(name).evaluates_elsewhere())
        .collect();
    assert!(names.len() >= 2, "{names:?}");
    names.push("adam");
    for name in names {
        let mut rule = rule(name);
        rule.set("lr", "0.02").unwrap();
        let group = layout.group(rule).unwrap();
        for size in [5, 1025, 3000] {
            let tensor = format!("{name} {size}");
            layout.tensor(group, &tensor, &[size]).unwrap();
        }
    }
    Problem::random(layout, 4, 1)
}

fn is_switched(problem: &Problem, index: usize) -> bool {
    let tensor = problem.tensors()[index];
    let group = problem.layout.group_of(tensor).unwrap();
    problem.layout.rule(group).unwrap().evaluates_elsewhere()
}

/// The twin's parameters to evaluate with after all steps.
fn evaluated<T: cpu::Real>(problem: &Problem) -> Vec<Vec<T>> {
    let mut twin = problem.twin::<T>();
    twin.evaluate();
    let read = |tensor| twin.param(tensor).unwrap().to_vec();
    problem.layout.tensors().map(read).collect()
}

#[test]
fn evaluation_sees_the_twins_parameters_and_training_goes_on_with_its_own() {
    let problem = problem();
    let (truth, f32_twin) = (evaluated::<f64>(&problem), evaluated::<f32>(&problem));
    let bytes = problem.packed_bytes();
    let both = buffer(2 * bytes + 4);
    let tiny = DispatchLimits {
        binding_bytes: 16 * 1024,
        offset_alignment: 256,
        workgroups_per_dimension: 2,
    };
    for limits in [None, Some(tiny)] {
        let options = || Options {
            limits,
            ..Default::default()
        };
        let ranges = Buffers {
            params: problem.packed(&both, bytes + 4),
            grads: Some(problem.packed(&both, 0)),
            ..Default::default()
        };
        for mut optimizer in [problem.in_arena(options()), problem.over(ranges, options())] {
            let trained = problem.run(&mut optimizer);
            submit(|encoder| optimizer.evaluate(encoder).unwrap());
            let found = problem.read_params(&optimizer);
            for (index, found) in found.iter().enumerate() {
                let (error, budget) = (
                    error(found, &truth[index]),
                    budget(&f32_twin[index], &truth[index]),
                );
                assert!(error <= budget, "tensor {index}: {error:e} > {budget:e}");
                assert_eq!(*found != trained[index], is_switched(&problem, index));
            }
            submit(|encoder| optimizer.train(encoder).unwrap());
            let back = problem.read_params(&optimizer);
            for (back, trained) in back.iter().zip(&trained) {
                for (back, trained) in back.iter().zip(trained) {
                    assert!(f64::from((back - trained).abs()) <= 2.0 * ulp(1.0));
                }
            }
        }
    }
}

#[test]
fn gradients_that_come_per_step_change_nothing_about_evaluation() {
    let problem = problem();
    let mut expected = problem.in_arena(Options::default());
    problem.run(&mut expected);
    submit(|encoder| expected.evaluate(encoder).unwrap());
    let (params, grads) = (
        buffer(problem.packed_bytes()),
        buffer(problem.packed_bytes()),
    );
    let buffers = Buffers {
        params: problem.packed(&params, 0),
        grads: None,
        ..Default::default()
    };
    let grads = problem.packed(&grads, 0);
    let mut optimizer = problem.over(buffers, Options::default());
    problem.write_params(&mut optimizer);
    for step in &problem.grads {
        for (range, values) in grads.iter().zip(step) {
            wgpu_optim::write(&gpu().device, &gpu().queue, range, values).unwrap();
        }
        submit(|encoder| optimizer.step_with(encoder, &grads).unwrap());
    }
    submit(|encoder| optimizer.evaluate(encoder).unwrap());
    assert!(problem.read_params(&optimizer) == problem.read_params(&expected));
}

#[test]
fn evaluating_or_training_twice_is_doing_so_once() {
    let problem = problem();
    let mut optimizer = problem.in_arena(Options::default());
    let mut twin = problem.twin::<f32>();
    let trained = problem.run(&mut optimizer);
    submit(|encoder| optimizer.train(encoder).unwrap());
    assert!(problem.read_params(&optimizer) == trained);
    submit(|encoder| optimizer.evaluate(encoder).unwrap());
    let once = problem.read_params(&optimizer);
    submit(|encoder| optimizer.evaluate(encoder).unwrap());
    assert!(problem.read_params(&optimizer) == once);
    let first = problem.tensors()[0];
    twin.evaluate();
    let once = twin.param(first).unwrap().to_vec();
    twin.evaluate();
    assert_eq!(twin.param(first).unwrap(), once);
}

#[test]
fn a_step_while_evaluating_is_refused_and_not_counted() {
    let problem = problem();
    let group = only_group(&problem.layout);
    let mut optimizer = problem.in_arena(Options::default());
    let mut twin = problem.twin::<f64>();
    problem.run(&mut optimizer);
    submit(|encoder| {
        optimizer.evaluate(encoder).unwrap();
        assert_eq!(optimizer.step(encoder), Err(Error::Evaluating));
    });
    twin.evaluate();
    assert_eq!(twin.step(), Err(Error::Evaluating));
    assert_eq!(optimizer.step_count(group), Ok(4));
    assert_eq!(twin.step_count(group), Ok(4));
    submit(|encoder| {
        optimizer.train(encoder).unwrap();
        optimizer.step(encoder).unwrap();
    });
    twin.train();
    twin.step().unwrap();
}

#[test]
fn what_would_be_mixed_up_by_the_way_back_is_refused_while_evaluating() {
    let problem = problem();
    let queue = &gpu().queue;
    let group = problem.layout.groups().next().unwrap();
    let same = |name: &str| Some(name.to_owned());
    let mut optimizer = problem.in_arena(Options::default());
    problem.run(&mut optimizer);
    let bytes = optimizer.save_bytes_blocking(queue, &Save::default());
    let checkpoint = Checkpoint::from_bytes(bytes.unwrap()).unwrap();
    let mut twin = problem.twin::<f32>();
    let refused = Err(Error::Evaluating);
    submit(|encoder| optimizer.evaluate(encoder).unwrap());
    assert_eq!(optimizer.load_params(queue, &checkpoint), refused);
    let loaded = optimizer.load_partial(queue, &checkpoint, same);
    assert_eq!(loaded.map(|_| ()), refused);
    assert_eq!(optimizer.set_step_count(group, 0), refused);
    twin.evaluate();
    assert_eq!(twin.load_params(&checkpoint), refused);
    let loaded = twin.load_partial(&checkpoint, same);
    assert_eq!(loaded.map(|_| ()), refused);
    assert_eq!(twin.set_step_count(group, 0), refused);
    // All of it is there as it was, and the way back leads to it.
    submit(|encoder| optimizer.train(encoder).unwrap());
    let trained = problem.read_params(&optimizer);
    optimizer.load_partial(queue, &checkpoint, same).unwrap();
    let loaded = problem.read_params(&optimizer);
    let pairs = trained.iter().flatten().zip(loaded.iter().flatten());
    for (a, b) in pairs {
        assert!((a - b).abs() <= 1e-6 * b.abs().max(1.0), "{a} {b}");
    }
    twin.train();
    twin.load_partial(&checkpoint, same).unwrap();
    assert_eq!(twin.step_count(group), optimizer.step_count(group));
}

#[test]
fn before_the_first_step_there_is_nothing_else_to_evaluate_with() {
    let problem = problem();
    let mut optimizer = problem.in_arena(Options::default());
    problem.write_params(&mut optimizer);
    submit(|encoder| optimizer.evaluate(encoder).unwrap());
    assert!(problem.read_params(&optimizer) == problem.params);
}

#[test]
fn numbers_of_a_group_are_kept_alike_by_gpu_and_twin_and_refused_by_wrong_names() {
    let problem = Problem::of_sizes(rule("schedulefree_sgd"), &[3], 5);
    let group = only_group(&problem.layout);
    let mut optimizer = problem.in_arena(Options::default());
    problem.run(&mut optimizer);
    let mut twin = problem.twin::<f32>();
    assert_eq!(optimizer.group_state(group, "weight_sum"), Ok(5.0));
    assert_eq!(twin.group_state(group, "weight_sum"), Ok(5.0));
    twin.set_group_state(group, "lr_max", 2.0).unwrap();
    assert_eq!(twin.group_state(group, "lr_max"), Ok(2.0));
    let error = optimizer.group_state(group, "z").unwrap_err().to_string();
    assert!(error.contains("weight_sum, lr_max"), "{error}");
    let error = optimizer.set_group_state(group, "lr_max", f64::NAN);
    assert!(
        matches!(error, Err(Error::Hyperparameter { .. })),
        "{error:?}"
    );
}
