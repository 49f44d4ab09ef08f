//! Buffers are destroyed once nobody needs them, and no sooner. Natively wgpu frees a buffer that nobody
//! refers to, so these tests refer to all of them.

use super::*;
use crate::{
    Average, Clip, Format, Formats, LossScale, Save,
    rules::{Adam, Lamb},
};

fn gpu() -> Gpu {
    Gpu::open_blocking(&GpuOptions::default()).unwrap()
}

/// All that surrounds a step.
fn everything() -> Options {
    Options {
        clip: Clip::TensorNorm(1.0),
        loss_scale: Some(LossScale::default()),
        average: Some(Average {
            decay: 0.5,
            debias: true,
        }),
        ..Default::default()
    }
}

fn layout(rule: Box<dyn Rule>) -> Layout {
    let mut layout = Layout::new();
    let formats = Formats {
        copy: Some(Format::F16),
        ..Formats::default()
    };
    let group = layout.group_in(rule, formats).unwrap();
    layout.tensor(group, "weight", &[3, 4]).unwrap();
    layout.tensor(group, "other", &[5, 2]).unwrap();
    layout
}

/// All that an optimizer owns that has no steps over passed gradients.
fn owned(optimizer: &Optimizer) -> Vec<wgpu::Buffer> {
    let devices = [&optimizer.setup.device, &optimizer.bound];
    devices.iter().flat_map(|device| device.owned()).collect()
}

fn submit(gpu: &Gpu, encoder: wgpu::CommandEncoder) {
    gpu.queue.submit([encoder.finish()]);
    gpu.device
        .poll(wgpu::PollType::wait_indefinitely())
        .unwrap();
}

/// How many of `buffers` are not destroyed.
fn alive(gpu: &Gpu, buffers: &[wgpu::Buffer]) -> usize {
    let is_alive = |buffer: &&wgpu::Buffer| {
        let scope = gpu.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        let transition = wgpu::BufferTransition {
            buffer: *buffer,
            state: wgpu::BufferUses::COPY_SRC,
        };
        encoder.transition_resources(std::iter::once(transition), std::iter::empty());
        gpu.queue.submit([encoder.finish()]);
        pollster::block_on(scope.pop()).is_none()
    };
    buffers.iter().filter(is_alive).count()
}

fn ranges(gpu: &Gpu, layout: &Layout) -> Vec<BufferRange> {
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
    let range = |tensor| {
        let count = layout.element_count(tensor).unwrap() as u64;
        BufferRange::whole(&gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 4 * count,
            usage,
            mapped_at_creation: false,
        }))
    };
    layout.tensors().map(range).collect()
}

#[test]
fn every_buffer_of_every_rule_is_owned_and_destroyed_with_its_optimizer() {
    let gpu = gpu();
    let allocations = || {
        let report = gpu.device.generate_allocator_report();
        report.map(|report| report.allocations.len())
    };
    for name in rules::names() {
        for options in [Options::default(), everything()] {
            let rule = rules::by_name(name).unwrap();
            let averages_itself = rule.evaluates_elsewhere();
            let options = Options {
                average: options.average.filter(|_| !averages_itself),
                ..options
            };
            let layout = layout(rule);
            submit(&gpu, gpu.device.create_command_encoder(&Default::default()));
            let before = allocations();
            let optimizer = Optimizer::new(&gpu.device, &layout, options).unwrap();
            // What fills buffers goes with the first submission.
            submit(&gpu, gpu.device.create_command_encoder(&Default::default()));
            let owned = owned(&optimizer);
            if let (Some(before), Some(now)) = (before, allocations()) {
                assert_eq!(now - before, owned.len(), "{name}");
            }
            assert_eq!(alive(&gpu, &owned), owned.len(), "{name}");
            drop(optimizer);
            assert_eq!(alive(&gpu, &owned), 0, "{name}");
        }
    }
}

