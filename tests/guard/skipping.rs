//! Steps that are skipped change nothing.

use wgpu_optim::{Average, Clip, Layout, LossScale, Optimizer, Options};

use super::{Place, layout, params_of, stats, support::*, twin, write_grads};

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
