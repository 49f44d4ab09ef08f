//! Copies of the parameters in 16 bits: always those of the parameters, wherever these lie.

mod support;

use rand::RngExt;
use support::{places::everywhere, saved, *};
use wgpu_optim::{
    Average, BufferRange, Checkpoint, Clip, Error, Format, Formats, Layout, LossScale, Optimizer,
    Options, Rule, cpu, read_blocking,
    rules::{self, AdamW, ScheduleFreeSgd, Sgd},
};

const SIZES: [usize; 8] = [1, 3, 64, 65, 1023, 1025, 7, 5000];

fn with_copy(copy: Format, state: Format) -> Formats {
    Formats {
        copy: Some(copy),
        state,
        ..Formats::default()
    }
}

/// The words of every tensor's copy.
fn copies(optimizer: &Optimizer) -> Vec<Vec<u32>> {
    let read = |tensor| {
        let range = optimizer.param_copy(tensor).unwrap();
        let words = read_blocking(&gpu().device, &gpu().queue, &range).unwrap();
        words.iter().map(|word| word.to_bits()).collect()
    };
    optimizer.layout().tensors().map(read).collect()
}

/// What the copies of these parameters are.
fn expected(layout: &Layout, params: &[Vec<f32>]) -> Vec<Vec<u32>> {
    let mut twin = cpu::Optimizer::<f32>::new(layout).unwrap();
    let of_tensor = |(tensor, params): (_, &Vec<f32>)| {
        twin.param_mut(tensor).unwrap().copy_from_slice(params);
        let bytes = twin.param_copy(tensor).unwrap();
        let (words, rest) = bytes.as_chunks();
        assert!(rest.is_empty());
        words.iter().map(|word| u32::from_le_bytes(*word)).collect()
    };
    layout.tensors().zip(params).map(of_tensor).collect()
}

/// Fails unless every copy is that of its parameters now.
fn assert_copied(optimizer: &Optimizer, label: &str) {
    let tensors = optimizer.layout().tensors();
    let read = |tensor| optimizer.read_param_blocking(&gpu().queue, tensor).unwrap();
    let params: Vec<_> = tensors.map(read).collect();
    let expected = expected(optimizer.layout(), &params);
    assert!(copies(optimizer) == expected, "{label}");
}

#[test]
fn a_step_of_any_rule_keeps_the_copy_and_changes_nothing_else() {
    for (turn, name) in rules::names().enumerate() {
        let sizes = match rule(name).stages().matrix {
            Some(_) => &[60, 33, 5][..],
            None => &SIZES,
        };
        let copy = [Format::F16, Format::Bf16][turn % 2];
        let state = [Format::F32, Format::Int8, Format::Bf16][turn % 3];
        let formats = with_copy(copy, state);
        let problem = Problem::with_formats(rule(name), formats, sizes, 3).unwrap();
        let mut ends = Vec::new();
        if state == Format::F32 {
            // What else is rounded follows from where it lies, and a copy has tensors lie apart.
            let plain = Problem::with_sizes(rule(name), sizes, 3).unwrap();
            ends.push(plain.run(&mut plain.in_arena(Options::default())));
        }
        for (place, mut optimizer) in everywhere(&problem, &Options::default()) {
            let label = format!("{name} with a copy in {copy}, {place}");
            problem.write_params(&mut optimizer);
            assert_copied(&optimizer, &format!("{label}, written"));
            saved::take(&mut optimizer, &problem, 0..3);
            assert_copied(&optimizer, &label);
            ends.push(problem.read_params(&optimizer));
            assert_same(&problem, &ends[0], &ends[ends.len() - 1], &label);
        }
    }
}

#[test]
fn skipped_clipped_and_zeroed_steps_keep_it_too() {
    let options = Options {
        clip: Clip::TensorNorm(0.5),
        loss_scale: Some(LossScale::default()),
        zero_grad: true,
        ..Options::default()
    };
    for copy in [Format::F16, Format::Bf16] {
        let formats = with_copy(copy, Format::Int8);
        let mut problem = Problem::with_formats(AdamW::default(), formats, &SIZES, 3).unwrap();
        problem.grads[1][2][5] = f32::NAN;
        for (place, mut optimizer) in everywhere(&problem, &options) {
            problem.write_params(&mut optimizer);
            for step in 0..3 {
                saved::take(&mut optimizer, &problem, step..step + 1);
                assert_copied(&optimizer, &format!("{copy}, {place}, step {step}"));
            }
        }
    }
}

#[test]
fn it_is_of_the_parameters_that_are_evaluated_and_then_of_those_that_are_trained() {
    let average = Options {
        average: Some(Average {
            decay: 0.5,
            debias: true,
        }),
        ..Options::default()
    };
    let cases: [(Box<dyn Rule>, Options); 2] = [
        (Box::new(AdamW::default()), average),
        (Box::new(ScheduleFreeSgd::default()), Options::default()),
    ];
    for (rule, options) in cases {
        let formats = with_copy(Format::Bf16, Format::F32);
        let name = rule.name().to_owned();
        let problem = Problem::with_formats(rule, formats, &SIZES, 3).unwrap();
        for (place, mut optimizer) in everywhere(&problem, &options) {
            problem.write_params(&mut optimizer);
            saved::take(&mut optimizer, &problem, 0..3);
            let trained = copies(&optimizer);
            submit(|encoder| optimizer.evaluate(encoder).unwrap());
            assert_copied(&optimizer, &format!("{name}, {place}, evaluating"));
            assert_ne!(copies(&optimizer), trained);
            submit(|encoder| optimizer.train(encoder).unwrap());
            assert_copied(&optimizer, &format!("{name}, {place}, training"));
        }
    }
}

