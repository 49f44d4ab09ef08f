//! Parameters and gradients of 16 bits: what they hold is what f32 would have held, wherever they lie.

mod support;

use support::{
    places::{bits, end_of, everywhere},
    saved, *,
};
use wgpu_optim::{
    BufferRange, Buffers, Checkpoint, Clip, Format, Formats, Gpu, Layout, LossScale, Optimizer,
    Options, Rule, cpu,
    rules::{self, AdamW, Sgd},
    wgpu,
};

const SIZES: [usize; 8] = [1, 3, 64, 65, 1023, 1025, 7, 5000];

/// Numbers that f32, f16 and bf16 can hold.
fn quantized(problem: &mut Problem) {
    let params = problem.params.iter_mut();
    let values = params.chain(problem.grads.iter_mut().flatten());
    for value in values.flatten() {
        *value = (*value * 64.0).round().clamp(-255.0, 255.0) / 64.0;
    }
}

fn problem(rule: Box<dyn Rule>, formats: Formats, sizes: &[usize]) -> Problem {
    let mut problem = Problem::with_formats(rule, formats, sizes, 3).unwrap();
    quantized(&mut problem);
    problem
}

/// Everything that a step can do with gradients.
fn all_options() -> [Options; 4] {
    let scaled = Options {
        loss_scale: Some(LossScale {
            init_scale: 4.0,
            ..LossScale::default()
        }),
        zero_grad: true,
        ..Options::default()
    };
    let clips = [
        Clip::Value(0.5),
        Clip::GlobalNorm(1.0),
        Clip::TensorNorm(0.5),
    ];
    let [value, norm, tensor] = clips.map(|clip| Options {
        clip,
        ..scaled.clone()
    });
    [Options::default(), value, norm, tensor]
}

#[test]
fn gradients_of_16_bits_give_the_bits_of_the_same_gradients_in_f32() {
    for (turn, name) in rules::names().enumerate() {
        let sizes = match rule(name).stages().matrix {
            Some(_) => &[60, 33, 5][..],
            None => &SIZES,
        };
        // All options and places for each rule would take minutes. These rules add up, take rows and
        // columns, and have matrices.
        let options = &all_options()[turn % 4];
        let has_all = ["adamw", "lamb", "adafactor", "muon"].contains(&name);
        let is_due = |place: &str| has_all || ["an arena", "ranges off the quads"].contains(&place);
        let run = |grads: Format| {
            let formats = Formats {
                grads,
                ..Formats::default()
            };
            let problem = problem(rule(name), formats, sizes);
            let places = everywhere(&problem, options).into_iter();
            let found: Vec<_> = places
                .filter(|(place, _)| is_due(place))
                .map(|(place, mut optimizer)| (place, problem.run(&mut optimizer)))
                .collect();
            (problem, found)
        };
        let (f32, expected) = run(Format::F32);
        for grads in [Format::F16, Format::Bf16] {
            for (place, found) in run(grads).1 {
                let label = format!("{name} with {grads} in {place}, {:?}", options.clip);
                let at = expected.iter().find(|(other, _)| *other == place);
                let expected = &at.unwrap().1;
                let adds_up = !matches!(options.clip, Clip::None | Clip::Value(_));
                if adds_up || sums_up(&f32) {
                    // Windows of 16 bits are cut elsewhere, so sums have another order.
                    for (found, expected) in found.iter().zip(expected) {
                        let expected: Vec<_> = expected.iter().map(|&p| f64::from(p)).collect();
                        assert!(error(found, &expected) < 1e-6, "{label}");
                    }
                } else {
                    assert!(bits(&found) == bits(expected), "{label}");
                }
            }
        }
    }
}

#[test]
fn infinities_and_nan_of_16_bits_are_seen() {
    for grads in [Format::F16, Format::Bf16] {
        for spoiled in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            let formats = Formats {
                grads,
                ..Formats::default()
            };
            let mut problem = problem(rule("adamw"), formats, &SIZES);
            problem.grads[1][3][64] = spoiled;
            let options = Options {
                skip_non_finite: true,
                ..Options::default()
            };
            for (place, mut optimizer) in everywhere(&problem, &options) {
                problem.run(&mut optimizer);
                let Gpu { device, queue, .. } = gpu();
                let mut encoder = device.create_command_encoder(&Default::default());
                let snapshot = optimizer.snapshot(&mut encoder).unwrap();
                queue.submit([encoder.finish()]);
                device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
                let stats = arrived(&snapshot);
                let counts = (stats.performed, stats.skipped);
                assert_eq!(counts, (2, 1), "{grads}, {spoiled}, {place}");
            }
        }
    }
}

