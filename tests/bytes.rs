//! Parameters and state as they are stored: what is read is what the device has, and writing it brings all of
//! it back, there and in the twin.

mod support;

use support::{
    places::{bits, everywhere},
    saved, *,
};
use wgpu_optim::{
    Checkpoint, Error, Format, Formats, Layout, Optimizer, Options, cpu, read_blocking, rule,
    rules::{self, AdamW},
};

const SIZES: [usize; 8] = [1, 3, 64, 65, 1023, 1025, 7, 5000];

/// Parameters and state of every format.
fn formats() -> [Formats; 4] {
    let all = [
        (Format::F32, Format::F32, Format::F32, Some(Format::F16)),
        (Format::F32, Format::Bf16, Format::Bf16, None),
        (Format::Bf16, Format::Int8, Format::F32, None),
        (Format::Bf16Plus8, Format::Int8, Format::Bf16, None),
    ];
    all.map(|(params, state, sensitive, copy)| Formats {
        params,
        state,
        sensitive,
        copy,
        ..Formats::default()
    })
}

/// The bytes of parameters, and of each slot.
type Bytes = Vec<(Vec<u8>, Vec<Vec<u8>>)>;

fn read(optimizer: &Optimizer) -> Bytes {
    let (layout, queue) = (optimizer.layout(), &gpu().queue);
    let of_tensor = |tensor| {
        let slots = slots_of(layout, tensor).into_iter();
        let state = slots.map(|slot| optimizer.read_state_bytes_blocking(queue, tensor, slot));
        (
            optimizer.read_param_bytes_blocking(queue, tensor).unwrap(),
            state.map(Result::unwrap).collect(),
        )
    };
    layout.tensors().map(of_tensor).collect()
}

fn write(optimizer: &Optimizer, bytes: &Bytes) {
    let (layout, queue) = (optimizer.layout(), &gpu().queue);
    for (tensor, (params, state)) in layout.tensors().zip(bytes) {
        optimizer.write_param_bytes(queue, tensor, params).unwrap();
        for (slot, bytes) in slots_of(layout, tensor).into_iter().zip(state) {
            let written = optimizer.write_state_bytes(queue, tensor, slot, bytes);
            written.unwrap();
        }
    }
}

/// All that is read as f32, as bits.
fn numbers(problem: &Problem, optimizer: &Optimizer) -> Vec<Vec<u32>> {
    let mut all = problem.read_params(optimizer);
    for tensor in problem.layout.tensors() {
        for slot in slots_of(&problem.layout, tensor) {
            let values = optimizer.read_state_blocking(&gpu().queue, tensor, slot);
            all.push(values.unwrap());
        }
    }
    bits(&all)
}

#[test]
fn bytes_that_were_read_bring_back_all_of_a_tensor_wherever_it_lies() {
    let rules = ["adamw", "adan"].into_iter();
    for (name, formats) in rules.flat_map(|name| formats().map(|formats| (name, formats))) {
        let problem = Problem::with_formats(rule(name), formats, &SIZES, 2).unwrap();
        for (place, mut optimizer) in everywhere(&problem, &Options::default()) {
            let label = format!("{name}, {formats:?} in {place}");
            problem.write_params(&mut optimizer);
            saved::take(&mut optimizer, &problem, 0..2);
            let bytes = read(&optimizer);
            let expected = numbers(&problem, &optimizer);
            let fresh = problem.in_arena(Options::default());
            assert_ne!(numbers(&problem, &fresh), expected, "{label}");
            write(&fresh, &bytes);
            assert!(numbers(&problem, &fresh) == expected, "{label}");
            assert!(read(&fresh) == bytes, "{label}");
            // The twin decodes and encodes the same.
            let mut twin = cpu::Optimizer::<f32>::new(&problem.layout).unwrap();
            let mut values = Vec::new();
            let mut of_state = Vec::new();
            for (tensor, (params, state)) in problem.layout.tensors().zip(&bytes) {
                twin.write_param_bytes(tensor, params).unwrap();
                assert!(twin.param_bytes(tensor).unwrap() == *params, "{label}");
                values.push(twin.param(tensor).unwrap().to_vec());
                for (slot, bytes) in slots_of(&problem.layout, tensor).into_iter().zip(state) {
                    twin.write_state_bytes(tensor, slot, bytes).unwrap();
                    let found = twin.state_bytes(tensor, slot).unwrap();
                    assert!(found == *bytes, "{label}, {slot}");
                    of_state.push(twin.state(tensor, slot).unwrap().to_vec());
                }
            }
            values.extend(of_state);
            assert!(self::bits(&values) == expected, "{label}");
            if formats.copy.is_some() {
                let copies = |optimizer: &Optimizer| -> Vec<Vec<f32>> {
                    let tensors = problem.layout.tensors();
                    let ranges = tensors.map(|tensor| optimizer.param_copy(tensor).unwrap());
                    ranges
                        .map(|range| read_blocking(&gpu().device, &gpu().queue, &range).unwrap())
                        .collect()
                };
                assert!(self::bits(&copies(&fresh)) == self::bits(&copies(&optimizer)));
            }
        }
    }
}

