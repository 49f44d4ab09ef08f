//! A caller's own buffers: neighbours, per-step gradients, reallocation, and ranges that do not fit.

mod support;

use support::*;
use wgpu_optim::{
    BufferRange, Buffers, Error, Gpu, Optimizer, Options, read_blocking, rules, wgpu, write,
};

const SIZES: [usize; 8] = [5, 1024, 3, 64, 1, 1029, 4, 256];

/// The tensors of `problem` in `buffer` with `gap` bytes before each.
fn scattered(problem: &Problem, buffer: &wgpu::Buffer, start: u64, gap: u64) -> Vec<BufferRange> {
    let packed = problem.packed(buffer, start);
    let spread = packed.into_iter().zip(1..).map(|(range, n)| BufferRange {
        offset: range.offset + n * gap,
        ..range
    });
    spread.collect()
}

/// Fills `buffer` with what must neither change nor spread: NaNs that differ from each other.
fn fill_with_nan(buffer: &wgpu::Buffer) -> Vec<u32> {
    let words: Vec<u32> = (0..buffer.size() as u32 / 4)
        .map(|i| 0x7fc0_0000 | i)
        .collect();
    gpu()
        .queue
        .write_buffer(buffer, 0, bytemuck::cast_slice(&words));
    words
}

fn assert_rest_is(buffer: &wgpu::Buffer, before: &[u32], ranges: &[&BufferRange], label: &str) {
    let Gpu { device, queue, .. } = gpu();
    let after = read_blocking(device, queue, &BufferRange::whole(buffer)).unwrap();
    for (index, (after, before)) in after.iter().zip(before).enumerate() {
        let byte = 4 * index as u64;
        let ours = |r: &&BufferRange| (r.offset..r.offset + r.size).contains(&byte);
        if !ranges.iter().any(ours) {
            assert_eq!(
                after.to_bits(),
                *before,
                "{label}: byte {byte} is a neighbour's"
            );
        }
    }
}

/// Looks at every slot with its padding, where a neighbour's NaN would show.
fn assert_state_is_finite(problem: &Problem, optimizer: &Optimizer, label: &str) {
    let Gpu { device, queue, .. } = gpu();
    let rule = problem.layout.rule(only_group(&problem.layout)).unwrap();
    let first = problem.layout.tensors().next().unwrap();
    for slot in element_slots(rule) {
        let range = optimizer.state(first, slot).unwrap();
        let whole = BufferRange::whole(&range.buffer);
        let values = read_blocking(device, queue, &whole).unwrap();
        assert!(
            values.iter().all(|value| value.is_finite()),
            "{label}: {slot}"
        );
    }
}

#[test]
fn neighbours_neither_change_nor_reach_the_state() {
    for variant in Variant::all() {
        let problem = Problem::of_sizes(variant.make(), &SIZES, 3);
        let expected = problem.run(&mut problem.in_arena(Options::default()));
        // Off the quads; wherever else, for the defaults of each rule.
        let places = [(4, 4), (0, 16), (8, 20), (100, 256)];
        let is_default = variant.settings.is_empty();
        for &(start, gap) in &places[..if is_default { 4 } else { 1 }] {
            assert_apart(&problem, &expected, start, gap, &format!("{variant:?}"));
        }
    }
}

/// One tensor is a span of its own, and needs no table.
#[test]
fn a_single_tensor_of_any_size_is_stepped_among_neighbours() {
    for name in rules::names() {
        for size in [1, 3, 64, 1024, 1029, 5003] {
            let problem = Problem::of_sizes(rule(name), &[size], 3);
            let expected = problem.run(&mut problem.in_arena(Options::default()));
            let label = format!("{name}, {size} elements");
            for (start, gap) in [(0, 16), (4, 4)] {
                assert_apart(&problem, &expected, start, gap, &label);
            }
        }
    }
}

/// Steps `problem` in ranges that are `gap` apart, with NaNs between them.
fn assert_apart(problem: &Problem, expected: &[Vec<f32>], start: u64, gap: u64, label: &str) {
    let label = format!("{label}, start {start}, gap {gap}");
    let bytes = problem.packed_bytes() + start + gap * (problem.params.len() as u64 + 1);
    let bytes = bytes.next_multiple_of(4);
    let (own_params, own_grads, both) = (buffer(bytes), buffer(bytes), buffer(2 * bytes));
    for (params_in, grads_in, grads_from) in [(&own_params, &own_grads, 0), (&both, &both, bytes)] {
        let before = [fill_with_nan(params_in), fill_with_nan(grads_in)];
        let params = scattered(problem, params_in, start, gap);
        let grads = scattered(problem, grads_in, start + grads_from, gap);
        let ours: Vec<_> = params.iter().chain(&grads).cloned().collect();
        let grads = Some(grads);
        let buffers = Buffers {
            params,
            grads,
            ..Default::default()
        };
        let mut optimizer = problem.over(buffers, Options::default());
        assert_same(problem, &problem.run(&mut optimizer), expected, &label);
        assert_state_is_finite(problem, &optimizer, &label);
        for (buffer, before) in [params_in, grads_in].into_iter().zip(&before) {
            let ours: Vec<_> = ours.iter().filter(|r| r.buffer == *buffer).collect();
            assert_rest_is(buffer, before, &ours, &label);
        }
    }
}