#[test]
fn what_is_recorded_runs_after_the_optimizer_is_dropped() {
    let gpu = gpu();
    let layout = layout(Box::new(Lamb::default()));
    // `what` gives what it uses beside.
    let record = |what: &dyn Fn(&mut Optimizer, &mut wgpu::CommandEncoder) -> Vec<wgpu::Buffer>| {
        let mut optimizer = Optimizer::new(&gpu.device, &layout, everything()).unwrap();
        let tensor = layout.tensors().next().unwrap();
        optimizer
            .write_param(&gpu.queue, tensor, &[1.0; 12])
            .unwrap();
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        let beside = what(&mut optimizer, &mut encoder);
        let owned = [owned(&optimizer), beside].concat();
        drop(optimizer);
        assert_eq!(alive(&gpu, &owned), owned.len(), "before the submission");
        submit(&gpu, encoder);
        assert_eq!(alive(&gpu, &owned), 0, "after the submission");
    };
    record(&|optimizer, encoder| {
        optimizer.step(encoder).unwrap();
        Vec::new()
    });
    record(&|optimizer, encoder| {
        optimizer.zero_grad(encoder).unwrap();
        Vec::new()
    });
    record(&|optimizer, encoder| {
        let snapshot = optimizer.snapshot(encoder).unwrap();
        vec![snapshot.buffer().clone()]
    });
    record(&|optimizer, encoder| {
        drop(optimizer.save(encoder, &Save::default()).unwrap());
        Vec::new()
    });
    record(&|optimizer, encoder| {
        optimizer.evaluate(encoder).unwrap();
        Vec::new()
    });
    let grads = ranges(&gpu, &layout);
    record(&|optimizer, encoder| {
        optimizer.step_with(encoder, &grads).unwrap();
        let of_plan = optimizer.passed[0].1.device.owned();
        // The plan is not kept any longer.
        for _ in 0..PASSED_KEPT {
            let other = ranges(&gpu, &layout);
            pollster::block_on(optimizer.prepare(&other)).unwrap();
        }
        of_plan
    });
}

#[test]
fn what_an_encoder_kept_is_destroyed_if_that_is_dropped() {
    let gpu = gpu();
    let layout = layout(Box::new(Adam::default()));
    let mut optimizer = Optimizer::new(&gpu.device, &layout, everything()).unwrap();
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    optimizer.step(&mut encoder).unwrap();
    let snapshot = optimizer.snapshot(&mut encoder).unwrap();
    let mut owned = owned(&optimizer);
    owned.push(snapshot.buffer().clone());
    drop((optimizer, snapshot));
    assert_eq!(alive(&gpu, &owned), owned.len());
    drop(encoder);
    assert_eq!(alive(&gpu, &owned), 0);
}

#[test]
fn a_snapshot_is_destroyed_without_its_optimizer() {
    let gpu = gpu();
    let layout = layout(Box::new(Adam::default()));
    let optimizer = Optimizer::new(&gpu.device, &layout, Options::default()).unwrap();
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    let snapshot = optimizer.snapshot(&mut encoder).unwrap();
    submit(&gpu, encoder);
    assert!(snapshot.get().unwrap().is_some());
    let copy = [snapshot.buffer().clone()];
    drop(snapshot);
    // A buffer that is still mapped could not be submitted either. One that is destroyed objects.
    let scope = gpu.device.push_error_scope(wgpu::ErrorFilter::Validation);
    copy[0].unmap();
    pollster::block_on(scope.pop());
    assert_eq!(alive(&gpu, &copy), 0);
    let owned = owned(&optimizer);
    assert_eq!(alive(&gpu, &owned), owned.len());
}

