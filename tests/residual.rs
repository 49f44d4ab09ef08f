//! Parameters of more than 16 bits: a bf16 for forward passes, and bits that the optimizer keeps.

mod support;

use rand::RngExt;
use support::{
    places::{bits, everywhere},
    saved, *,
};
use wgpu_optim::{
    BufferRange, Checkpoint, Format, Formats, Layout, Optimizer, Options, cpu, read_blocking,
    rules::{AdamW, Sgd},
};

const SIZES: [usize; 8] = [1, 3, 64, 65, 1023, 1025, 7, 5000];

/// Parameters whose other bits lie beside their bf16.
fn with_residual() -> impl Iterator<Item = Format> {
    half_params().filter(|format| bits_of(*format) > 16)
}

fn formats(params: Format, grads: Format) -> Formats {
    Formats {
        params,
        grads,
        ..Formats::default()
    }
}

/// Parameters that their format can hold, and gradients that bf16 can.
fn problem(rule: impl wgpu_optim::Rule + 'static, formats: Formats) -> Problem {
    let mut problem = Problem::with_formats(rule, formats, &SIZES, 3).unwrap();
    let truncate =
        |value: &mut f32, bits: u32| *value = f32::from_bits(value.to_bits() >> bits << bits);
    let lost = 32 - bits_of(formats.params);
    for value in problem.params.iter_mut().flatten() {
        truncate(value, lost);
    }
    for value in problem.grads.iter_mut().flatten().flatten() {
        truncate(value, 16);
    }
    problem
}

/// The bf16 of every tensor, as a forward pass reads them.
fn halves(optimizer: &Optimizer) -> Vec<Vec<u16>> {
    let layout = optimizer.layout();
    let read = |tensor| {
        let range = optimizer.param(tensor).unwrap();
        let words = read_blocking(&gpu().device, &gpu().queue, &range).unwrap();
        let mut halves: Vec<u16> = bytemuck::cast_slice(&words).to_vec();
        halves.truncate(layout.element_count(tensor).unwrap());
        halves
    };
    layout.tensors().map(read).collect()
}

#[test]
fn a_step_stores_the_bits_of_the_twin_wherever_the_parameters_lie() {
    // Products with this rate are exact, so one sum is rounded.
    let sgd = Sgd {
        lr: 0.25,
        ..Default::default()
    };
    let all =
        with_residual().flat_map(|params| [Format::F32, Format::Bf16].map(|grads| (params, grads)));
    for (params, grads) in all {
        let problem = problem(sgd.clone(), formats(params, grads));
        let twin = problem.twin::<f32>();
        let tensors = problem.layout.tensors();
        let expected: Vec<_> = tensors
            .map(|tensor| twin.param(tensor).unwrap().to_vec())
            .collect();
        for (place, mut optimizer) in everywhere(&problem, &Options::default()) {
            let found = problem.run(&mut optimizer);
            assert!(
                bits(&found) == bits(&expected),
                "{params}, {grads} in {place}"
            );
            // A forward pass reads the nearest bf16.
            for (values, halves) in found.iter().zip(halves(&optimizer)) {
                for (value, half) in values.iter().zip(halves) {
                    let distance = value.to_bits().abs_diff(u32::from(half) << 16);
                    assert!(distance <= 0x8000, "{value} is {half:#x} in {place}");
                }
            }
        }
        let bits = || bits(&expected).into_iter().flatten();
        let place = 1u64 << (32 - bits_of(params));
        assert!(bits().all(|bits| u64::from(bits) % place == 0));
        assert!(bits().any(|bits| u64::from(bits) & place != 0));
    }
}

/// A step from 0 that ends at any number: what the device rounds is what the twin rounds.
#[test]
fn the_device_rounds_to_the_nearest_as_the_twin_does() {
    for params in with_residual() {
        let mut random = random(8);
        let values: Vec<_> = (0..200_000)
            .map(|_| f32::from_bits(random.random()))
            .filter(|value| (1e-30..1e18).contains(&value.abs()))
            .collect();
        let sgd = Sgd {
            lr: 1.0,
            maximize: true,
            ..Default::default()
        };
        let mut layout = Layout::new();
        let group = layout.group_in(sgd, formats(params, Format::F32)).unwrap();
        let tensor = layout.tensor(group, "x", &[values.len()]).unwrap();
        let mut optimizer = Optimizer::new(&gpu().device, &layout, Options::default()).unwrap();
        optimizer.write_grad(&gpu().queue, tensor, &values).unwrap();
        submit(|encoder| optimizer.step(encoder).unwrap());
        let found = optimizer.read_param_blocking(&gpu().queue, tensor).unwrap();
        let mut twin = cpu::Optimizer::<f32>::new(&layout).unwrap();
        twin.grad_mut(tensor).unwrap().copy_from_slice(&values);
        twin.step().unwrap();
        for ((value, found), expected) in values.iter().zip(found).zip(twin.param(tensor).unwrap())
        {
            assert_eq!(
                found.to_bits(),
                expected.to_bits(),
                "{:#x}",
                value.to_bits()
            );
        }
    }
}

