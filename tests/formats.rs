//! Storage in fewer bits: the same bits on the GPU and in the twin, rounded without bias.

mod support;

use support::{places::everywhere, saved, *};
use wgpu_optim::{
    Error, Format, Formats, Layout, Optimizer, Options, Rule, cpu, rules,
    rules::{Adagrad, Adan, Sgd},
};

/// One step of these rules stores their gradient, or its square, as it is in this slot, which is rounded.
fn keepers() -> Vec<(Box<dyn Rule>, &'static str, Formats)> {
    let mut keepers: Vec<(Box<dyn Rule>, _, _)> = Vec::new();
    for formats in FORMATS.map(in_state) {
        keepers.push((Box::new(momentum()), "momentum_buffer", formats));
        keepers.push((Box::new(Adagrad::default()), "sum", formats));
    }
    keepers.push((Box::new(Adan::default()), "prev_grad", sensitive()));
    keepers
}

fn momentum() -> Sgd {
    Sgd {
        momentum: 0.5,
        ..Default::default()
    }
}

fn in_formats(rule: Box<dyn Rule>, formats: Formats, seed: u32, sizes: &[usize]) -> Problem {
    Problem::with_formats(rule, Formats { seed, ..formats }, sizes, 3).unwrap()
}

fn in_format(rule: Box<dyn Rule>, state: Format, seed: u32, sizes: &[usize]) -> Problem {
    in_formats(rule, in_state(state), seed, sizes)
}

fn in_state(state: Format) -> Formats {
    Formats {
        state,
        ..Formats::default()
    }
}

/// What stays f32 unless it is asked for.
fn sensitive() -> Formats {
    Formats {
        sensitive: Format::Bf16,
        ..Formats::default()
    }
}

/// Zeros, and gradients of every exponent whose square is a normal number: some devices flush others.
fn hostile(problem: &mut Problem) {
    let mut random = random(11);
    for grad in problem.grads.iter_mut().flatten().flatten() {
        use rand::RngExt;
        let bits: u32 = random.random();
        let value = f32::from_bits(bits);
        *grad = match bits % 16 {
            0 => 0.0,
            // Within a few octaves of one another, as in a real block.
            1..=11 => f32::from_bits(bits & 0x83ff_ffff | 0x3a00_0000),
            _ if (1e-18..1e18).contains(&value.abs()) => value,
            _ => 1.0,
        };
    }
}

const SIZES: [usize; 9] = [1, 3, 64, 65, 100, 1023, 1025, 5000, 20_001];

const FORMATS: [Format; 2] = [Format::Bf16, Format::Int8];

