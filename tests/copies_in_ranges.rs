//! Copies of the parameters in a caller's own buffers: nothing else there changes, other buffers take their
//! place, and ranges that do not fit are refused.

mod support;

use support::{saved, *};
use wgpu_optim::{
    Average, BufferRange, Buffers, DispatchLimits, Error, Format, Formats, Gpu, Layout, Optimizer,
    Options, read_blocking,
    rules::{AdamW, Sgd},
    wgpu, write,
};

/// Odd and even ones, and more than a workgroup.
const SIZES: [usize; 7] = [1, 3, 64, 5, 1025, 2, 1027];

fn copied(copy: Format) -> Formats {
    Formats {
        copy: Some(copy),
        ..Formats::default()
    }
}

/// What each word was before anything was copied: in no format a parameter of these tests.
fn sentinel(index: usize) -> u32 {
    0x7e01_7e01 + 0x2_0002 * (index as u32 % 100)
}

fn filled(bytes: u64) -> wgpu::Buffer {
    let buffer = buffer(bytes);
    let words: Vec<_> = (0..bytes as usize / 4).map(sentinel).collect();
    let bytes = bytemuck::cast_slice(&words);
    gpu().queue.write_buffer(&buffer, 0, bytes);
    buffer
}

fn words(range: &BufferRange) -> Vec<u32> {
    let words = read_blocking(&gpu().device, &gpu().queue, range).unwrap();
    words.iter().map(|word| word.to_bits()).collect()
}

fn halves(words: &[u32]) -> Vec<u16> {
    bytemuck::cast_slice(words).to_vec()
}

/// The nearest 16 bits of numbers that have no more than these.
fn encoded(copy: Format, values: &[f32]) -> Vec<u16> {
    let of_value = |value: &f32| match copy {
        Format::Bf16 => (value.to_bits() >> 16) as u16,
        _ => half(*value),
    };
    values.iter().map(of_value).collect()
}

/// The f16 of a number that is a normal f16.
fn half(value: f32) -> u16 {
    let bits = value.to_bits();
    let exponent = (bits >> 23 & 0xff) as i32 - 112;
    assert!((1..31).contains(&exponent) && bits & 0x1fff == 0, "{value}");
    ((bits >> 16 & 0x8000) | (exponent as u32) << 10 | (bits >> 13 & 0x3ff)) as u16
}

/// The tensors' copies with `gap` bytes before each.
fn scattered(problem: &Problem, copy: Format, buffer: &wgpu::Buffer, gap: u64) -> Vec<BufferRange> {
    let packed = problem.packed_in(copy, buffer, 0).into_iter().zip(1..);
    packed
        .map(|(range, n)| BufferRange {
            offset: range.offset + n * gap,
            ..range
        })
        .collect()
}

/// Fails unless `buffer` has these copies of the sizes in `ranges`, and else what it was filled with.
fn assert_copies(buffer: &wgpu::Buffer, ranges: &[BufferRange], copies: &[Vec<u16>], label: &str) {
    let found = halves(&words(&BufferRange::whole(buffer)));
    let before: Vec<_> = (0..found.len() / 2).map(sentinel).collect();
    let mut expected = halves(&before);
    for (range, copy) in ranges.iter().zip(copies) {
        let first = range.offset as usize / 2;
        expected[first..first + copy.len()].copy_from_slice(copy);
    }
    let mut differ = (0..found.len()).filter(|index| found[*index] != expected[*index]);
    let first = differ.next();
    assert_eq!(first, None, "{label}: of {} halves", found.len());
}

/// A step of −1 × the gradient, all numbers exact in 11 bits and in 8.
fn exact(copy: Format) -> Problem {
    exact_of(copy, &SIZES)
}

fn exact_of(copy: Format, sizes: &[usize]) -> Problem {
    let sgd = Sgd {
        lr: 1.0,
        ..Sgd::default()
    };
    let mut problem = Problem::with_formats(sgd, copied(copy), sizes, 1).unwrap();
    let numbers = |tensors: &mut Vec<Vec<f32>>, scale: f32| {
        for (index, value) in tensors.iter_mut().flatten().enumerate() {
            *value = scale * (1 + index % 60) as f32;
        }
    };
    numbers(&mut problem.params, 2.0);
    numbers(&mut problem.grads[0], 1.0);
    problem
}

