//! Whatever is wrong gives an error that says so, and never a panic.

mod support;

use support::*;
use wgpu_optim::{
    Average, BufferRange, Buffers, Clip, Error, Gpu, GpuOptions, Layout, Optimizer, Options, Rule,
    Tensor, cpu, read, read_blocking, required_limits, rules, wgpu,
};

fn layout_of(rule: impl Into<Box<dyn Rule>>, count: usize) -> (Layout, Tensor) {
    let mut layout = Layout::new();
    let group = layout.group(rule).unwrap();
    let shape = shape_for(layout.rule(group).unwrap(), 0, count);
    let tensor = layout.tensor(group, "x", &shape).unwrap();
    (layout, tensor)
}

/// A device with its own limits, to be broken.
fn own_device(change: impl FnOnce(&mut wgpu::Limits)) -> (wgpu::Device, wgpu::Queue) {
    let mut limits = required_limits(&gpu().adapter);
    change(&mut limits);
    let descriptor = wgpu::DeviceDescriptor {
        required_limits: limits,
        ..Default::default()
    };
    pollster::block_on(gpu().adapter.request_device(&descriptor)).unwrap()
}

#[test]
fn hyperparameters_out_of_range_name_field_value_and_range() {
    let mut layout = Layout::new();
    let mut refusal = |rule: Box<dyn Rule>| layout.group(rule).unwrap_err().to_string();
    let adam = rules::Adam {
        beta2: 1.0,
        ..Default::default()
    };
    assert_eq!(
        refusal(adam.into()),
        "adam: beta2 = 1 is not allowed; expected a number in [0, 1)"
    );
    let adam = rules::Adam {
        eps: 0.0,
        ..Default::default()
    };
    let message = refusal(adam.into());
    assert!(
        message.starts_with("adam: eps = 0 is not allowed; expected"),
        "{message}"
    );
    assert!(message.contains("1.1754943508222875e-38"), "{message}");
    let sgd = rules::Sgd {
        lr: f64::NAN,
        ..Default::default()
    };
    assert!(refusal(sgd.into()).contains("lr = NaN"));
    for (momentum, dampening, form) in [
        (0.0, 0.0, rules::MomentumForm::Classic),
        (0.9, 0.1, rules::MomentumForm::Classic),
        (0.9, 0.0, rules::MomentumForm::Ema),
    ] {
        let sgd = rules::Sgd {
            nesterov: true,
            momentum,
            dampening,
            momentum_form: form,
            ..Default::default()
        };
        assert!(refusal(sgd.into()).contains("nesterov = true"));
    }
    let radam = rules::RAdam {
        rho_threshold: 3.0,
        ..Default::default()
    };
    assert!(refusal(radam.into()).contains("rho_threshold = 3"));
    assert_eq!(layout.groups().len(), 0);
}

#[test]
fn a_learning_rate_that_is_no_rate_changes_nothing() {
    let (layout, _) = layout_of(rules::Adam::default(), 3);
    let group = only_group(&layout);
    let mut optimizer = Optimizer::new(&gpu().device, &layout, Options::default()).unwrap();
    let mut twin = cpu::Optimizer::<f32>::new(&layout).unwrap();
    for lr in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
        assert!(matches!(
            optimizer.set_lr(group, lr),
            Err(Error::Hyperparameter { .. })
        ));
        assert!(matches!(
            twin.set_lr(group, lr),
            Err(Error::Hyperparameter { .. })
        ));
    }
    assert_eq!(optimizer.lr(group), Ok(1e-3));
    assert_eq!(twin.lr(group), Ok(1e-3));
}

#[test]
fn a_decay_that_overflows_is_refused_with_its_learning_rate() {
    let mut layout = Layout::new();
    let rule = rules::AdamW {
        weight_decay: 1e30,
        ..Default::default()
    };
    let group = layout.group(rule).unwrap();
    layout.tensor(group, "x", &[1]).unwrap();
    let mut twin = cpu::Optimizer::<f32>::new(&layout).unwrap();
    let error = twin.set_lr(group, 1e30).unwrap_err().to_string();
    assert!(error.contains("lr times weight_decay"), "{error}");
    let rule = rules::AdamW {
        lr: 1e30,
        weight_decay: 1e30,
        ..Default::default()
    };
    assert!(layout.group(rule).is_err());
}

