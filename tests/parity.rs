//! The GPU against the CPU twin in f64: every rule, variant, size and buffer mode.

mod support;

use support::*;
use wgpu_optim::{
    BufferRange, Buffers, DispatchLimits, Gpu, Layout, Optimizer, Options, hyperparameter::Field,
    read_blocking, rules,
};

const SIZES: [usize; 11] = [1024, 256, 4, 70_001, 1, 3, 5, 255, 257, 1023, 1025];
const FEW_SIZES: [usize; 3] = [256, 5, 1025];
const STEPS: usize = 6;

/// Small enough for many windows and folds in every tensor.
const TINY: DispatchLimits = DispatchLimits {
    binding_bytes: 16 * 1024,
    offset_alignment: 256,
    workgroups_per_dimension: 3,
};

/// The default of each rule at every size, the other variants at a few.
fn problems() -> Vec<(String, Problem)> {
    let problem = |variant: Variant| {
        let sizes = match variant.settings.is_empty() {
            true => &SIZES[..],
            false => &FEW_SIZES[..],
        };
        let problem = Problem::of_sizes(variant.make(), sizes, STEPS);
        (format!("{variant:?}"), problem)
    };
    Variant::all().into_iter().map(problem).collect()
}

#[test]
fn the_variants_cover_every_flag_and_choice_of_every_rule() {
    for name in rules::names() {
        let variants = Variant::all_of(name);
        assert!(variants.len() > 1, "{name}");
        for field in rule(name).hyperparameters() {
            let values: Vec<String> = match &field.field {
                Field::Number { .. } => continue,
                Field::Flag(_) => vec!["true".into(), "false".into()],
                Field::Choice(choice) => choice.names().iter().map(|s| s.to_string()).collect(),
                other => panic!("no test knows {other:?}"),
            };
            for value in values {
                let has = |variant: &Variant| {
                    let set = variant
                        .settings
                        .iter()
                        .rfind(|(name, _)| *name == field.name);
                    set.map_or(field.value(), |(_, value)| value.clone()) == value
                };
                let is_set = variants.iter().any(has);
                assert!(is_set, "no variant of {name} has {} = {value}", field.name);
            }
        }
    }
}

#[test]
fn every_variant_matches_the_f64_twin_in_arenas() {
    for (label, problem) in problems() {
        let found = problem.run(&mut problem.in_arena(Options::default()));
        assert_within_budget(&problem, &found, &label);
    }
}

#[test]
fn callers_ranges_give_the_numbers_of_arenas() {
    for (turn, (label, problem)) in problems().into_iter().enumerate() {
        let expected = problem.run(&mut problem.in_arena(Options::default()));
        let bytes = problem.packed_bytes();
        // How elements are reached does not depend on the variant. So the defaults of each rule are at
        // all places, and the other variants take turns.
        let is_default = problem.params.len() == SIZES.len();
        let is_due = |place: usize| is_default || turn % 3 == place;
        // 12 bytes push everything off the quads, 16 do not.
        let starts = [0, 12].into_iter().enumerate();
        for (_, start) in starts.filter(|(place, _)| is_due(*place)) {
            let (params, grads) = (buffer(bytes + start), buffer(bytes + 16));
            let buffers = Buffers {
                params: problem.packed(&params, start),
                grads: Some(problem.packed(&grads, 16)),
                ..Default::default()
            };
            let found = problem.run(&mut problem.over(buffers, Options::default()));
            assert_within_budget(&problem, &found, &label);
            assert_same(&problem, &found, &expected, &format!("{label} at {start}"));
        }
        if !is_due(2) {
            continue;
        }
        let both = buffer(2 * bytes + 8);
        let buffers = Buffers {
            params: problem.packed(&both, 0),
            grads: Some(problem.packed(&both, bytes + 8)),
            ..Default::default()
        };
        let found = problem.run(&mut problem.over(buffers, Options::default()));
        assert_same(
            &problem,
            &found,
            &expected,
            &format!("{label}, one allocation"),
        );
    }
}

#[test]
fn windows_and_folds_change_no_result() {
    let options = Options {
        limits: Some(TINY),
        ..Default::default()
    };
    for name in rules::names() {
        // A matrix is bound as a whole.
        let sizes = match rule(name).stages().matrix {
            Some(_) => &[60, 33, 5][..],
            None => &SIZES,
        };
        let problem = Problem::of_sizes(rule(name), sizes, 3);
        let expected = problem.run(&mut problem.in_arena(Options::default()));
        let found = problem.run(&mut problem.in_arena(options.clone()));
        assert_same(&problem, &found, &expected, &format!("{name} in arenas"));
        let bytes = problem.packed_bytes();
        let both = buffer(2 * bytes + 4);
        let (params, grads) = (buffer(bytes), buffer(bytes));
        for (params, grads) in [
            (problem.packed(&params, 0), problem.packed(&grads, 0)),
            (problem.packed(&both, 0), problem.packed(&both, bytes)),
            (problem.packed(&both, bytes + 4), problem.packed(&both, 0)),
        ] {
            let grads = Some(grads);
            let mut optimizer = problem.over(
                Buffers {
                    params,
                    grads,
                    ..Default::default()
                },
                options.clone(),
            );
            let found = problem.run(&mut optimizer);
            assert_same(&problem, &found, &expected, &format!("{name} in ranges"));
        }
    }
}