#[test]
fn every_extent_of_state_has_its_bytes() {
    for name in rules::names() {
        let mut layout = Layout::new();
        let group = layout.group(rule(name)).unwrap();
        layout.tensor(group, "weight", &[6, 5]).unwrap();
        if rule(name).stages().matrix.is_none() {
            layout.tensor(group, "bias", &[6]).unwrap();
        }
        let problem = Problem::random(layout, 2, 1);
        let mut optimizer = problem.in_arena(Options::default());
        problem.run(&mut optimizer);
        let fresh = problem.in_arena(Options::default());
        let bytes = read(&optimizer);
        write(&fresh, &bytes);
        assert!(read(&fresh) == bytes, "{name}");
        let expected = numbers(&problem, &optimizer);
        assert!(numbers(&problem, &fresh) == expected, "{name}");
        let mut twin = cpu::Optimizer::<f32>::new(&problem.layout).unwrap();
        for (tensor, (_, state)) in problem.layout.tensors().zip(&bytes) {
            for (slot, bytes) in slots_of(&problem.layout, tensor).into_iter().zip(state) {
                twin.write_state_bytes(tensor, slot, bytes).unwrap();
                let found = twin.state_bytes(tensor, slot).unwrap();
                assert!(found == *bytes, "{name}, {slot}");
            }
        }
    }
}

#[test]
fn bytes_of_the_twin_are_zeros_behind_the_last_element() {
    let formats = Formats {
        state: Format::Int8,
        ..Formats::default()
    };
    for name in rules::names() {
        let problem = Problem::with_formats(rule(name), formats, &[5], 2).unwrap();
        let twin = || cpu::Optimizer::<f32>::new(&problem.layout).unwrap();
        let (mut stepped, mut fresh) = (twin(), twin());
        // Some rules add eps to all that they average, to what is behind it too.
        problem.replay(&mut stepped, |_, _| Ok(())).unwrap();
        let tensor = problem.tensors()[0];
        for slot in slots_of(&problem.layout, tensor) {
            let bytes = stepped.state_bytes(tensor, slot).unwrap();
            fresh.write_state_bytes(tensor, slot, &bytes).unwrap();
            let found = fresh.state_bytes(tensor, slot).unwrap();
            assert!(found == bytes, "{name}, {slot}");
        }
    }
}

#[test]
fn bytes_are_as_many_as_the_format_says_and_others_are_refused() {
    let expected = [[400, 400], [400, 200], [200, 160], [300, 160]];
    for (formats, [of_params, of_state]) in formats().into_iter().zip(expected) {
        let problem = Problem::with_formats(AdamW::default(), formats, &[100], 1).unwrap();
        let optimizer = problem.in_arena(Options::default());
        let mut twin = cpu::Optimizer::<f32>::new(&problem.layout).unwrap();
        let (tensor, queue) = (problem.tensors()[0], &gpu().queue);
        // A new buffer has other bytes that are zeros.
        let zeros = [0.0; 100];
        let written = optimizer.write_state(queue, tensor, "exp_avg", &zeros);
        written.unwrap();
        let (params, state) = read(&optimizer).remove(0);
        assert_eq!([params.len(), state[0].len()], [of_params, of_state]);
        assert_eq!(twin.param_bytes(tensor).unwrap(), params);
        assert_eq!(twin.state_bytes(tensor, "exp_avg").unwrap(), state[0]);
        let refused = |expected: usize| Error::Length {
            what: "bytes to write".to_owned(),
            expected,
            actual: expected - 1,
        };
        let short = &params[1..];
        let error = Err(refused(of_params));
        assert_eq!(optimizer.write_param_bytes(queue, tensor, short), error);
        assert_eq!(twin.write_param_bytes(tensor, short), error);
        let short = &state[0][1..];
        let error = Err(refused(of_state));
        let found = optimizer.write_state_bytes(queue, tensor, "exp_avg", short);
        assert_eq!(found, error);
        assert_eq!(twin.write_state_bytes(tensor, "exp_avg", short), error);
        let unknown = optimizer.write_state_bytes(queue, tensor, "momentum", &[]);
        assert!(matches!(unknown, Err(Error::UnknownState { .. })));
        let unknown = twin.state_bytes(tensor, "momentum");
        assert!(matches!(unknown, Err(Error::UnknownState { .. })));
    }
}