#[test]
fn plans_are_destroyed_when_others_take_their_place() {
    let gpu = gpu();
    let layout = layout(Box::new(Adam::default()));
    let mut optimizer = Optimizer::new(&gpu.device, &layout, everything()).unwrap();
    let of_setup = optimizer.setup.device.owned();
    let arenas = optimizer.bound.owned();
    let buffers = |gpu: &Gpu| Buffers {
        params: ranges(gpu, &layout),
        grads: Some(ranges(gpu, &layout)),
        ..Default::default()
    };
    let callers = buffers(&gpu);
    optimizer.rebind(callers.clone()).unwrap();
    assert_eq!(alive(&gpu, &arenas), 0);
    let plan = optimizer.bound.owned();
    optimizer.rebind(buffers(&gpu)).unwrap();
    assert_eq!(alive(&gpu, &plan), 0);
    let grads = ranges(&gpu, &layout);
    pollster::block_on(optimizer.prepare(&grads)).unwrap();
    let passed = optimizer.passed[0].1.device.owned();
    for _ in 0..PASSED_KEPT {
        assert_eq!(alive(&gpu, &passed), passed.len());
        let other = ranges(&gpu, &layout);
        pollster::block_on(optimizer.prepare(&other)).unwrap();
    }
    assert_eq!(alive(&gpu, &passed), 0);
    assert_eq!(alive(&gpu, &of_setup), of_setup.len());
    drop(optimizer);
    assert_eq!(alive(&gpu, &of_setup), 0);
    let Buffers { params, grads, .. } = callers;
    let callers = params.into_iter().chain(grads.unwrap());
    let callers: Vec<_> = callers.map(|range| range.buffer).collect();
    assert_eq!(
        alive(&gpu, &callers),
        callers.len(),
        "they are the caller's"
    );
}

#[test]
fn an_optimizer_has_no_copy_where_the_caller_has_one() {
    let gpu = gpu();
    let layout = layout(Box::new(Adam::default()));
    let buffers = |copies| Buffers {
        params: ranges(&gpu, &layout),
        grads: None,
        copies,
    };
    let halved = |range: BufferRange| BufferRange {
        size: range.size / 2,
        ..range
    };
    let callers: Vec<_> = ranges(&gpu, &layout).into_iter().map(halved).collect();
    let over =
        |buffers| Optimizer::over(&gpu.device, &layout, buffers, Options::default()).unwrap();
    let of_setup = |optimizer: &Optimizer| optimizer.setup.device.owned().len();
    let with_own = of_setup(&over(buffers(None)));
    let mut optimizer = over(buffers(Some(callers.clone())));
    assert_eq!(of_setup(&optimizer), with_own - 1);
    // It is made once, when it is needed.
    for _ in 0..2 {
        optimizer.rebind(buffers(None)).unwrap();
        assert_eq!(of_setup(&optimizer), with_own);
        optimizer.rebind(buffers(Some(callers.clone()))).unwrap();
        assert_eq!(of_setup(&optimizer), with_own);
    }
}

#[test]
fn what_a_caller_was_given_is_left() {
    let gpu = gpu();
    let layout = layout(Box::new(Adam::default()));
    let tensor = layout.tensors().next().unwrap();
    let optimizer = Optimizer::new(&gpu.device, &layout, Options::default()).unwrap();
    let all = owned(&optimizer);
    let given = [
        optimizer.param(tensor).unwrap(),
        optimizer.grad(tensor).unwrap(),
        optimizer.state(tensor, "exp_avg").unwrap(),
        optimizer.param_copy(tensor).unwrap(),
        optimizer.loss_scale(),
    ];
    // A second time changes nothing.
    optimizer.param(tensor).unwrap();
    drop(optimizer);
    let given = given.map(|range| range.buffer);
    assert_eq!(alive(&gpu, &given), given.len());
    assert_eq!(alive(&gpu, &all), given.len());
}

#[test]
fn a_plan_makes_nothing_for_the_optimizer() {
    let gpu = gpu();
    for name in rules::names() {
        let rule = rules::by_name(name).unwrap();
        let options = Options {
            average: None,
            ..everything()
        };
        let layout = layout(rule);
        let buffers = Buffers {
            params: ranges(&gpu, &layout),
            grads: None,
            ..Default::default()
        };
        let mut optimizer = Optimizer::over(&gpu.device, &layout, buffers, options).unwrap();
        let before = owned(&optimizer).len();
        let grads = ranges(&gpu, &layout);
        pollster::block_on(optimizer.prepare(&grads)).unwrap();
        assert!(!optimizer.passed[0].1.device.owned().is_empty());
        assert_eq!(owned(&optimizer).len(), before, "{name}");
    }
}