#[test]
fn many_groups_step_at_once_each_by_its_own_rule() {
    let mut layout = Layout::new();
    let groups: Vec<_> = Variant::all()
        .iter()
        .map(|variant| layout.group(variant.make()).unwrap())
        .collect();
    // Tensors of all groups in turn, so that none is contiguous as registered.
    for round in 0..3 {
        for (index, &group) in groups.iter().enumerate() {
            let name = format!("{index}.{round}");
            let size = 7 + 300 * round + index;
            let shape = shape_for(layout.rule(group).unwrap(), round, size);
            layout.tensor(group, &name, &shape).unwrap();
        }
    }
    let problem = Problem::random(layout, 4, 5);
    let in_arena = problem.run(&mut problem.in_arena(Options::default()));
    assert_within_budget(&problem, &in_arena, "many groups");
    let (params, grads) = (
        buffer(problem.packed_bytes()),
        buffer(problem.packed_bytes()),
    );
    let buffers = Buffers {
        params: problem.packed(&params, 0),
        grads: Some(problem.packed(&grads, 0)),
        ..Default::default()
    };
    let in_ranges = problem.run(&mut problem.over(buffers, Options::default()));
    assert_same(&problem, &in_ranges, &in_arena, "many groups in ranges");
}

#[test]
fn every_tensor_may_lie_in_a_buffer_of_its_own() {
    let problem = Problem::of_sizes(rule("adamw"), &[5, 64, 1030], 3);
    let expected = problem.run(&mut problem.in_arena(Options::default()));
    let own = |tensor| {
        let bytes = 4 * problem.layout.element_count(tensor).unwrap() as u64;
        BufferRange::whole(&buffer(bytes))
    };
    let buffers = Buffers {
        params: problem.layout.tensors().map(own).collect(),
        grads: Some(problem.layout.tensors().map(own).collect()),
        ..Default::default()
    };
    assert!(problem.run(&mut problem.over(buffers, Options::default())) == expected);
}

#[test]
fn padding_stays_zero() {
    let Gpu { device, queue, .. } = gpu();
    for variant in Variant::all() {
        let problem = Problem::of_sizes(variant.make(), &[1, 65, 1025], STEPS);
        let mut optimizer = problem.in_arena(Options::default());
        problem.run(&mut optimizer);
        let tensors = problem.tensors();
        for of in [Optimizer::param, Optimizer::grad] {
            let ranges: Vec<_> = tensors
                .iter()
                .map(|&t| of(&optimizer, t).unwrap())
                .collect();
            let whole = BufferRange::whole(&ranges[0].buffer);
            let values = read_blocking(device, queue, &whole).unwrap();
            for (index, value) in values.iter().enumerate() {
                let byte = 4 * index as u64;
                let inside = ranges
                    .iter()
                    .any(|r| (r.offset..r.offset + r.size).contains(&byte));
                assert!(
                    inside || value.to_bits() == 0,
                    "{variant:?}: element {index} is {value}"
                );
            }
        }
    }
}

#[test]
fn state_matches_the_f64_twin() {
    let queue = &gpu().queue;
    for variant in Variant::all() {
        let problem = Problem::of_sizes(variant.make(), &[5, 1030], STEPS);
        let mut optimizer = problem.in_arena(Options::default());
        problem.run(&mut optimizer);
        let (truth, f32_twin) = (problem.twin::<f64>(), problem.twin::<f32>());
        let rule = problem.layout.rule(only_group(&problem.layout)).unwrap();
        for slot in element_slots(rule) {
            for tensor in problem.tensors() {
                let found = optimizer.read_state_blocking(queue, tensor, slot).unwrap();
                let truth = truth.state(tensor, slot).unwrap();
                let f32_twin = f32_twin.state(tensor, slot).unwrap();
                let (error, budget) = (error(&found, &truth), budget(&f32_twin, &truth));
                assert!(
                    error <= budget,
                    "{variant:?}, {}: {error:e} > {budget:e}",
                    slot
                );
            }
        }
    }
}

#[test]
fn the_same_run_twice_is_bit_equal() {
    let problem = Problem::of_sizes(rule("adam"), &[70_001, 3], STEPS);
    let first = problem.run(&mut problem.in_arena(Options::default()));
    let second = problem.run(&mut problem.in_arena(Options::default()));
    assert!(first == second);
}