#[test]
fn steps_switches_and_copies_change_the_copies_and_nothing_beside_them() {
    let Gpu { device, queue, .. } = gpu();
    for copy in [Format::F16, Format::Bf16] {
        let problem = exact(copy);
        for (offset, gap) in [(0, 0), (0, 8), (4, 4), (16, 20), (0, 252)] {
            let label = format!("{copy}, {offset}, {gap}");
            let params = problem.packed(&buffer(problem.packed_bytes() + offset), offset);
            let grads = problem.packed(&buffer(problem.packed_bytes()), 0);
            for (ranges, values) in [(&params, &problem.params), (&grads, &problem.grads[0])] {
                for (range, values) in ranges.iter().zip(values) {
                    write(device, queue, range, values).unwrap();
                }
            }
            let target = filled(problem.packed_bytes() + 8 * gap + 64);
            let copies = scattered(&problem, copy, &target, gap);
            let buffers = Buffers {
                params,
                grads: Some(grads),
                copies: Some(copies.clone()),
            };
            let options = Options {
                average: Some(Average {
                    decay: 0.0,
                    debias: false,
                }),
                ..Options::default()
            };
            let mut optimizer = problem.over(buffers, options);
            let copies_of = |scale: f32| {
                let of_tensor = |values: &Vec<f32>| {
                    let values: Vec<_> = values.iter().map(|value| scale * value).collect();
                    encoded(copy, &values)
                };
                problem.params.iter().map(of_tensor).collect::<Vec<_>>()
            };
            assert_copies(&target, &copies, &[], &format!("{label}, new"));
            submit(|encoder| optimizer.copy_params(encoder).unwrap());
            let [whole, half] = [copies_of(1.0), copies_of(0.5)];
            assert_copies(&target, &copies, &whole, &format!("{label}, copied"));
            submit(|encoder| optimizer.step(encoder).unwrap());
            assert_copies(&target, &copies, &half, &format!("{label}, stepped"));
            // An average of the last step alone.
            submit(|encoder| optimizer.evaluate(encoder).unwrap());
            assert_copies(&target, &copies, &half, &format!("{label}, evaluating"));
            submit(|encoder| optimizer.train(encoder).unwrap());
            assert_copies(&target, &copies, &half, &format!("{label}, training"));
        }
    }
}

/// A group in two buffers of copies, of which neighbouring tensors never share one, in one dispatch for each and in
/// many windows.
#[test]
fn copies_of_one_group_may_lie_in_two_buffers() {
    let Gpu { device, queue, .. } = gpu();
    let windows = Options {
        limits: Some(DispatchLimits {
            binding_bytes: 16 * 1024,
            offset_alignment: 256,
            workgroups_per_dimension: 3,
        }),
        ..Options::default()
    };
    for copy in [Format::F16, Format::Bf16] {
        let problem = exact_of(copy, &[1, 3, 6001, 64, 5, 9003, 2, 1027]);
        for (options, name) in [(Options::default(), "whole"), (windows.clone(), "windows")] {
            let label = format!("{copy}, {name}");
            let params = problem.packed(&buffer(problem.packed_bytes()), 0);
            let grads = problem.packed(&buffer(problem.packed_bytes()), 0);
            for (ranges, values) in [(&params, &problem.params), (&grads, &problem.grads[0])] {
                for (range, values) in ranges.iter().zip(values) {
                    write(device, queue, range, values).unwrap();
                }
            }
            let targets = [0, 1].map(|_| filled(problem.packed_bytes() + 64));
            // On and off the quads.
            let mut copies = scattered(&problem, copy, &targets[0], 4);
            for range in copies.iter_mut().skip(1).step_by(2) {
                range.buffer = targets[1].clone();
            }
            let buffers = Buffers {
                params,
                grads: Some(grads),
                copies: Some(copies.clone()),
            };
            let mut optimizer = problem.over(buffers, options);
            let assert_all = |scale: f32, label: &str| {
                for (index, target) in targets.iter().enumerate() {
                    let here = |all: &mut dyn Iterator<Item = Vec<u16>>| -> Vec<Vec<u16>> {
                        all.skip(index).step_by(2).collect()
                    };
                    let expected = here(&mut problem.params.iter().map(|values| {
                        let values: Vec<_> = values.iter().map(|value| scale * value).collect();
                        match scale {
                            0.0 => vec![0; values.len()],
                            _ => encoded(copy, &values),
                        }
                    }));
                    let ranges: Vec<_> = copies.iter().skip(index).step_by(2).cloned().collect();
                    let label = format!("{label}, buffer {index}");
                    assert_copies(target, &ranges, &expected, &label);
                }
            };
            submit(|encoder| optimizer.copy_params(encoder).unwrap());
            assert_all(1.0, &format!("{label}, copied"));
            submit(|encoder| optimizer.step(encoder).unwrap());
            assert_all(0.5, &format!("{label}, stepped"));
            for (tensor, range) in problem.layout.tensors().zip(&copies) {
                assert_eq!(optimizer.param_copy(tensor).as_ref(), Ok(range), "{label}");
            }
            // A second step, in which the windows are known.
            submit(|encoder| optimizer.step(encoder).unwrap());
            assert_all(0.0, &format!("{label}, stepped twice"));
        }
    }
}

