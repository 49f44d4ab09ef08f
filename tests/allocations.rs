//! Recording a step is work that does not grow with the number of tensors.

use std::{
    alloc::{GlobalAlloc, Layout as Block, System},
    cell::Cell,
};

use wgpu_optim::{
    Average, Clip, Gpu, GpuOptions, Layout, LossScale, Optimizer, Options, rules, wgpu,
};

thread_local! {
    static ALLOCATED: Cell<[usize; 2]> = const { Cell::new([0; 2]) };
}

/// Counts what each thread allocates, and how much.
struct Counting;

// SAFETY: all that it does with memory, the system's allocator does.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, block: Block) -> *mut u8 {
        ALLOCATED.set({
            let [times, bytes] = ALLOCATED.get();
            [times + 1, bytes + block.size()]
        });
        unsafe { System.alloc(block) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, block: Block) {
        unsafe { System.dealloc(memory, block) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// How often and how much recording one step of one group of that many tensors allocates.
fn allocated(
    gpu: &Gpu,
    rule: &str,
    (tensors, shape): (usize, [usize; 2]),
    options: Options,
) -> [usize; 2] {
    let mut layout = Layout::new();
    let group = layout.group(rules::by_name(rule).unwrap()).unwrap();
    for index in 0..tensors {
        layout.tensor(group, &index.to_string(), &shape).unwrap();
    }
    let mut optimizer = Optimizer::new(&gpu.device, &layout, options).unwrap();
    let mut record = || {
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        let before = ALLOCATED.get();
        optimizer.step(&mut encoder).unwrap();
        let after = ALLOCATED.get();
        gpu.queue.submit([encoder.finish()]);
        let polled = gpu.device.poll(wgpu::PollType::wait_indefinitely());
        polled.unwrap();
        [after[0] - before[0], after[1] - before[1]]
    };
    // The first steps make what later ones use again.
    (0..3).for_each(|_| _ = record());
    record()
}

#[test]
fn recording_five_thousand_tensors_allocates_what_one_does() {
    let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
    let everything = Options {
        clip: Clip::TensorNorm(1.0),
        loss_scale: Some(LossScale::default()),
        zero_grad: true,
        average: Some(Average {
            decay: 0.99,
            debias: true,
        }),
        ..Default::default()
    };
    for rule in ["adamw", "lamb", "adafactor"] {
        for options in [Options::default(), everything.clone()] {
            // One of more than a workgroup: a smaller one is a dispatch in place of two.
            let [one, many] = [(1, [40, 64]), (5000, [3, 4])]
                .map(|tensors| allocated(&gpu, rule, tensors, options.clone()));
            assert_eq!(one, many, "{rule}, {:?}", options.clip);
        }
    }
}