#[test]
fn every_half_is_read_as_the_number_that_it_is() {
    for grads in [Format::F16, Format::Bf16] {
        let mut layout = Layout::new();
        let sgd = Sgd {
            momentum: 0.5,
            ..Default::default()
        };
        let formats = Formats {
            grads,
            ..Formats::default()
        };
        let group = layout.group_in(sgd, formats).unwrap();
        let tensor = layout.tensor(group, "x", &[1 << 16]).unwrap();
        let Gpu { device, queue, .. } = gpu();
        let mut optimizer = Optimizer::new(device, &layout, Options::default()).unwrap();
        let halves: Vec<u16> = (0..=u16::MAX).collect();
        let range = optimizer.grad(tensor).unwrap();
        queue.write_buffer(&range.buffer, range.offset, bytemuck::cast_slice(&halves));
        let expected = optimizer.read_grad_blocking(queue, tensor).unwrap();
        submit(|encoder| optimizer.step(encoder).unwrap());
        let found = optimizer.read_state_blocking(queue, tensor, "momentum_buffer");
        let params = optimizer.read_param_blocking(queue, tensor).unwrap();
        let found = found.unwrap();
        for (index, half) in halves.into_iter().enumerate() {
            let (found, expected) = (found[index], expected[index]);
            // A step makes a NaN of what is not finite and holds what is large. A device may flush
            // what is subnormal in f32.
            let is_alike = match expected.abs() {
                x if !x.is_finite() => params[index].is_nan(),
                x if x > 1e18 => found.abs() > 1e18,
                x if x < f32::MIN_POSITIVE => found.abs() < f32::MIN_POSITIVE,
                _ => found == expected,
            };
            assert!(is_alike, "{grads} {half:#06x}: {found} for {expected}");
        }
    }
}

#[test]
fn parameters_of_bf16_get_the_bits_of_the_twin_wherever_they_lie() {
    let sgd = Sgd {
        // Products with it are exact, so one sum is rounded.
        lr: 0.25,
        ..Default::default()
    };
    for grads in [Format::F32, Format::Bf16] {
        let formats = Formats {
            params: Format::Bf16,
            grads,
            seed: 9,
            ..Formats::default()
        };
        let mut problem = problem(Box::new(sgd.clone()), formats, &SIZES);
        for grad in problem.grads.iter_mut().flatten().flatten() {
            *grad /= 64.0;
        }
        let twin = problem.twin::<f32>();
        let tensors = problem.layout.tensors();
        let expected: Vec<_> = tensors
            .map(|tensor| twin.param(tensor).unwrap().to_vec())
            .collect();
        for (place, mut optimizer) in everywhere(&problem, &Options::default()) {
            let found = problem.run(&mut optimizer);
            assert!(bits(&found) == bits(&expected), "{grads} in {place}");
        }
        let before = problem.params.iter().flatten();
        let pairs = expected.iter().flatten().zip(before);
        assert!(pairs.filter(|(after, before)| after != before).count() > 1000);
        let mut values = expected.iter().flatten();
        assert!(values.all(|p| p.to_bits() & 0xffff == 0));
    }
}

#[test]
fn every_rule_takes_parameters_of_bf16_and_state_of_8_bits() {
    let names = rules::names().filter(|name| !rule(name).evaluates_elsewhere());
    for (name, params) in names.flat_map(|name| half_params().map(move |params| (name, params))) {
        let sizes = match rule(name).stages().matrix {
            Some(_) => &[60, 33, 5][..],
            None => &[100, 1025, 7],
        };
        let formats = Formats {
            params,
            grads: Format::Bf16,
            state: Format::Int8,
            sensitive: Format::Bf16,
            seed: 2,
            copy: None,
        };
        let problem = problem(rule(name), formats, sizes);
        let twin = problem.twin::<f32>();
        let places = everywhere(&problem, &Options::default()).into_iter();
        for (place, mut optimizer) in places.step_by(2) {
            let found = problem.run(&mut optimizer);
            // What is not rounded differs by the rounding of f32.
            let most = if params.rounds() { 0 } else { 1 << 8 };
            let mut differing = 0;
            for (tensor, found) in problem.layout.tensors().zip(&found) {
                let twin = twin.param(tensor).unwrap();
                let pairs = found.iter().zip(twin);
                differing += pairs
                    .filter(|(a, b)| a.to_bits().abs_diff(b.to_bits()) > most)
                    .count();
            }
            // Where f32 rounds otherwise, a value may become the other neighbour.
            assert!(
                differing < 20,
                "{name} with {params} in {place}: {differing} differ"
            );
        }
    }
}