/// The bits of a slot of every tensor.
fn state_bits(optimizer: &Optimizer, slot: &str) -> Vec<Vec<u32>> {
    let tensors = optimizer.layout().tensors();
    let read = |tensor| {
        let values = optimizer.read_state_blocking(&gpu().queue, tensor, slot);
        bits(&values.unwrap())
    };
    tensors.map(read).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn the_gpu_stores_the_bits_of_the_twin_wherever_the_tensors_lie() {
    for (rule, slot, formats) in keepers() {
        let label = format!("{} in {formats:?}", rule.name());
        let mut problem = in_formats(rule, formats, 7, &SIZES);
        hostile(&mut problem);
        problem.grads.truncate(1);
        let twin = problem.twin::<f32>();
        let expected: Vec<_> = problem
            .layout
            .tensors()
            .map(|tensor| bits(&twin.state(tensor, slot).unwrap()))
            .collect();
        for (place, mut optimizer) in everywhere(&problem, &Options::default()) {
            problem.run(&mut optimizer);
            let found = state_bits(&optimizer, slot);
            for (found, expected) in found.iter().zip(&expected) {
                let differing = found.iter().zip(expected).position(|(a, b)| a != b);
                let count = found.len();
                assert_eq!(differing, None, "{label}, {place}, one of {count}");
            }
        }
        // Otherwise nothing was rounded, or all to the nearest.
        let grads = problem.grads[0].iter().flatten();
        let rounded = expected.iter().flatten().zip(grads);
        let changed = rounded.filter(|(found, grad)| **found != grad.to_bits());
        assert!(changed.count() > 10_000, "{label}");
    }
}

#[test]
fn other_seeds_steps_and_groups_round_otherwise_and_the_same_ones_alike() {
    let stored = |seed: u32, groups: usize| {
        let mut layout = Layout::new();
        let formats = Formats {
            state: Format::Bf16,
            seed,
            ..Formats::default()
        };
        let momentum = || Sgd {
            momentum: 0.5,
            ..Default::default()
        };
        for index in 0..groups {
            let group = layout.group_in(momentum(), formats).unwrap();
            layout.tensor(group, &format!("x{index}"), &[4096]).unwrap();
        }
        let mut optimizer = Optimizer::new(&gpu().device, &layout, Options::default()).unwrap();
        let grad = vec![1.0 / 3.0; 4096];
        for tensor in layout.tensors() {
            optimizer.write_grad(&gpu().queue, tensor, &grad).unwrap();
        }
        submit(|encoder| optimizer.step(encoder).unwrap());
        state_bits(&optimizer, "momentum_buffer")
    };
    let both = stored(1, 2);
    assert!(both == stored(1, 2));
    assert!(both[0] == stored(1, 1)[0] && both[0] != both[1]);
    assert!(both[0] != stored(3, 1)[0]);
}

/// The mean of many roundings of a value is the value, and each is one of its two neighbours.
#[test]
fn rounding_is_unbiased_and_keeps_what_can_be_stored() {
    const COUNT: usize = 10_000_000;
    let value = 1.0 + 0.3 / 128.0;
    for (format, neighbours) in [
        (Format::Bf16, [1.0, 1.0 + 1.0 / 128.0]),
        (Format::Int8, [1.0, 1.0 + 1.0 / 16.0]),
    ] {
        let mut layout = Layout::new();
        let formats = Formats {
            state: format,
            seed: 1,
            ..Formats::default()
        };
        let momentum = Sgd {
            momentum: 0.5,
            lr: 0.0,
            ..Default::default()
        };
        let group = layout.group_in(momentum, formats).unwrap();
        let x = layout.tensor(group, "x", &[COUNT]).unwrap();
        let mut twin = cpu::Optimizer::<f32>::new(&layout).unwrap();
        let grad = twin.grad_mut(x).unwrap();
        grad.fill(value);
        // The largest of each block.
        grad.iter_mut().step_by(16).for_each(|g| *g = 1.5);
        twin.step().unwrap();
        let stored = twin.state(x, "momentum_buffer").unwrap().to_vec();
        let small: Vec<f64> = stored
            .chunks(16)
            .flat_map(|block| &block[1..])
            .map(|&value| f64::from(value))
            .collect();
        assert!(stored.iter().step_by(16).all(|&top| top == 1.5));
        assert!(
            small
                .iter()
                .all(|found| neighbours.contains(&(*found as f32)))
        );
        let count = small.len() as f64;
        let mean = small.iter().sum::<f64>() / count;
        let spread = small.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        let standard_error = (spread / count).sqrt();
        assert!(spread > 0.0);
        let off = (mean - f64::from(value)) / standard_error;
        assert!(off.abs() < 4.0, "{format}: off by {off} standard errors");
        // A second step that adds nothing leaves what is stored: 0.5 b + 0.5 b is b.
        let grad: Vec<f32> = stored.iter().map(|b| 0.5 * b).collect();
        twin.grad_mut(x).unwrap().copy_from_slice(&grad);
        twin.step().unwrap();
        assert!(
            twin.state(x, "momentum_buffer").unwrap() == stored,
            "{format}"
        );
    }
}

/// The GPU and the f32 twin compute the same up to f32's rounding. Where that makes a value fall on
/// the other side of a random number, it is stored as the other neighbour. That is seldom.
#[test]
fn every_rule_in_every_format_does_what_its_twin_does() {
    for name in rules::names() {
        for formats in FORMATS.map(in_state).into_iter().chain([sensitive()]) {
            let label = format!("{name} in {formats:?}");
            // A matrix is bound as a whole.
            let sizes = match rule(name).stages().matrix {
                Some(_) => [60, 33, 5],
                None => [100, 2000, 7],
            };
            let problem = in_formats(rule(name), formats, 3, &sizes);
            let (twin, truth) = (problem.twin::<f32>(), problem.twin::<f64>());
            for (place, mut optimizer) in everywhere(&problem, &Options::default())
                .into_iter()
                .step_by(2)
            {
                let found = problem.run(&mut optimizer);
                let (mut differing, mut moved, mut off) = (0, 0.0f64, 0.0f64);
                for (tensor, found) in problem.layout.tensors().zip(&found) {
                    let twin = twin.param(tensor).unwrap();
                    let (start, truth) = (
                        &problem.params[tensor_index(&problem, tensor)],
                        truth.param(tensor).unwrap(),
                    );
                    for (((found, twin), start), truth) in
                        found.iter().zip(twin).zip(start).zip(truth)
                    {
                        let scale = f64::from(start - twin).abs().max(1e-7);
                        let is_near = f64::from(found - twin).abs() <= 1e-3 * scale + 1e-6;
                        differing += usize::from(!is_near);
                        moved += f64::from(twin - start).powi(2);
                        off += (f64::from(*twin) - truth).powi(2);
                    }
                }
                assert!(differing < 20, "{label}, {place}: {differing} differ");
                assert!(off <= 0.1 * moved, "{label}: {off} of {moved}");
            }
        }
    }
}

fn tensor_index(problem: &Problem, tensor: wgpu_optim::Tensor) -> usize {
    problem
        .layout
        .tensors()
        .position(|other| other == tensor)
        .unwrap()
}

#[test]
fn state_takes_the_bytes_of_its_format() {
    for (format, of_moments) in [
        (Format::F32, 4000),
        (Format::Bf16, 2000),
        (Format::Int8, 16 * 80),
    ] {
        let problem = in_format(rule("adamw"), format, 0, &[1000]);
        let optimizer = problem.in_arena(Options::default());
        let tensor = problem.tensors()[0];
        for slot in ["exp_avg", "exp_avg_sq"] {
            assert_eq!(
                optimizer.state(tensor, slot).unwrap().size,
                of_moments,
                "{format}"
            );
        }
        assert_eq!(optimizer.param(tensor).unwrap().size, 4000);
    }
}

#[test]
fn what_is_written_is_read_back_rounded_to_the_nearest() {
    for (format, error) in [
        (Format::F32, 0.0),
        (Format::Bf16, 1.0 / 256.0),
        (Format::Int8, 1.0 / 32.0),
    ] {
        for count in [1, 3, 64, 1001] {
            let problem = in_format(rule("adamw"), format, 0, &[count, 5]);
            let optimizer = problem.in_arena(Options::default());
            let tensor = problem.tensors()[0];
            let values: Vec<f32> = (0..count)
                .map(|i| 1.0 + (i as f32 * 0.37).sin().abs())
                .collect();
            optimizer
                .write_state(&gpu().queue, tensor, "exp_avg", &values)
                .unwrap();
            let read = optimizer
                .read_state_blocking(&gpu().queue, tensor, "exp_avg")
                .unwrap();
            for (read, value) in read.iter().zip(&values) {
                assert!(
                    (read - value).abs() <= error * value,
                    "{format}: {read} for {value}"
                );
            }
            let short = optimizer.write_state(&gpu().queue, tensor, "exp_avg", &values[1..]);
            assert!(matches!(short, Err(wgpu_optim::Error::Length { .. })));
        }
    }
}

#[test]
fn the_twin_lends_no_state_in_fewer_bits_and_rounds_what_it_is_given() {
    let rule = || rule("adamw");
    for (format, distance) in [(Format::Bf16, 1.0 / 256.0), (Format::Int8, 1.0 / 16.0)] {
        let problem = in_format(rule(), format, 7, &[70, 5]);
        let tensor = problem.tensors()[0];
        let mut twin = cpu::Optimizer::<f32>::new(&problem.layout).unwrap();
        let refused = twin.state_mut(tensor, "exp_avg").unwrap_err();
        assert!(matches!(refused, Error::Coded { .. }), "{refused}");
        let short = twin.write_state(tensor, "exp_avg", &[1.0; 69]);
        let is_length = |expected, actual| matches!(short, Err(Error::Length { expected: e, actual: a, .. }) if (e, a) == (expected, actual));
        assert!(is_length(70, 69), "{short:?}");
        let values: Vec<f32> = (0..70).map(|i| 1.0 + 0.01 * i as f32).collect();
        twin.write_state(tensor, "exp_avg", &values).unwrap();
        let found = twin.state(tensor, "exp_avg").unwrap().into_owned();
        assert_ne!(found, values, "{format}");
        for (found, value) in found.iter().zip(&values) {
            assert!(
                (found / value - 1.0).abs() <= distance,
                "{found} for {value}"
            );
        }
        twin.write_state(tensor, "exp_avg", &found).unwrap();
        assert_eq!(*twin.state(tensor, "exp_avg").unwrap(), found, "{format}");
        // The next tensor is as it was.
        let other = twin.state(problem.tensors()[1], "exp_avg").unwrap();
        assert_eq!(*other, [0.0; 5]);
        // Numbers of f64 are the reference.
        let mut exact = cpu::Optimizer::<f64>::new(&problem.layout).unwrap();
        exact.state_mut(tensor, "exp_avg").unwrap().fill(1.003);
        assert_eq!(*exact.state(tensor, "exp_avg").unwrap(), [1.003; 70]);
    }
}

/// A device counts in 32 bits. Both draw from the lower 32 bits of the true count, and a checkpoint or a count that
/// is set on the way changes nothing.
#[test]
fn rounding_at_counts_of_any_size_is_that_of_the_twin_and_does_not_depend_on_where_counting_began()
{
    let counts = [
        5,
        (1 << 31) - 2,
        1 << 31,
        (1 << 31) + 7,
        (1 << 32) - 2,
        1 << 32,
        (3 << 40) + 20,
        (1 << 52) - 40,
    ];
    for format in FORMATS {
        let slot = "momentum_buffer";
        let mut problem = in_format(Box::new(momentum()), format, 7, &[100, 7]);
        // What is kept is zero at the last step, so that it becomes the gradient.
        hostile(&mut problem);
        let group = only_group(&problem.layout);
        let zeros = |optimizer: &Optimizer| {
            for (tensor, count) in problem.layout.tensors().zip([100, 7]) {
                let zeros = vec![0.0; count];
                let written = optimizer.write_state(&gpu().queue, tensor, slot, &zeros);
                written.unwrap();
            }
        };
        let mut all: Vec<Vec<Vec<u32>>> = Vec::new();
        for count in counts {
            let label = format!("{format} from {count}");
            let mut optimizer = problem.in_arena(Options::default());
            optimizer.set_step_count(group, count).unwrap();
            saved::take(&mut optimizer, &problem, 0..2);
            zeros(&optimizer);
            saved::take(&mut optimizer, &problem, 2..3);
            let mut twin = cpu::Optimizer::<f32>::new(&problem.layout).unwrap();
            twin.set_step_count(group, count + 2).unwrap();
            problem.prepare(&mut twin, 2).unwrap();
            twin.step().unwrap();
            let expected: Vec<_> = problem
                .layout
                .tensors()
                .map(|tensor| bits(&twin.state(tensor, slot).unwrap()))
                .collect();
            assert!(state_bits(&optimizer, slot) == expected, "{label}");
            let mut later = problem.in_arena(Options::default());
            later.set_step_count(group, count + 2).unwrap();
            saved::take(&mut later, &problem, 2..3);
            assert!(state_bits(&later, slot) == expected, "{label}, set later");
            assert!(
                !all.contains(&expected),
                "{label}: the bits of another count"
            );
            all.push(expected);
        }
    }
}