#[test]
fn parameters_that_others_wrote_are_copied_on_request() {
    let formats = with_copy(Format::F16, Format::F32);
    let problem = Problem::with_formats(Sgd::default(), formats, &SIZES, 1).unwrap();
    for (place, optimizer) in everywhere(&problem, &Options::default()) {
        for (tensor, values) in problem.layout.tensors().zip(&problem.params) {
            let BufferRange { buffer, offset, .. } = optimizer.param(tensor).unwrap();
            let bytes = bytemuck::cast_slice(values);
            gpu().queue.write_buffer(&buffer, offset, bytes);
        }
        assert_ne!(
            copies(&optimizer),
            expected(&problem.layout, &problem.params)
        );
        submit(|encoder| optimizer.copy_params(encoder).unwrap());
        assert_copied(&optimizer, place);
    }
}

#[test]
fn a_checkpoint_brings_it_with_the_parameters() {
    let formats = with_copy(Format::F16, Format::F32);
    let problem = Problem::with_formats(AdamW::default(), formats, &SIZES, 3).unwrap();
    let mut optimizer = problem.in_arena(Options::default());
    problem.write_params(&mut optimizer);
    saved::take(&mut optimizer, &problem, 0..2);
    let bytes = saved::bytes(&optimizer);
    for (place, mut resumed) in everywhere(&problem, &Options::default()) {
        let checkpoint = Checkpoint::from_bytes(bytes.clone()).unwrap();
        resumed.load(&gpu().queue, &checkpoint).unwrap();
        assert_eq!(copies(&resumed), copies(&optimizer), "{place}");
    }
}

/// Numbers at, and one beside, what lies in the middle between two of 16 bits; and any others.
fn hostile() -> Vec<f32> {
    let mut random = random(5);
    let mut values = vec![];
    for exponent in 0..=255u32 {
        for low in [
            0, 1, 0xfff, 0x1000, 0x1001, 0x2000, 0x7fff, 0x8000, 0x8001, 0x1_8000,
        ] {
            let high = random.random::<u32>() & 0x7e_0000;
            let bits = exponent << 23 | high | low;
            values.extend([bits, bits | 0x8000_0000].map(f32::from_bits));
        }
    }
    let edges = [
        65504.0,
        65519.99,
        65520.0,
        65536.0,
        2f32.powi(-24),
        2f32.powi(-25),
        3.0 * 2f32.powi(-26),
    ];
    values.extend(edges);
    values.extend((0..200_000).map(|_| f32::from_bits(random.random())));
    // Within reach of f16.
    values.extend((0..200_000).map(|_| {
        let bits = random.random::<u32>() & 0x8fff_ffff;
        f32::from_bits(bits | 0x3000_0000)
    }));
    values
}

#[test]
fn the_device_rounds_to_the_nearest_as_the_twin_does() {
    for copy in [Format::F16, Format::Bf16] {
        let mut layout = Layout::new();
        let group = layout
            .group_in(Sgd::default(), with_copy(copy, Format::F32))
            .unwrap();
        let values = hostile();
        let tensor = layout.tensor(group, "hostile", &[values.len()]).unwrap();
        let optimizer = Optimizer::new(&gpu().device, &layout, Options::default()).unwrap();
        let range = optimizer.param(tensor).unwrap();
        let bytes = bytemuck::cast_slice(&values);
        gpu().queue.write_buffer(&range.buffer, range.offset, bytes);
        submit(|encoder| optimizer.copy_params(encoder).unwrap());
        let found = &copies(&optimizer)[0];
        let expected = &expected(&layout, std::slice::from_ref(&values))[0];
        let halves = |words: &[u32]| -> Vec<u32> {
            words
                .iter()
                .flat_map(|word| [word & 0xffff, word >> 16])
                .collect()
        };
        let pairs = halves(found).into_iter().zip(halves(expected));
        let differ: Vec<_> = values
            .iter()
            .zip(pairs)
            .filter(|(_, (found, expected))| found != expected)
            .map(|(value, (found, expected))| {
                format!("{:08x}: {found:04x}, not {expected:04x}", value.to_bits())
            })
            .collect();
        assert!(
            differ.is_empty(),
            "{copy}, {}: {:?}",
            differ.len(),
            &differ[..differ.len().min(9)]
        );
    }
}

#[test]
fn it_is_refused_where_it_cannot_be() {
    let mut layout = Layout::new();
    for formats in [
        with_copy(Format::Int8, Format::F32),
        with_copy(Format::F32, Format::F32),
        Formats {
            params: Format::Bf16,
            ..with_copy(Format::F16, Format::F32)
        },
    ] {
        let refused = layout.group_in(Sgd::default(), formats);
        assert!(matches!(refused, Err(Error::Format { .. })), "{formats:?}");
    }
    let group = layout.group(Sgd::default()).unwrap();
    let tensor = layout.tensor(group, "weight", &[3]).unwrap();
    let optimizer = Optimizer::new(&gpu().device, &layout, Options::default()).unwrap();
    let error = optimizer.param_copy(tensor).unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"weight\" has no copy; choose Formats::copy for its group"
    );
    let twin = cpu::Optimizer::<f32>::new(&layout).unwrap();
    assert!(matches!(twin.param_copy(tensor), Err(Error::NoCopy { .. })));
}