#[test]
fn step_counts_beyond_arithmetic_are_refused_and_those_below_it_work() {
    for name in rules::names() {
        let (layout, x) = layout_of(rule(name), 3);
        let group = only_group(&layout);
        let Gpu { device, queue, .. } = gpu();
        let mut optimizer = Optimizer::new(device, &layout, Options::default()).unwrap();
        let mut twin = cpu::Optimizer::<f32>::new(&layout).unwrap();
        let refused = Err(Error::StepCount {
            count: u64::MAX,
            most: 1 << 52,
        });
        assert_eq!(optimizer.set_step_count(group, u64::MAX), refused);
        assert_eq!(twin.set_step_count(group, u64::MAX), refused);
        optimizer.set_step_count(group, 1 << 52).unwrap();
        twin.set_step_count(group, 1 << 52).unwrap();
        optimizer.write_grad(queue, x, &[1.0; 3]).unwrap();
        twin.grad_mut(x).unwrap().fill(1.0);
        let mut encoder = device.create_command_encoder(&Default::default());
        optimizer.step(&mut encoder).unwrap();
        queue.submit([encoder.finish()]);
        twin.step().unwrap();
        let found = optimizer.read_param_blocking(queue, x).unwrap();
        assert!(
            found.iter().all(|value| value.is_finite() && *value < 0.0),
            "{name}"
        );
        for (found, twin) in found.iter().zip(twin.param(x).unwrap()) {
            assert!(
                (found - twin).abs() <= 1e-6 * twin.abs(),
                "{name}: {found} {twin}"
            );
        }
    }
}

#[test]
fn hyperparameters_of_a_group_can_be_read() {
    let (layout, _) = layout_of(
        rules::Lion {
            beta1: 0.95,
            ..Default::default()
        },
        3,
    );
    let fields = layout.hyperparameters(only_group(&layout)).unwrap();
    assert!(fields.contains(&("beta1", "0.95".to_owned())));
    assert!(fields.contains(&("maximize", "false".to_owned())));
}

#[test]
fn handles_of_another_layout_are_refused() {
    let mut other = Layout::new();
    let mut far = other.group(rules::Adam::default()).unwrap();
    for _ in 0..5 {
        far = other.group(rules::Adam::default()).unwrap();
    }
    // Far and near: in this layout there is a tensor of that number too.
    let near = other.tensor(far, "near", &[1]).unwrap();
    for index in 0..5 {
        other.tensor(far, &index.to_string(), &[1]).unwrap();
    }
    let stranger = other.find("4").unwrap();
    let (layout, _) = layout_of(rules::Adam::default(), 3);
    let optimizer = Optimizer::new(&gpu().device, &layout, Options::default()).unwrap();
    let twin = cpu::Optimizer::<f64>::new(&layout).unwrap();
    let refused = |error: Error| assert!(matches!(error, Error::UnknownHandle { .. }), "{error}");
    refused(optimizer.param(stranger).unwrap_err());
    refused(optimizer.param(near).unwrap_err());
    refused(twin.param(near).unwrap_err());
    refused(optimizer.grad(stranger).unwrap_err());
    refused(optimizer.state(stranger, "exp_avg").unwrap_err());
    refused(optimizer.lr(far).unwrap_err());
    refused(twin.param(stranger).unwrap_err());
    refused(twin.step_count(far).unwrap_err());
    refused(layout.name(stranger).unwrap_err());
    refused(layout.rule(far).map(|_| ()).unwrap_err());
}

