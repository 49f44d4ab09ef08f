//! Where the host's memory ends, the twin says so: no process ends by it.

use std::{
    alloc::{GlobalAlloc, Layout as Block, System},
    cell::Cell,
};

use wgpu_optim::{
    Average, Checkpoint, Error, Format, Formats, Layout, Options, Save, Tensor, cpu,
    rules::{Adagrad, Rprop},
};

/// Allocations of fewer bytes are not refused.
const LARGE: usize = 100_000;

thread_local! {
    /// How many more large allocations this thread gets.
    static LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Refuses large allocations once a thread has had its share.
struct Scarce;

// SAFETY: all that it does with memory, the system's allocator does.
unsafe impl GlobalAlloc for Scarce {
    unsafe fn alloc(&self, block: Block) -> *mut u8 {
        if block.size() >= LARGE {
            let left = LEFT.get();
            if left == 0 {
                return std::ptr::null_mut();
            }
            LEFT.set(left - 1);
        }
        unsafe { System.alloc(block) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, block: Block) {
        unsafe { System.dealloc(memory, block) }
    }
}

#[global_allocator]
static SCARCE: Scarce = Scarce;

/// Does `work` with no large allocation, with one, and so on until it needs no more. Each refusal must be an
/// error.
fn with_ever_more<R>(label: &str, mut work: impl FnMut() -> Result<R, Error>) -> usize {
    for count in 0..100 {
        LEFT.set(count);
        let done = work();
        LEFT.set(usize::MAX);
        match done {
            Ok(_) => return count,
            Err(Error::OutOfMemory { .. }) => (),
            Err(other) => panic!("{label}: {other}"),
        }
    }
    panic!("{label} needs ever more");
}

const COUNT: usize = 1_000_003;

/// State that starts at other values than zero.
fn layout(formats: Formats) -> (Layout, Tensor) {
    let mut layout = Layout::new();
    let adagrad = Adagrad {
        initial_accumulator_value: 0.1,
        ..Adagrad::default()
    };
    let group = layout.group_in(adagrad, formats).unwrap();
    let tensor = layout.tensor(group, "x", &[COUNT]).unwrap();
    let steps = layout.group_in(Rprop::default(), formats).unwrap();
    layout.tensor(steps, "y", &[COUNT]).unwrap();
    (layout, tensor)
}

#[test]
fn what_the_twin_cannot_get_is_an_error_in_every_format() {
    let all = [
        (Format::F32, Format::F32, None),
        (Format::F32, Format::Int8, Some(Format::F16)),
        (Format::Bf16, Format::Bf16, None),
        (Format::Bf16Plus8, Format::Int8, None),
    ];
    for (params, state, copy) in all {
        let formats = Formats {
            params,
            state,
            copy,
            ..Formats::default()
        };
        let (layout, tensor) = layout(formats);
        let options = Options {
            average: Some(Average {
                decay: 0.9,
                debias: false,
            }),
            ..Options::default()
        };
        let new = || cpu::Optimizer::<f32>::with_options(&layout, options.clone());
        let needed = with_ever_more("new", new);
        // Parameters, gradients, an average and one or two slots of each group.
        assert_eq!(needed, 7, "{formats:?}");
        let mut twin = new().unwrap();
        let values = vec![0.5; COUNT];
        with_ever_more("state", || twin.state(tensor, "sum").map(drop));
        with_ever_more("state_bytes", || twin.state_bytes(tensor, "sum"));
        with_ever_more("param_bytes", || twin.param_bytes(tensor));
        with_ever_more("save_bytes", || twin.save_bytes(&Save::default()));
        if copy.is_some() {
            with_ever_more("param_copy", || twin.param_copy(tensor));
        }
        twin.step().unwrap();
        let saved = Checkpoint::from_bytes(twin.save_bytes(&Save::default()).unwrap()).unwrap();
        let before = twin.param_bytes(tensor).unwrap();
        twin.param_mut(tensor).unwrap().fill(1.0);
        with_ever_more("load", || twin.load(&saved));
        assert!(twin.param_bytes(tensor).unwrap() == before);
        with_ever_more("load_params", || twin.load_params(&saved));
        let [of_params, of_state] = [
            twin.param_bytes(tensor).unwrap(),
            twin.state_bytes(tensor, "sum").unwrap(),
        ];
        with_ever_more("write_state", || twin.write_state(tensor, "sum", &values));
        with_ever_more("write_state_bytes", || {
            twin.write_state_bytes(tensor, "sum", &of_state)
        });
        with_ever_more("write_param_bytes", || {
            twin.write_param_bytes(tensor, &of_params)
        });
    }
}

/// Numbers of f64, which take what a file has of other types.
#[test]
fn what_the_twin_of_f64_cannot_get_is_an_error() {
    for params in Formats::PARAMS {
        let formats = Formats {
            params: *params,
            state: Format::Int8,
            ..Formats::default()
        };
        let (layout, tensor) = layout(formats);
        let single = cpu::Optimizer::<f32>::new(&layout).unwrap();
        let saved = single.save_bytes(&Save::default()).unwrap();
        let saved = Checkpoint::from_bytes(saved).unwrap();
        with_ever_more("new", || cpu::Optimizer::<f64>::new(&layout));
        let mut twin = cpu::Optimizer::<f64>::new(&layout).unwrap();
        twin.param_mut(tensor).unwrap().fill(1.0);
        with_ever_more("load", || twin.load(&saved));
        assert!(twin.param(tensor).unwrap().iter().all(|p| *p == 0.0));
        with_ever_more("save_bytes", || twin.save_bytes(&Save::default()));
        with_ever_more("state_bytes", || twin.state_bytes(tensor, "sum"));
        with_ever_more("param_bytes", || twin.param_bytes(tensor));
    }
}