#[test]
fn written_parameters_are_copied_and_an_odd_last_word_is_filled_up_with_zeros() {
    let problem = exact(Format::F16);
    let target = filled(problem.packed_bytes());
    let copies = scattered(&problem, Format::F16, &target, 8);
    let buffers = Buffers {
        params: problem.packed(&buffer(problem.packed_bytes()), 0),
        copies: Some(copies.clone()),
        ..Default::default()
    };
    let mut optimizer = problem.over(buffers, Options::default());
    problem.write_params(&mut optimizer);
    let padded = |values: &Vec<f32>| {
        let mut halves = encoded(Format::F16, values);
        halves.resize(halves.len().next_multiple_of(2), 0);
        halves
    };
    let expected: Vec<_> = problem.params.iter().map(padded).collect();
    assert_copies(&target, &copies, &expected, "written");
}

/// Groups in turns: no copy, f16, bf16.
#[test]
fn only_tensors_whose_group_has_a_copy_have_a_range() {
    let mut layout = Layout::new();
    let sgd = || Sgd {
        lr: 1.0,
        ..Sgd::default()
    };
    let copies = [None, Some(Format::F16), Some(Format::Bf16)];
    let groups = copies.map(|copy| {
        let formats = Formats {
            copy,
            ..Formats::default()
        };
        layout.group_in(sgd(), formats).unwrap()
    });
    for (index, size) in SIZES.into_iter().enumerate() {
        let name = index.to_string();
        layout.tensor(groups[index % 3], &name, &[size]).unwrap();
    }
    let mut problem = Problem::random(layout, 1, 1);
    problem.params = SIZES.map(|size| vec![4.0; size]).to_vec();
    problem.grads[0] = SIZES.map(|size| vec![1.0; size]).to_vec();
    let target = filled(problem.packed_bytes());
    let all = problem.packed_in(Format::F16, &target, 0);
    let formats = || (0usize..).map(move |index| copies[index % 3]);
    let ranges: Vec<_> = all
        .iter()
        .zip(formats())
        .filter_map(|(range, copy)| copy.map(|_| range.clone()))
        .collect();
    let buffers = Buffers {
        params: problem.packed(&buffer(problem.packed_bytes()), 0),
        grads: Some(problem.packed(&buffer(problem.packed_bytes()), 0)),
        copies: Some(ranges.clone()),
    };
    let mut optimizer = problem.over(buffers, Options::default());
    let three =
        |(size, copy): (usize, Option<Format>)| copy.map(|copy| encoded(copy, &vec![3.0; size]));
    let expected: Vec<_> = SIZES.into_iter().zip(formats()).filter_map(three).collect();
    for (tensor, (values, grad)) in problem
        .layout
        .tensors()
        .zip(problem.params.iter().zip(&problem.grads[0]))
    {
        let param = optimizer.param(tensor).unwrap();
        write(&gpu().device, &gpu().queue, &param, values).unwrap();
        optimizer.write_grad(&gpu().queue, tensor, grad).unwrap();
    }
    submit(|encoder| optimizer.step(encoder).unwrap());
    assert_copies(&target, &ranges, &expected, "three groups");
    for (tensor, (range, copy)) in problem.layout.tensors().zip(all.into_iter().zip(formats())) {
        match copy {
            Some(_) => assert_eq!(optimizer.param_copy(tensor), Ok(range)),
            None => assert!(matches!(
                optimizer.param_copy(tensor),
                Err(Error::NoCopy { .. })
            )),
        }
    }
}

