//! Checkpoints and bytes that others wrote: what belongs to no element means nothing, and neither does the order
//! of a file's tensors.

mod support;

use support::{
    forged::{forged, place_of, reordered},
    places::{bits, everywhere},
    saved::{self, loaded},
    *,
};
use wgpu_optim::{
    Checkpoint, Format, Formats, Optimizer, Options, Save, cpu, read_blocking,
    rules::{AdamW, Sgd},
};

/// How many elements share a row, and its bytes: the scales of four blocks, and a code for each element.
const ROW: usize = 64;
const ROW_BYTES: usize = 80;

const SIZES: [usize; 7] = [1, 5, 16, 17, 64, 65, 1000];

/// Momentum, which is signed, and of Adam a moment that is not.
const SLOTS: [(&str, u8); 2] = [("exp_avg", 127), ("exp_avg_sq", 255)];

fn in_int8(sizes: &[usize]) -> Problem {
    let formats = Formats {
        state: Format::Int8,
        ..Formats::default()
    };
    Problem::with_formats(AdamW::default(), formats, sizes, 2).unwrap()
}

/// Writes scales and codes of large numbers where a tensor of `count` elements has none.
fn soil(state: &mut [u8], count: usize) {
    let used = (count - 1) % ROW + 1;
    let start = state.len() - ROW_BYTES;
    let row = &mut state[start..];
    for top in row[..16].chunks_mut(4).skip(used.div_ceil(16)) {
        top.copy_from_slice(&1e30f32.to_le_bytes());
    }
    row[16 + used..].fill(0);
}