#[test]
fn gradients_may_come_in_other_buffers_at_every_step() {
    let Gpu { device, queue, .. } = gpu();
    let problem = Problem::of_sizes(rule("adam"), &SIZES, 30);
    let expected = problem.run(&mut problem.in_arena(Options::default()));
    let params = buffer(problem.packed_bytes());
    let params = problem.packed(&params, 0);
    // More sets than are kept, in an order that meets some again and others not.
    let sets: Vec<_> = (0..11)
        .map(|set| {
            let offset = 4 * set;
            let buffer = buffer(problem.packed_bytes() + offset);
            problem.packed(&buffer, offset)
        })
        .collect();
    let buffers = Buffers {
        params: params.clone(),
        grads: None,
        ..Default::default()
    };
    let mut optimizer = problem.over(buffers, Options::default());
    for (param, values) in params.iter().zip(&problem.params) {
        write(device, queue, param, values).unwrap();
    }
    for (step, grads) in problem.grads.iter().enumerate() {
        let set = &sets[[step % 3, step % 11][step % 2]];
        for (range, values) in set.iter().zip(grads) {
            write(device, queue, range, values).unwrap();
        }
        let mut encoder = device.create_command_encoder(&Default::default());
        assert_eq!(optimizer.step(&mut encoder), Err(Error::NoGradients));
        optimizer.step_with(&mut encoder, set).unwrap();
        queue.submit([encoder.finish()]);
    }
    for (tensor, expected) in problem.layout.tensors().zip(expected) {
        let found = optimizer.read_param_blocking(queue, tensor).unwrap();
        assert!(found == expected);
    }
}

#[test]
fn arenas_take_gradients_per_step_too() {
    let Gpu { device, queue, .. } = gpu();
    let problem = Problem::of_sizes(rule("adamw"), &SIZES, 1);
    let expected = problem.run(&mut problem.in_arena(Options::default()));
    let mut optimizer = problem.in_arena(Options::default());
    let grads = buffer(problem.packed_bytes());
    let grads = problem.packed(&grads, 0);
    for ((tensor, param), (range, grad)) in problem
        .layout
        .tensors()
        .zip(&problem.params)
        .zip(grads.iter().zip(&problem.grads[0]))
    {
        optimizer.write_param(queue, tensor, param).unwrap();
        write(device, queue, range, grad).unwrap();
    }
    let mut encoder = device.create_command_encoder(&Default::default());
    optimizer.step_with(&mut encoder, &grads).unwrap();
    queue.submit([encoder.finish()]);
    for (tensor, expected) in problem.layout.tensors().zip(expected) {
        assert!(optimizer.read_param_blocking(queue, tensor).unwrap() == expected);
    }
}

#[test]
fn after_a_reallocation_training_goes_on_with_the_same_state() {
    let Gpu { device, queue, .. } = gpu();
    let problem = Problem::of_sizes(rule("adam"), &SIZES, 4);
    let expected = problem.run(&mut problem.in_arena(Options::default()));
    let at = |offset: u64| {
        let (params, grads) = (
            buffer(problem.packed_bytes() + offset),
            buffer(problem.packed_bytes()),
        );
        Buffers {
            params: problem.packed(&params, offset),
            grads: Some(problem.packed(&grads, 0)),
            ..Default::default()
        }
    };
    let mut optimizer = problem.over(at(0), Options::default());
    let mut values = problem.params.clone();
    for (step, grads) in problem.grads.iter().enumerate() {
        optimizer.rebind(at(4 * step as u64)).unwrap();
        for (index, tensor) in problem.layout.tensors().enumerate() {
            optimizer
                .write_param(queue, tensor, &values[index])
                .unwrap();
            optimizer.write_grad(queue, tensor, &grads[index]).unwrap();
        }
        let mut encoder = device.create_command_encoder(&Default::default());
        optimizer.step(&mut encoder).unwrap();
        queue.submit([encoder.finish()]);
        for (index, tensor) in problem.layout.tensors().enumerate() {
            values[index] = optimizer.read_param_blocking(queue, tensor).unwrap();
        }
    }
    assert!(values == expected);
}