#[test]
fn copies_take_turns_by_rebinding_and_come_back_to_the_optimizer() {
    let problem = Problem::with_formats(AdamW::default(), copied(Format::Bf16), &SIZES, 4).unwrap();
    let mut plain = problem.in_arena(Options::default());
    problem.write_params(&mut plain);
    let params = problem.packed(&buffer(problem.packed_bytes()), 0);
    let grads = problem.packed(&buffer(problem.packed_bytes()), 0);
    let [a, b] = [0, 4].map(|offset| {
        let target = buffer(problem.packed_bytes() + offset);
        Some(problem.packed_in(Format::Bf16, &target, offset))
    });
    let own = |optimizer: &Optimizer| {
        let tensors = problem.layout.tensors();
        let ranges: Vec<_> = tensors
            .map(|tensor| optimizer.param_copy(tensor).unwrap())
            .collect();
        ranges.iter().map(words).collect::<Vec<_>>()
    };
    let buffers = |copies| Buffers {
        params: params.clone(),
        grads: Some(grads.clone()),
        copies,
    };
    let mut optimizer = problem.over(buffers(a.clone()), Options::default());
    problem.write_params(&mut optimizer);
    for (step, copies) in [b.clone(), a.clone(), None, b.clone()]
        .into_iter()
        .enumerate()
    {
        let before = own(&optimizer);
        let old = optimizer.param_copy(problem.tensors()[4]).unwrap();
        let kept = words(&old);
        optimizer.rebind(buffers(copies.clone())).unwrap();
        for optimizer in [&mut plain, &mut optimizer] {
            saved::take(optimizer, &problem, step..step + 1);
        }
        let label = format!("step {step}");
        assert!(own(&optimizer) == own(&plain), "{label}");
        assert!(own(&optimizer) != before, "{label}");
        assert!(words(&old) == kept, "{label}: the other buffer is left");
        let is_callers = |ranges: &Vec<BufferRange>| {
            let found = optimizer.param_copy(problem.tensors()[4]);
            assert_eq!(found.as_ref(), Ok(&ranges[4]), "{label}");
        };
        copies.iter().for_each(is_callers);
    }
}

#[test]
fn gradients_may_be_passed_at_each_step_with_copies_too() {
    let problem = exact(Format::F16);
    let target = filled(problem.packed_bytes());
    let copies = scattered(&problem, Format::F16, &target, 4);
    let both = buffer(2 * problem.packed_bytes());
    let params = problem.packed(&both, 0);
    let buffers = Buffers {
        params: params.clone(),
        copies: Some(copies.clone()),
        ..Default::default()
    };
    let mut optimizer = problem.over(buffers, Options::default());
    let half: Vec<_> = problem.grads[0]
        .iter()
        .map(|values| encoded(Format::F16, values))
        .collect();
    // In a buffer of their own, and within the parameters' binding.
    for grads in [
        problem.packed(&buffer(problem.packed_bytes()), 0),
        problem.packed(&both, problem.packed_bytes()),
    ] {
        for (ranges, values) in [(&params, &problem.params), (&grads, &problem.grads[0])] {
            for (range, values) in ranges.iter().zip(values) {
                write(&gpu().device, &gpu().queue, range, values).unwrap();
            }
        }
        submit(|encoder| optimizer.copy_params(encoder).unwrap());
        submit(|encoder| optimizer.step_with(encoder, &grads).unwrap());
        assert_copies(&target, &copies, &half, "passed");
    }
    let inside = vec![copies[0].clone(); SIZES.len()];
    let inside: Vec<_> = inside
        .into_iter()
        .zip(SIZES)
        .map(|(range, size)| BufferRange {
            offset: 0,
            size: 4 * size as u64,
            ..range
        })
        .collect();
    let mut encoder = gpu().device.create_command_encoder(&Default::default());
    let error = optimizer.step_with(&mut encoder, &inside).unwrap_err();
    assert_eq!(
        error.to_string(),
        "copy of \"0: 1\": it is in the buffer of the gradient of \"0: 1\"; expected a buffer without \
         parameters and gradients"
    );
}