/// Codes beyond the smallest magnitude are that too, and would be coded otherwise.
#[test]
fn bytes_of_the_smallest_magnitudes_come_back_to_the_bit() {
    let formats = Formats {
        state: Format::Int8,
        ..Formats::default()
    };
    let problem = Problem::with_formats(AdamW::default(), formats, &[5], 1).unwrap();
    let (tensor, queue) = (problem.tensors()[0], &gpu().queue);
    let mut optimizer = problem.in_arena(Options::default());
    let mut twin = cpu::Optimizer::<f32>::new(&problem.layout).unwrap();
    for (slot, zero) in [("exp_avg", 127), ("exp_avg_sq", 255)] {
        let mut bytes = vec![0; 16];
        // Half an octave above the smallest, which is code 8.
        bytes[..4].copy_from_slice(&0x00c0_0000u32.to_le_bytes());
        bytes.extend([0, 7, 8, 9, 100]);
        bytes.resize(80, zero);
        optimizer
            .write_state_bytes(queue, tensor, slot, &bytes)
            .unwrap();
        let found = optimizer.read_state_bytes_blocking(queue, tensor, slot);
        assert_eq!(found.unwrap(), bytes, "{slot}");
        twin.write_state_bytes(tensor, slot, &bytes).unwrap();
        assert_eq!(twin.state_bytes(tensor, slot).unwrap(), bytes, "{slot}");
        optimizer = saved::loaded(
            problem.in_arena(Options::default()),
            &saved::bytes(&optimizer),
        );
        let found = optimizer.read_state_bytes_blocking(queue, tensor, slot);
        assert_eq!(found.unwrap(), bytes, "{slot} in a file");
        let file = Checkpoint::from_bytes(saved::bytes_of(&twin)).unwrap();
        twin.load(&file).unwrap();
        assert_eq!(twin.state_bytes(tensor, slot).unwrap(), bytes, "{slot}");
    }
}

rule! {
    /// Keeps most where there is nothing: 1000 at no gradient and less at others.
    struct Hollow("hollow") {
        pub lr: f64 in NON_NEGATIVE = 0.1,
    }
    slots: kept;
    wgsl: "
fn update(p: vec4<f32>, g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    (*s).kept = g + select(vec4<f32>(), vec4<f32>(1000.0), g == vec4<f32>());
    return p - now.lr * g;
}";
}

impl wgpu_optim::Rule for Hollow {}

impl<T: cpu::Real> cpu::Twin<T> for Hollow {
    fn update(&self, block: cpu::Block<'_, T>, now: cpu::Step<T>) {
        block.each(move |p, g, [kept]| {
            *kept = if g == T::zero() {
                T::from_f64(1000.0)
            } else {
                g
            };
            p - now.lr * g
        });
    }
}

#[test]
fn elements_keep_their_bits_beside_larger_state_of_no_element() {
    let formats = Formats {
        state: Format::Int8,
        ..Formats::default()
    };
    let mut problem = Problem::with_formats(Hollow::default(), formats, &[5, 17], 1).unwrap();
    for (index, grad) in problem.grads[0].iter_mut().flatten().enumerate() {
        *grad = 1.0 + 0.013 * index as f32;
    }
    let mut optimizer = problem.in_arena(Options::default());
    problem.run(&mut optimizer);
    let twin = problem.twin::<f32>();
    for (tensor, count) in problem.layout.tensors().zip([5, 17]) {
        let range = optimizer.state(tensor, "kept").unwrap();
        let words = read_blocking(&gpu().device, &gpu().queue, &range).unwrap();
        let raw: &[u8] = bytemuck::cast_slice(&words);
        let bytes = optimizer.read_state_bytes_blocking(&gpu().queue, tensor, "kept");
        let (bytes, scales) = (bytes.unwrap(), 4 * usize::div_ceil(count, 16));
        assert_eq!(bytes[..scales], raw[..scales], "scales of {count}");
        let codes = 16..16 + count;
        assert_eq!(bytes[codes.clone()], raw[codes], "codes of {count}");
    }
    let expected = numbers(&problem, &optimizer);
    let fresh = saved::loaded(
        problem.in_arena(Options::default()),
        &saved::bytes(&optimizer),
    );
    assert!(numbers(&problem, &fresh) == expected, "a file");
    let fresh = problem.in_arena(Options::default());
    write(&fresh, &read(&optimizer));
    assert!(numbers(&problem, &fresh) == expected, "bytes");
    let mut other = cpu::Optimizer::<f32>::new(&problem.layout).unwrap();
    let file = Checkpoint::from_bytes(saved::bytes_of(&twin)).unwrap();
    other.load(&file).unwrap();
    let mut third = cpu::Optimizer::<f32>::new(&problem.layout).unwrap();
    for tensor in problem.layout.tensors() {
        let before = twin.state(tensor, "kept").unwrap();
        assert_eq!(other.state(tensor, "kept").unwrap(), before, "twin, a file");
        let bytes = twin.state_bytes(tensor, "kept").unwrap();
        third.write_state_bytes(tensor, "kept", &bytes).unwrap();
        assert_eq!(third.state(tensor, "kept").unwrap(), before, "twin, bytes");
    }
}