#[test]
fn unknown_state_and_wrong_lengths_are_refused() {
    let (layout, x) = layout_of(rules::Adam::default(), 3);
    let Gpu { device, queue, .. } = gpu();
    let optimizer = Optimizer::new(device, &layout, Options::default()).unwrap();
    let error = optimizer
        .state(x, "max_exp_avg_sq")
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "rule adam keeps no state \"max_exp_avg_sq\" here; it keeps: exp_avg, exp_avg_sq"
    );
    let twin = cpu::Optimizer::<f32>::new(&layout).unwrap();
    assert_eq!(
        twin.state(x, "max_exp_avg_sq").unwrap_err().to_string(),
        error
    );
    let error = optimizer.write_param(queue, x, &[0.0; 4]).unwrap_err();
    assert!(matches!(
        error,
        Error::Length {
            expected: 3,
            actual: 4,
            ..
        }
    ));
    let (layout, x) = layout_of(rules::Sgd::default(), 3);
    let optimizer = Optimizer::new(device, &layout, Options::default()).unwrap();
    let error = optimizer
        .state(x, "momentum_buffer")
        .unwrap_err()
        .to_string();
    assert!(error.ends_with("it keeps: nothing"), "{error}");
}

#[test]
fn a_layout_without_tensors_is_refused() {
    let mut layout = Layout::new();
    layout.group(rules::Adam::default()).unwrap();
    let error = Optimizer::new(&gpu().device, &layout, Options::default()).unwrap_err();
    assert_eq!(error, Error::EmptyLayout);
}

#[test]
fn a_group_without_tensors_is_no_obstacle() {
    let mut layout = Layout::new();
    layout
        .group(rules::Adagrad {
            initial_accumulator_value: 1.0,
            ..Default::default()
        })
        .unwrap();
    let group = layout
        .group(rules::Sgd {
            lr: 1.0,
            ..Default::default()
        })
        .unwrap();
    let x = layout.tensor(group, "x", &[]).unwrap();
    let Gpu { device, queue, .. } = gpu();
    let mut optimizer = Optimizer::new(device, &layout, Options::default()).unwrap();
    optimizer.write_grad(queue, x, &[2.0]).unwrap();
    let mut encoder = device.create_command_encoder(&Default::default());
    optimizer.step(&mut encoder).unwrap();
    queue.submit([encoder.finish()]);
    assert_eq!(optimizer.read_param_blocking(queue, x).unwrap(), [-2.0]);
}

#[test]
fn tensors_beyond_the_device_name_the_limit_and_its_value() {
    let (device, _queue) = own_device(|limits| limits.max_buffer_size = 1 << 20);
    let (layout, _) = layout_of(rules::Adam::default(), 300_000);
    let error = Optimizer::new(&device, &layout, Options::default()).unwrap_err();
    let message = error.to_string();
    assert!(matches!(
        error,
        Error::Limit {
            limit: "max_buffer_size",
            allowed: 1_048_576,
            ..
        }
    ));
    assert!(message.contains("1048576"), "{message}");

    let (device, _queue) = own_device(|limits| limits.max_storage_buffers_per_shader_stage = 3);
    let error = Optimizer::new(&device, &layout, Options::default()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("max_storage_buffers_per_shader_stage"),
        "{error}"
    );
}

#[test]
fn a_device_with_webgpus_default_limits_will_do() {
    let (device, queue) = own_device(|limits| *limits = wgpu::Limits::default());
    let (layout, x) = layout_of(rules::Adam::default(), 70_001);
    let mut optimizer = Optimizer::new(&device, &layout, Options::default()).unwrap();
    optimizer.write_grad(&queue, x, &vec![1.0; 70_001]).unwrap();
    let mut encoder = device.create_command_encoder(&Default::default());
    optimizer.step(&mut encoder).unwrap();
    queue.submit([encoder.finish()]);
    let found = optimizer.read_param_blocking(&queue, x).unwrap();
    assert!(found.iter().all(|value| (value + 1e-3).abs() < 1e-8));
}