#[test]
fn copies_that_do_not_fit_are_refused_by_the_tensors_name() {
    let problem = Problem::with_formats(AdamW::default(), copied(Format::F16), &[8, 3], 1).unwrap();
    let [params, grads, copies] = [0; 3].map(|_| buffer(256));
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
    let over = |problem: &Problem, copies| {
        let buffers = Buffers {
            params: problem.packed(&params, 0),
            grads: Some(problem.packed(&grads, 0)),
            copies: Some(copies),
        };
        Optimizer::over(&gpu().device, &problem.layout, buffers, Options::default())
    };
    let first = range(&copies, 0, 16);
    over(&problem, vec![first.clone(), range(&copies, 20, 8)]).unwrap();
    for (second, message) in [
        (
            None,
            "copy ranges, one per tensor whose group has a copy: expected 2, got 1",
        ),
        (
            Some(range(&copies, 16, 12)),
            "copy of \"1: 3\": shape [3] takes 8 bytes, the range has 12",
        ),
        (
            Some(range(&copies, 18, 8)),
            "copy of \"1: 3\": offset 18 and size 8 must be multiples of 4 bytes",
        ),
        (
            Some(range(&copies, 252, 8)),
            "copy of \"1: 3\": 8 bytes at offset 252 are not within the buffer of 256 bytes",
        ),
        (Some(range(&no_storage, 0, 8)), "it must contain"),
        (
            Some(range(&copies, 12, 8)),
            "copy of \"0: 8\": bytes 0..16 overlap bytes 12..20 of the copy of \"1: 3\" in the same buffer",
        ),
        (
            Some(range(&params, 128, 8)),
            "copy of \"1: 3\": it is in the buffer of the parameter of",
        ),
        (
            Some(range(&grads, 128, 8)),
            "copy of \"1: 3\": it is in the buffer of the gradient of",
        ),
    ] {
        let copies = [first.clone()].into_iter().chain(second).collect();
        let error = over(&problem, copies).unwrap_err().to_string();
        assert!(error.contains(message), "{error:?}, not {message:?}");
    }
    let plain = Problem::of_sizes(AdamW::default(), &[8, 3], 1);
    let error = over(&plain, vec![first.clone()]).unwrap_err().to_string();
    assert!(error.contains("expected 0, got 1"), "{error}");
    over(&plain, vec![]).unwrap();
}

#[test]
fn parameters_stay_if_their_copy_cannot_be_written() {
    let Gpu { device, queue, .. } = gpu();
    let problem = Problem::with_formats(AdamW::default(), copied(Format::F16), &[8], 1).unwrap();
    let tensor = problem.tensors()[0];
    let bare = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 16,
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    });
    let buffers = Buffers {
        params: problem.packed(&buffer(32), 0),
        copies: Some(vec![BufferRange::whole(&bare)]),
        ..Default::default()
    };
    let optimizer = problem.over(buffers, Options::default());
    let ones = [1.0f32; 8];
    for refused in [
        optimizer.write_param(queue, tensor, &ones),
        optimizer.write_param_bytes(queue, tensor, bytemuck::cast_slice(&ones)),
    ] {
        let message = refused.unwrap_err().to_string();
        assert!(message.contains("copy of \"0: 8\""), "{message}");
        assert!(message.contains("COPY_DST"), "{message}");
    }
    let found = optimizer.read_param_blocking(queue, tensor).unwrap();
    assert_eq!(found, [0.0; 8], "nothing was written");
}