#[test]
fn what_shares_a_word_with_an_odd_last_element_stays() {
    const COUNTS: [usize; 3] = [5, 1, 1027];
    const SENTINEL: u16 = 0xabcd;
    for params in half_params() {
        let formats = Formats {
            params,
            grads: Format::Bf16,
            ..Formats::default()
        };
        let mut layout = Layout::new();
        let group = layout.group_in(AdamW::default(), formats).unwrap();
        for count in COUNTS {
            layout.tensor(group, &count.to_string(), &[count]).unwrap();
        }
        let halves = |value: u16| -> Vec<u16> {
            let tensors = COUNTS.iter();
            let halves = tensors.flat_map(|count| [vec![value; *count], vec![SENTINEL]].concat());
            halves.collect()
        };
        let Gpu { device, queue, .. } = gpu();
        let write = |buffer: &wgpu::Buffer, value: u16| {
            queue.write_buffer(buffer, 0, bytemuck::cast_slice(&halves(value)));
        };
        let read = |buffer: &wgpu::Buffer| -> Vec<u16> {
            let words = wgpu_optim::read_blocking(device, queue, &BufferRange::whole(buffer));
            let words: Vec<_> = words.unwrap().iter().map(|word| word.to_bits()).collect();
            bytemuck::cast_slice(&words).to_vec()
        };
        let bytes = 2 * halves(0).len() as u64;
        let (params, grads) = (buffer(bytes), buffer(bytes));
        let ranges = |buffer: &wgpu::Buffer| {
            let mut end = 0;
            let ranges = COUNTS.iter().map(|count| {
                let size = 2 * (*count as u64 + 1);
                end += size;
                BufferRange {
                    buffer: buffer.clone(),
                    offset: end - size,
                    size,
                }
            });
            ranges.collect::<Vec<_>>()
        };
        let beside = |index: &usize| halves(0)[*index] == SENTINEL;
        for (grad, is_performed) in [(0x3f00, true), (0x7fc0, false)] {
            write(&params, 0x3f80);
            write(&grads, grad);
            let buffers = Buffers {
                params: ranges(&params),
                grads: Some(ranges(&grads)),
                ..Default::default()
            };
            let options = Options {
                zero_grad: true,
                skip_non_finite: true,
                ..Options::default()
            };
            let mut optimizer = Optimizer::over(device, &layout, buffers, options).unwrap();
            // More steps after a skipped one would decay the parameters.
            let steps = if is_performed { 9 } else { 1 };
            submit(|encoder| (0..steps).for_each(|_| optimizer.step(encoder).unwrap()));
            assert!(
                read(&grads) == halves(0),
                "the gradients are zeroed, and nothing else"
            );
            let params = read(&params);
            for index in (0..params.len()).filter(beside) {
                assert_eq!(params[index], SENTINEL, "beside a parameter, at {index}");
            }
            let mut own = (0..params.len()).filter(|index| !beside(index));
            assert_eq!(own.any(|index| params[index] != 0x3f80), is_performed);
        }
    }
}