#[test]
fn what_is_written_is_read_back() {
    for params in with_residual() {
        let problem = problem(AdamW::default(), formats(params, Format::F32));
        for (place, mut optimizer) in everywhere(&problem, &Options::default()) {
            problem.write_params(&mut optimizer);
            let found = problem.read_params(&optimizer);
            assert!(bits(&found) == bits(&problem.params), "{params} in {place}");
        }
    }
}

#[test]
fn parameters_that_others_wrote_lose_what_was_left_of_those_before() {
    for params in with_residual() {
        let problem = problem(AdamW::default(), formats(params, Format::F32));
        for (place, mut optimizer) in everywhere(&problem, &Options::default()) {
            problem.write_params(&mut optimizer);
            for tensor in problem.layout.tensors() {
                let BufferRange { buffer, offset, .. } = optimizer.param(tensor).unwrap();
                let count = problem.layout.element_count(tensor).unwrap();
                // 1.5, and an even number of them.
                let halves = vec![0x3fc0_u16; count.next_multiple_of(2)];
                let bytes = bytemuck::cast_slice(&halves);
                gpu().queue.write_buffer(&buffer, offset, bytes);
            }
            let is_new = |values: &[f32]| values.iter().all(|value| *value == 1.5);
            let before = problem.read_params(&optimizer);
            assert!(
                !before.iter().all(|values| is_new(values)),
                "{params} in {place}"
            );
            submit(|encoder| optimizer.copy_params(encoder).unwrap());
            let after = problem.read_params(&optimizer);
            assert!(
                after.iter().all(|values| is_new(values)),
                "{params} in {place}"
            );
        }
    }
}

/// The last place of a number near one.
#[test]
fn an_update_of_the_last_place_moves_a_parameter_and_one_of_an_eighth_is_lost() {
    let step = |params: Format, rate: f64| {
        let sgd = Sgd {
            lr: rate,
            ..Default::default()
        };
        let mut layout = Layout::new();
        let group = layout.group_in(sgd, formats(params, Format::F32)).unwrap();
        let tensor = layout.tensor(group, "x", &[5]).unwrap();
        let mut optimizer = Optimizer::new(&gpu().device, &layout, Options::default()).unwrap();
        let queue = &gpu().queue;
        optimizer.write_param(queue, tensor, &[1.0; 5]).unwrap();
        optimizer.write_grad(queue, tensor, &[-1.0; 5]).unwrap();
        submit(|encoder| optimizer.step(encoder).unwrap());
        optimizer.read_param_blocking(queue, tensor).unwrap()
    };
    for params in with_residual() {
        // A sign and eight bits of exponent are no places.
        let place = 2f32.powi(9 - bits_of(params) as i32);
        assert_eq!(step(params, place.into()), [1.0 + place; 5], "{params}");
        assert_eq!(step(params, f64::from(place) / 8.0), [1.0; 5], "{params}");
    }
}

#[test]
fn a_file_is_read_by_the_twin_of_f64_and_its_own_by_itself() {
    for params in with_residual() {
        let problem = problem(AdamW::default(), formats(params, Format::F32));
        let mut optimizer = problem.in_arena(Options::default());
        problem.write_params(&mut optimizer);
        saved::take(&mut optimizer, &problem, 0..2);
        let checkpoint = Checkpoint::from_bytes(saved::bytes(&optimizer)).unwrap();
        let names: Vec<_> = checkpoint.names().map(str::to_owned).collect();
        assert!(
            names.iter().any(|name| name.starts_with("residual.")),
            "{names:?}"
        );
        let mut twin = cpu::Optimizer::<f64>::new(&problem.layout).unwrap();
        twin.load(&checkpoint).unwrap();
        let params = problem.read_params(&optimizer);
        for (tensor, params) in problem.layout.tensors().zip(&params) {
            let twin = twin.param(tensor).unwrap().iter();
            assert!(twin.zip(params).all(|(a, b)| *a == f64::from(*b)));
        }
        let own = twin.save_bytes(&wgpu_optim::Save::default()).unwrap();
        let own = Checkpoint::from_bytes(own).unwrap();
        assert!(!own.names().any(|name| name.starts_with("residual.")));
        let mut again = cpu::Optimizer::<f64>::new(&problem.layout).unwrap();
        again.load(&own).unwrap();
        again.load_params(&own).unwrap();
        for tensor in problem.layout.tensors() {
            assert_eq!(again.param(tensor).unwrap(), twin.param(tensor).unwrap());
        }
        // Weights alone, on the device.
        let fresh = problem.in_arena(Options::default());
        fresh.load_params(&gpu().queue, &checkpoint).unwrap();
        assert!(bits(&problem.read_params(&fresh)) == bits(&params));
    }
}