#[test]
fn what_takes_more_bindings_than_the_device_has_is_refused_with_what_takes_them() {
    let (device, _) = own_device(|limits| *limits = wgpu::Limits::default());
    let (layout, _) = layout_of(rules::Adan::default(), 64);
    let options = |average, clip| Options {
        average,
        clip,
        ..Default::default()
    };
    let average = Some(Average {
        decay: 0.9,
        debias: true,
    });
    // Four slots, the average and the factors of tensors beside parameters and gradients: all eight.
    let all = options(average, Clip::TensorNorm(1.0));
    Optimizer::new(&device, &layout, all.clone()).unwrap();
    let whole = |_| BufferRange::whole(&buffer(256));
    let buffers = Buffers {
        params: [()].map(whole).to_vec(),
        grads: None,
        ..Default::default()
    };
    let error = Optimizer::over(&device, &layout, buffers, all).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, Error::Limit { needed: 9, .. }), "{message}");
    assert!(message.contains("Options::average"), "{message}");
    assert!(message.contains("Clip::TensorNorm"), "{message}");
}

/// Runs `memory_is_short` in a process that may have 6 GB of addresses, which a software driver
/// takes its memory from. On a GPU with memory of its own there is no such bound to set.
#[test]
#[cfg(target_os = "linux")]
fn memory_that_runs_out_is_an_error() {
    let info = &gpu().info;
    if info.device_type != wgpu::DeviceType::Cpu || info.backend != wgpu::Backend::Vulkan {
        // GL does not report a buffer that it could not back.
        println!(
            "not run: {} ({}) cannot be made short of memory",
            info.name, info.backend
        );
        return;
    }
    let child = std::process::Command::new("sh")
        .args(["-c", "ulimit -v 6000000 && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "memory_is_short", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{output}");
    assert!(output.contains("1 passed"), "{output}");
}

#[test]
#[ignore = "part of memory_that_runs_out_is_an_error"]
fn memory_is_short() {
    // Each takes four arenas of 200 MB.
    let (layout, _) = layout_of(rules::Adam::default(), 50 << 20);
    let mut kept = Vec::new();
    let error = loop {
        match Optimizer::new(&gpu().device, &layout, Options::default()) {
            Ok(optimizer) => kept.push(optimizer),
            Err(error) => break error,
        }
        assert!(kept.len() < 8, "6.4 GB fit into 6 GB");
    };
    assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
    drop(kept);
    // The device works on.
    let (layout, x) = layout_of(rules::Adam::default(), 5);
    let optimizer = Optimizer::new(&gpu().device, &layout, Options::default()).unwrap();
    optimizer.read_param_blocking(&gpu().queue, x).unwrap();
}

#[test]
fn a_lost_device_is_an_error_wherever_it_is_met() {
    let (device, queue) = own_device(|_| {});
    let (layout, x) = layout_of(rules::Adam::default(), 5);
    let mut optimizer = Optimizer::new(&device, &layout, Options::default()).unwrap();
    optimizer.write_grad(&queue, x, &[1.0; 5]).unwrap();
    let mut encoder = device.create_command_encoder(&Default::default());
    optimizer.step(&mut encoder).unwrap();
    queue.submit([encoder.finish()]);
    // What the step was brought in is ready for the next one.
    device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    let (range, grad) = (optimizer.param(x).unwrap(), optimizer.grad(x).unwrap());
    device.destroy();
    // wgpu lets go of a device's buffers when it polls, as it does at each submission.
    let _ = device.poll(wgpu::PollType::Poll);
    let lost = |error: Error| assert!(matches!(error, Error::DeviceLost { .. }), "{error}");
    lost(optimizer.read_param_blocking(&queue, x).unwrap_err());
    lost(read_blocking(&device, &queue, &range).unwrap_err());
    let mut encoder = device.create_command_encoder(&Default::default());
    lost(optimizer.step(&mut encoder).unwrap_err());
    assert_eq!(optimizer.step_count(only_group(&layout)), Ok(1));
    assert!(pollster::block_on(read(&device, &queue, &range)).is_err());
    let mut encoder = device.create_command_encoder(&Default::default());
    lost(
        optimizer
            .step_with(&mut encoder, std::slice::from_ref(&grad))
            .unwrap_err(),
    );
    lost(optimizer.zero_grad(&mut encoder).unwrap_err());
    lost(optimizer.evaluate(&mut encoder).unwrap_err());
    lost(optimizer.snapshot(&mut encoder).unwrap_err());
    // Nothing was recorded that would spoil the caller's encoder.
    encoder.finish();
    let buffers = Buffers {
        params: vec![range],
        grads: Some(vec![grad]),
        ..Default::default()
    };
    lost(optimizer.rebind(buffers).unwrap_err());
    lost(Optimizer::new(&device, &layout, Options::default()).unwrap_err());
    lost(optimizer.write_param(&queue, x, &[0.0; 5]).unwrap_err());
    lost(optimizer.write_grad(&queue, x, &[0.0; 5]).unwrap_err());
}

#[test]
fn buffers_of_another_device_are_refused_and_nothing_is_written() {
    let (here, there) = (gpu(), Gpu::open_blocking(&GpuOptions::default()).unwrap());
    let (layout, x) = layout_of(rules::Sgd::default(), 5);
    let other = Optimizer::new(&there.device, &layout, Options::default()).unwrap();
    other.write_param(&there.queue, x, &[7.0; 5]).unwrap();
    let own = Optimizer::new(&here.device, &layout, Options::default()).unwrap();
    own.write_param(&here.queue, x, &[1.0; 5]).unwrap();
    let range = other.param(x).unwrap();
    let refused = |result: Result<(), Error>| {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::OtherDevice { .. }), "{error}");
    };
    refused(wgpu_optim::write(
        &here.device,
        &here.queue,
        &range,
        &[2.0; 5],
    ));
    refused(read_blocking(&here.device, &here.queue, &range).map(|_| ()));
    let buffers = Buffers {
        params: vec![range],
        grads: Some(vec![other.grad(x).unwrap()]),
        ..Default::default()
    };
    refused(Optimizer::over(&here.device, &layout, buffers, Options::default()).map(|_| ()));
    assert_eq!(own.read_param_blocking(&here.queue, x).unwrap(), [1.0; 5]);
    assert_eq!(
        other.read_param_blocking(&there.queue, x).unwrap(),
        [7.0; 5]
    );
}