/// 10 000 steps, each of a hundred-thousandth of a parameter: bf16 moves as f32 does in the mean. To the
/// nearest it would stand still.
#[test]
fn small_updates_survive_in_bf16() {
    const COUNT: usize = 2048;
    let run = |params: Format| {
        let mut layout = Layout::new();
        let adamw = AdamW {
            lr: 1e-5,
            weight_decay: 0.0,
            ..Default::default()
        };
        let formats = Formats {
            params,
            ..Formats::default()
        };
        let group = layout.group_in(adamw, formats).unwrap();
        let x = layout.tensor(group, "x", &[COUNT]).unwrap();
        let mut twin = cpu::Optimizer::<f32>::new(&layout).unwrap();
        twin.param_mut(x).unwrap().fill(1.0);
        twin.grad_mut(x).unwrap().fill(0.5);
        for _ in 0..10_000 {
            twin.step().unwrap();
        }
        let params = twin.param(x).unwrap().iter();
        params.map(|p| f64::from(*p)).sum::<f64>() / COUNT as f64
    };
    let [f32, bf16] = [Format::F32, Format::Bf16].map(run);
    assert!((f32 - 0.9).abs() < 1e-3, "{f32}");
    // A step of 1e-5 moves an element by 2⁻⁸ with a chance of 1e-5·2⁸. So 10 000 steps scatter by
    // √(0.1·2⁻⁸), and the mean of 2048 elements by 4.4e-4.
    assert!((bf16 - f32).abs() < 4.0 * 4.4e-4, "{bf16} for {f32}");
    // The nearest to 1 − 1e-5 is 1.
    let bits = (1.0f32 - 1e-5).to_bits();
    let nearest = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000;
    assert_eq!(f32::from_bits(nearest), 1.0);
}

#[test]
fn what_cannot_be_had_is_refused_by_name() {
    let f32 = Formats::default();
    for (formats, problem) in [
        (
            Formats {
                params: Format::F16,
                ..f32
            },
            "parameters cannot be in f16; expected one of: f32, bf16, bf16+8",
        ),
        (
            Formats {
                grads: Format::Int8,
                ..f32
            },
            "gradients cannot be in int8; expected one of: f32, f16, bf16",
        ),
        (
            Formats {
                state: Format::F16,
                ..f32
            },
            "state cannot be in f16; expected one of: f32, bf16, int8",
        ),
    ] {
        let error = Layout::new().group_in(AdamW::default(), formats);
        let message = error.unwrap_err().to_string();
        assert!(message.starts_with(problem), "{message}");
    }
    let bf16 = Formats {
        params: Format::Bf16,
        ..f32
    };
    let problem = problem(rule("sgd"), bf16, &[6, 4]);
    let both = buffer(1024);
    let params = problem.packed_in(Format::Bf16, &both, 0);
    let grads = problem.packed(&both, end_of(&params));
    let buffers = Buffers {
        params,
        grads: Some(grads),
        ..Default::default()
    };
    let over = Optimizer::over(&gpu().device, &problem.layout, buffers, Options::default());
    let message = over.unwrap_err().to_string();
    assert!(message.contains("buffer of its own"), "{message}");
}

#[test]
fn a_checkpoint_keeps_the_halves_of_parameters_wherever_they_lie() {
    for params in half_params() {
        let formats = Formats {
            params,
            grads: Format::Bf16,
            state: Format::Int8,
            sensitive: Format::Bf16,
            seed: 4,
            copy: None,
        };
        let problem = problem(rule("adamw"), formats, &[70, 3, 1]);
        let options = Options::default();
        let mut places = everywhere(&problem, &options).into_iter();
        let mut first = places.next().unwrap().1;
        problem.write_params(&mut first);
        saved::take(&mut first, &problem, 0..2);
        let saved = saved::bytes(&first);
        saved::take(&mut first, &problem, 2..3);
        let expected = saved::bytes(&first);
        assert!(saved != expected);
        for (place, optimizer) in places {
            let mut resumed = saved::loaded(optimizer, &saved);
            assert!(saved::bytes(&resumed) == saved, "{place}");
            saved::take(&mut resumed, &problem, 2..3);
            assert!(saved::bytes(&resumed) == expected, "{place}");
        }
        let mut twin = cpu::Optimizer::<f32>::new(&problem.layout).unwrap();
        let checkpoint = Checkpoint::from_bytes(saved.clone()).unwrap();
        twin.load(&checkpoint).unwrap();
        assert!(saved::bytes_of(&twin) == saved);
        // Other formats and another seed are another optimizer.
        for (other, what) in [
            (
                Formats {
                    params: Format::F32,
                    ..formats
                },
                "the format of the parameters",
            ),
            (
                Formats {
                    state: Format::Bf16,
                    ..formats
                },
                "the format of the state",
            ),
            (Formats { seed: 5, ..formats }, "the seed of rounding"),
        ] {
            let problem = Problem::with_formats(rule("adamw"), other, &[70, 3, 1], 3).unwrap();
            let refused = problem
                .in_arena(options.clone())
                .load(&gpu().queue, &checkpoint);
            let message = refused.unwrap_err().to_string();
            assert!(message.contains(what), "{message}");
        }
    }
}