/// What the device has in a slot, each byte.
fn raw(optimizer: &Optimizer, index: usize, slot: &str) -> Vec<u8> {
    let tensor = optimizer.layout().tensors().nth(index).unwrap();
    let range = optimizer.state(tensor, slot).unwrap();
    let words = read_blocking(&gpu().device, &gpu().queue, &range).unwrap();
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Fails unless the last row of `state` has scales and codes of zeros beyond `count` elements.
fn assert_clear(state: &[u8], count: usize, zero: u8, label: &str) {
    let used = (count - 1) % ROW + 1;
    let row = &state[state.len() - ROW_BYTES..];
    assert!(
        row[4 * used.div_ceil(16)..16].iter().all(|byte| *byte == 0),
        "{label}: scales of {count}"
    );
    assert!(
        row[16 + used..].iter().all(|code| *code == zero),
        "{label}: codes of {count}"
    );
}

fn stepped(problem: &Problem) -> Optimizer {
    let mut optimizer = problem.in_arena(Options::default());
    problem.write_params(&mut optimizer);
    saved::take(&mut optimizer, problem, 0..1);
    optimizer
}

/// The file of `optimizer`, soiled where its state has no elements.
fn soiled(optimizer: &Optimizer, sizes: &[usize]) -> Vec<u8> {
    forged(&saved::bytes(optimizer), |header, _, data| {
        for (index, &size) in sizes.iter().enumerate() {
            for (slot, _) in SLOTS {
                let place = place_of(header, &format!("state.{index}: {size}.{slot}"));
                soil(&mut data[place], size);
            }
        }
    })
}

#[test]
fn what_a_file_has_beyond_the_last_element_comes_to_no_device_and_no_twin() {
    let problem = in_int8(&SIZES);
    let optimizer = stepped(&problem);
    let clean = saved::bytes(&optimizer);
    let foreign = soiled(&optimizer, &SIZES);
    assert!(foreign != clean);
    for (place, fresh) in everywhere(&problem, &Options::default()) {
        let mut fresh = loaded(fresh, &foreign);
        for (index, size) in SIZES.into_iter().enumerate() {
            for (slot, zero) in SLOTS {
                let label = format!("{slot} in {place}");
                assert_clear(&raw(&fresh, index, slot), size, zero, &label);
            }
        }
        assert!(saved::bytes(&fresh) == clean, "{place}");
        // A code beyond the last element would be part of its block's scale.
        let mut expected = loaded(problem.in_arena(Options::default()), &clean);
        saved::take(&mut expected, &problem, 1..2);
        saved::take(&mut fresh, &problem, 1..2);
        assert!(saved::bytes(&fresh) == saved::bytes(&expected), "{place}");
    }
    let mut twin = cpu::Optimizer::<f32>::new(&problem.layout).unwrap();
    twin.load(&Checkpoint::from_bytes(foreign).unwrap())
        .unwrap();
    assert!(saved::bytes_of(&twin) == clean);
}

/// A file is read in slices of 8 MiB, of which a row is no divisor.
#[test]
fn the_last_row_of_a_large_tensor_may_come_in_two_slices() {
    let size = (8 << 20) / ROW_BYTES * ROW + 5;
    let formats = Formats {
        state: Format::Int8,
        ..Formats::default()
    };
    let momentum = Sgd {
        momentum: 0.5,
        ..Sgd::default()
    };
    let problem = Problem::with_formats(momentum, formats, &[size, 5], 1).unwrap();
    let slot = "momentum_buffer";
    let optimizer = stepped(&problem);
    let save = Save {
        params: false,
        ..Save::default()
    };
    let clean = optimizer.save_bytes_blocking(&gpu().queue, &save).unwrap();
    let foreign = forged(&clean, |header, _, data| {
        let place = place_of(header, &format!("state.0: {size}.{slot}"));
        assert!(place.len() - ROW_BYTES < 8 << 20 && place.len() > 8 << 20);
        soil(&mut data[place], size);
    });
    assert!(foreign != clean);
    let fresh = loaded(problem.in_arena(Options::default()), &foreign);
    assert_clear(&raw(&fresh, 0, slot), size, 127, slot);
    for index in 0..2 {
        assert!(raw(&fresh, index, slot) == raw(&optimizer, index, slot));
    }
}

#[test]
fn bytes_beyond_the_last_element_are_not_written() {
    let problem = in_int8(&SIZES);
    let optimizer = stepped(&problem);
    let mut twin = cpu::Optimizer::<f32>::new(&problem.layout).unwrap();
    for (index, size) in SIZES.into_iter().enumerate() {
        let (tensor, queue) = (problem.tensors()[index], &gpu().queue);
        for (slot, zero) in SLOTS {
            let clean = optimizer
                .read_state_bytes_blocking(queue, tensor, slot)
                .unwrap();
            let mut foreign = clean.clone();
            soil(&mut foreign, size);
            optimizer
                .write_state_bytes(queue, tensor, slot, &foreign)
                .unwrap();
            assert_clear(&raw(&optimizer, index, slot), size, zero, slot);
            twin.write_state_bytes(tensor, slot, &foreign).unwrap();
            assert!(twin.state_bytes(tensor, slot).unwrap() == clean, "{slot}");
        }
    }
}

#[test]
fn a_files_tensors_may_lie_in_any_order() {
    let formats = Formats {
        params: Format::Bf16Plus8,
        state: Format::Int8,
        ..Formats::default()
    };
    let problem = Problem::with_formats(AdamW::default(), formats, &SIZES, 2).unwrap();
    let optimizer = stepped(&problem);
    let usual = saved::bytes(&optimizer);
    let expected = problem.read_params(&optimizer);
    // Residuals lie before parameters, after them, and among them.
    let backwards = reordered(&usual, |name| std::cmp::Reverse(name.to_owned()));
    let forwards = reordered(&usual, str::to_owned);
    let by_tensor = reordered(&usual, |name| {
        let (part, tensor) = name.split_once('.').unwrap();
        (tensor.to_owned(), std::cmp::Reverse(part.to_owned()))
    });
    for (order, file) in [
        ("backwards", &backwards),
        ("forwards", &forwards),
        ("by tensor", &by_tensor),
    ] {
        assert!(*file != usual, "{order}");
        let checkpoint = Checkpoint::from_bytes(file.clone()).unwrap();
        let same = |name: &str| Some(name.to_owned());
        let queue = &gpu().queue;
        let on_device = |load: &dyn Fn(&mut Optimizer)| {
            let mut fresh = problem.in_arena(Options::default());
            load(&mut fresh);
            (bits(&problem.read_params(&fresh)), saved::bytes(&fresh))
        };
        let (params, whole) = on_device(&|fresh| fresh.load(queue, &checkpoint).unwrap());
        assert!(params == bits(&expected) && whole == usual, "{order}");
        let (params, whole) = on_device(&|fresh| {
            fresh.load_partial(queue, &checkpoint, same).unwrap();
        });
        assert!(params == bits(&expected) && whole == usual, "{order}");
        let (params, _) = on_device(&|fresh| fresh.load_params(queue, &checkpoint).unwrap());
        assert!(params == bits(&expected), "{order}");

        type Load<T> = fn(&mut cpu::Optimizer<T>, &Checkpoint);
        fn loads<T: cpu::Real>() -> [Load<T>; 3] {
            [
                |twin, file| twin.load(file).unwrap(),
                |twin, file| {
                    let same = |name: &str| Some(name.to_owned());
                    twin.load_partial(file, same).unwrap();
                },
                |twin, file| twin.load_params(file).unwrap(),
            ]
        }
        for (kind, load) in loads::<f32>().into_iter().enumerate() {
            let mut twin = cpu::Optimizer::<f32>::new(&problem.layout).unwrap();
            load(&mut twin, &checkpoint);
            for (tensor, expected) in problem.layout.tensors().zip(&expected) {
                let found = twin.param(tensor).unwrap();
                assert!(found == expected, "{order}, load number {kind}");
            }
        }
        for (kind, load) in loads::<f64>().into_iter().enumerate() {
            let mut twin = cpu::Optimizer::<f64>::new(&problem.layout).unwrap();
            load(&mut twin, &checkpoint);
            for (tensor, expected) in problem.layout.tensors().zip(&expected) {
                let found = twin.param(tensor).unwrap().iter();
                let mut both = found.zip(expected);
                let are_equal = both.all(|(found, expected)| *found == f64::from(*expected));
                assert!(are_equal, "{order}, f64, load number {kind}");
            }
        }
    }
}