/// What is wrong with the ranges, and what the message must say.
#[test]
fn ranges_that_do_not_fit_are_refused_by_the_tensors_name() {
    let problem = Problem::of_sizes(rule("adamw"), &[8, 4], 1);
    let params = buffer(256);
    let grads = buffer(256);
    let no_storage = gpu().device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 256,
        usage: wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let range = |buffer: &wgpu::Buffer, offset, size| BufferRange {
        buffer: buffer.clone(),
        offset,
        size,
    };
    let good_params = [range(&params, 0, 32), range(&params, 32, 16)];
    let good_grads = [range(&grads, 0, 32), range(&grads, 32, 16)];
    let cases: Vec<(Vec<BufferRange>, Vec<BufferRange>, &str)> = vec![
        (
            vec![range(&params, 0, 32)],
            good_grads.to_vec(),
            "expected 2, got 1",
        ),
        (
            good_params.to_vec(),
            vec![],
            "gradient ranges, one per tensor: expected 2, got 0",
        ),
        (
            vec![range(&params, 0, 28), range(&params, 32, 16)],
            good_grads.to_vec(),
            "parameter of \"0: 8\": shape [8] takes 32 bytes, the range has 28",
        ),
        (
            vec![range(&params, 2, 32), range(&params, 36, 16)],
            good_grads.to_vec(),
            "offset 2 and size 32 must be multiples of 4",
        ),
        (
            vec![range(&params, 0, 32), range(&params, 248, 16)],
            good_grads.to_vec(),
            "16 bytes at offset 248 are not within the buffer of 256 bytes",
        ),
        (
            vec![range(&params, 0, 32), range(&params, u64::MAX - 3, 16)],
            good_grads.to_vec(),
            "not within the buffer",
        ),
        (
            vec![range(&no_storage, 0, 32), range(&params, 32, 16)],
            good_grads.to_vec(),
            "usage",
        ),
        (
            vec![range(&params, 0, 32), range(&params, 28, 16)],
            good_grads.to_vec(),
            "overlap",
        ),
        (
            good_params.to_vec(),
            vec![range(&params, 44, 32), range(&grads, 0, 16)],
            "gradient of \"0: 8\": bytes 44..76 overlap bytes 32..48 of the parameter of \"1: 4\"",
        ),
    ];
    for (params, grads, message) in cases {
        let grads = Some(grads);
        let made = wgpu_optim::Optimizer::over(
            &gpu().device,
            &problem.layout,
            Buffers {
                params,
                grads,
                ..Default::default()
            },
            Options::default(),
        );
        let error = made.unwrap_err().to_string();
        assert!(
            error.contains(message),
            "{error:?} does not say {message:?}"
        );
    }
    // Per step, too, and the optimizer works on.
    let buffers = Buffers {
        params: good_params.to_vec(),
        grads: None,
        ..Default::default()
    };
    let mut optimizer = problem.over(buffers, Options::default());
    let mut encoder = gpu().device.create_command_encoder(&Default::default());
    let wrong = [range(&params, 0, 32), range(&grads, 0, 16)];
    assert!(matches!(
        optimizer.step_with(&mut encoder, &wrong),
        Err(Error::BufferRange { .. })
    ));
    assert_eq!(optimizer.step_count(only_group(&problem.layout)), Ok(0));
    optimizer.step_with(&mut encoder, &good_grads).unwrap();
    gpu().queue.submit([encoder.finish()]);
}

#[test]
fn zero_grad_zeroes_the_gradients_and_nothing_else() {
    let Gpu { device, queue, .. } = gpu();
    let problem = Problem::of_sizes(rule("adamw"), &[5, 64], 1);
    let bytes = problem.packed_bytes() + 24;
    let (params, grads) = (buffer(bytes), buffer(bytes));
    let before = fill_with_nan(&grads);
    let ranges = scattered(&problem, &grads, 4, 8);
    let buffers = Buffers {
        params: problem.packed(&params, 0),
        grads: Some(ranges.clone()),
        ..Default::default()
    };
    let optimizer = problem.over(buffers, Options::default());
    let mut encoder = device.create_command_encoder(&Default::default());
    optimizer.zero_grad(&mut encoder).unwrap();
    queue.submit([encoder.finish()]);
    assert_rest_is(
        &grads,
        &before,
        &ranges.iter().collect::<Vec<_>>(),
        "zero_grad",
    );
    for tensor in problem.tensors() {
        let grad = optimizer.read_grad_blocking(queue, tensor).unwrap();
        assert!(grad.iter().all(|value| value.to_bits() == 0));
    }
}