#[test]
fn a_matrix_beyond_all_memory_is_refused_at_once() {
    for name in rules::names() {
        let mut layout = Layout::new();
        let group = layout.group(rules::by_name(name).unwrap()).unwrap();
        if layout.tensor(group, "w", &[4_000_000, 4_000_000]).is_err() {
            // Not for this rule.
            continue;
        }
        let error = Optimizer::new(&gpu().device, &layout, Options::default()).unwrap_err();
        let is_size = matches!(error, Error::Limit { .. } | Error::OutOfMemory { .. });
        assert!(is_size, "{name}: {error}");
    }
}

#[test]
fn reads_need_copy_src_and_a_range_within_the_buffer() {
    let Gpu { device, queue, .. } = gpu();
    let mute = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 16,
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    });
    let error = read_blocking(device, queue, &BufferRange::whole(&mute)).unwrap_err();
    assert!(error.to_string().contains("COPY_SRC"), "{error}");
    let buffer = buffer(16);
    let outside = BufferRange {
        buffer: buffer.clone(),
        offset: 8,
        size: 12,
    };
    assert!(read_blocking(device, queue, &outside).is_err());
    let empty = BufferRange {
        buffer,
        offset: 16,
        size: 0,
    };
    assert_eq!(read_blocking(device, queue, &empty), Ok(vec![]));
}

#[test]
fn no_adapter_says_what_was_sought_and_what_there_is() {
    let options = GpuOptions {
        name: Some("Voodoo 2".into()),
        ..Default::default()
    };
    let message = Gpu::open_blocking(&options).unwrap_err().to_string();
    assert!(message.contains("\"Voodoo 2\""), "{message}");
    assert!(message.contains(&gpu().info.name), "{message}");
}

#[test]
fn adapters_are_found_by_part_of_their_name() {
    let name = gpu().info.name.to_uppercase();
    let options = GpuOptions {
        name: Some(name[..name.len() / 2].to_owned()),
        backends: Some(gpu().info.backend.into()),
        ..Default::default()
    };
    assert_eq!(
        Gpu::open_blocking(&options).unwrap().info.name,
        gpu().info.name
    );
    let listed = Gpu::adapters_blocking(gpu().info.backend.into());
    assert!(listed.iter().any(|info| info.name == gpu().info.name));
}
