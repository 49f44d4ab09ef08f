//! Queues and buffers of another device are refused by name, whatever instance they are of.

mod support;

use std::sync::{Mutex, MutexGuard, PoisonError};

use support::*;
use wgpu_optim::{
    BufferRange, Buffers, Checkpoint, Error, Format, Formats, Gpu, Layout, LossScale, Optimizer,
    Options, Save, Tensor, read, read_blocking, rules, wgpu, write,
};

/// wgpu's GL has one context current at a time in a process, whatever instance it is of. Two devices
/// that are at work at once panic there.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn other(what: &str) -> Error {
    Error::OtherDevice {
        what: what.to_owned(),
    }
}

/// Another device of the same instance, and one of an instance of its own.
fn strangers() -> [(&'static str, wgpu::Device, wgpu::Queue); 2] {
    let open = |adapter: &wgpu::Adapter| {
        pollster::block_on(adapter.request_device(&Default::default())).unwrap()
    };
    let (device, queue) = open(&gpu().adapter);
    let backend = gpu().info.backend.into();
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backend;
    let instance = wgpu::Instance::new(descriptor);
    let adapters = pollster::block_on(instance.enumerate_adapters(backend));
    let mut adapters = adapters.into_iter();
    let same = |adapter: &wgpu::Adapter| adapter.get_info().name == gpu().info.name;
    let (far_device, far_queue) = open(&adapters.find(same).unwrap());
    [
        ("same instance", device, queue),
        ("another instance", far_device, far_queue),
    ]
}

fn layout() -> (Layout, Tensor) {
    let mut layout = Layout::new();
    let group = layout.group(rules::Adam::default()).unwrap();
    let tensor = layout.tensor(group, "x", &[5]).unwrap();
    (layout, tensor)
}

/// The same in a group with a copy of its parameters.
fn with_copy() -> Layout {
    let mut layout = Layout::new();
    let formats = Formats {
        copy: Some(Format::Bf16),
        ..Formats::default()
    };
    let group = layout.group_in(rules::Adam::default(), formats).unwrap();
    layout.tensor(group, "x", &[5]).unwrap();
    layout
}

fn foreign_buffer(device: &wgpu::Device) -> BufferRange {
    BufferRange::whole(&device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 20,
        usage: wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    }))
}

#[test]
fn every_entry_point_refuses_the_queue_of_another_device() {
    let _alone = alone();
    let Gpu { device, queue, .. } = gpu();
    let (layout, x) = layout();
    let options = Options {
        loss_scale: Some(LossScale::default()),
        ..Default::default()
    };
    let mut optimizer = Optimizer::new(device, &layout, options).unwrap();
    let bytes = optimizer.save_bytes_blocking(queue, &Save::default());
    let checkpoint = Checkpoint::from_bytes(bytes.unwrap()).unwrap();
    optimizer.write_param(queue, x, &[1.0; 5]).unwrap();
    let range = optimizer.param(x).unwrap();
    for (label, _device, stranger) in &strangers() {
        let refused = |result: Result<(), Error>, entry: &str| {
            assert_eq!(result, Err(other("the queue")), "{label}: {entry}");
        };
        let values = [2.0; 5];
        refused(optimizer.write_param(stranger, x, &values), "write_param");
        refused(optimizer.write_grad(stranger, x, &values), "write_grad");
        let written = optimizer.write_state(stranger, x, "exp_avg", &values);
        refused(written, "write_state");
        let scaled = optimizer.set_loss_scale(stranger, 2.0, 0);
        refused(scaled, "set_loss_scale");
        refused(write(device, stranger, &range, &values), "write");
        let done = |found: Result<Vec<f32>, Error>| found.map(|_| ());
        let blocking = optimizer.read_param_blocking(stranger, x);
        refused(done(blocking), "read_param_blocking");
        let blocking = optimizer.read_grad_blocking(stranger, x);
        refused(done(blocking), "read_grad_blocking");
        let blocking = optimizer.read_state_blocking(stranger, x, "exp_avg");
        refused(done(blocking), "read_state_blocking");
        let awaited = pollster::block_on(optimizer.read_param(stranger, x));
        refused(done(awaited), "read_param");
        let awaited = pollster::block_on(optimizer.read_grad(stranger, x));
        refused(done(awaited), "read_grad");
        let awaited = pollster::block_on(optimizer.read_state(stranger, x, "exp_avg"));
        refused(done(awaited), "read_state");
        refused(
            done(read_blocking(device, stranger, &range)),
            "read_blocking",
        );
        let awaited = pollster::block_on(read(device, stranger, &range));
        refused(done(awaited), "read");
        let path = std::env::temp_dir().join(format!("foreign-{}", std::process::id()));
        let saved = optimizer.save_blocking(stranger, &path, &Save::default());
        refused(saved, "save_blocking");
        assert!(!path.exists(), "{label}");
        let saved = optimizer.save_bytes_blocking(stranger, &Save::default());
        refused(saved.map(|_| ()), "save_bytes_blocking");
        let saving = || {
            let mut encoder = device.create_command_encoder(&Default::default());
            let saving = optimizer.save(&mut encoder, &Save::default()).unwrap();
            queue.submit([encoder.finish()]);
            saving
        };
        let written = saving().write_blocking(stranger, &path);
        refused(written, "Saving::write_blocking");
        let bytes = saving().bytes_blocking(stranger);
        refused(bytes.map(|_| ()), "Saving::bytes_blocking");
        let bytes = pollster::block_on(saving().bytes(stranger));
        refused(bytes.map(|_| ()), "Saving::bytes");
        refused(optimizer.load(stranger, &checkpoint), "load");
        refused(optimizer.load_params(stranger, &checkpoint), "load_params");
        let same = |name: &str| Some(name.to_owned());
        let loaded = optimizer.load_partial(stranger, &checkpoint, same);
        refused(loaded.map(|_| ()), "load_partial");
    }
    let found = optimizer.read_param_blocking(queue, x).unwrap();
    assert_eq!(found, [1.0; 5], "nothing was written");
}

#[test]
fn every_entry_point_refuses_buffers_of_another_device() {
    let _alone = alone();
    let Gpu { device, queue, .. } = gpu();
    let (layout, x) = layout();
    let mut optimizer = Optimizer::new(device, &layout, Options::default()).unwrap();
    let own = || BufferRange::whole(&buffer(20));
    // Many, so that their numbers in an instance of their own are not also those of ours.
    for (label, far, far_queue) in &strangers() {
        let many: Vec<_> = (0..2000).map(|_| foreign_buffer(far)).collect();
        let stranger = many.last().unwrap().clone();
        let refused = |result: Result<(), Error>, what: &str| {
            assert_eq!(result, Err(other(what)), "{label}");
        };
        refused(write(device, queue, &stranger, &[1.0; 5]), "the buffer");
        refused(write(device, far_queue, &stranger, &[1.0; 5]), "the buffer");
        let found = read_blocking(device, queue, &stranger);
        refused(found.map(|_| ()), "the buffer");
        let buffers = |param: &BufferRange, grad: Option<&BufferRange>| Buffers {
            params: vec![param.clone()],
            grads: grad.map(|grad| vec![grad.clone()]),
            ..Default::default()
        };
        let over = |buffers| {
            let made = Optimizer::over(device, &layout, buffers, Options::default());
            made.map(|_| ())
        };
        let mine = own();
        let (param, grad) = ("the parameter of \"x\"", "the gradient of \"x\"");
        refused(over(buffers(&stranger, None)), param);
        refused(over(buffers(&stranger, Some(&mine))), param);
        refused(over(buffers(&mine, Some(&stranger))), grad);
        refused(optimizer.rebind(buffers(&stranger, Some(&mine))), param);
        refused(optimizer.rebind(buffers(&mine, Some(&stranger))), grad);
        let copied = |copy: &BufferRange| Buffers {
            copies: Some(vec![BufferRange {
                size: 12,
                ..copy.clone()
            }]),
            ..buffers(&mine, None)
        };
        let over_copy = |copy: &BufferRange| {
            let layout = with_copy();
            let made = Optimizer::over(device, &layout, copied(copy), Options::default());
            made.map(|_| ())
        };
        over_copy(&own()).unwrap();
        refused(over_copy(&stranger), "the copy of \"x\"");
        let grads = [stranger.clone()];
        let mut encoder = device.create_command_encoder(&Default::default());
        refused(optimizer.step_with(&mut encoder, &grads), grad);
        refused(pollster::block_on(optimizer.prepare(&grads)), grad);
        // The caller's encoder is as good as it was, and so is the optimizer.
        optimizer.write_grad(queue, x, &[1.0; 5]).unwrap();
        optimizer.step(&mut encoder).unwrap();
        queue.submit([encoder.finish()]);
    }
    let found = optimizer.read_param_blocking(queue, x).unwrap();
    assert!(found.iter().all(|x| (*x + 2e-3).abs() < 1e-6), "{found:?}");
}

#[test]
fn a_mapped_or_destroyed_buffer_is_not_taken_for_another_devices() {
    let _alone = alone();
    let Gpu { device, queue, .. } = gpu();
    let destroyed = BufferRange::whole(&buffer(20));
    destroyed.buffer.destroy();
    for result in [
        write(device, queue, &destroyed, &[1.0; 5]),
        read_blocking(device, queue, &destroyed).map(|_| ()),
    ] {
        assert!(matches!(result, Err(Error::Wgpu { .. })), "{result:?}");
    }
}

#[test]
fn a_device_of_one_backend_and_a_gpu_of_all_are_of_one_instance() {
    // wgpu tells devices apart only within an instance.
    let _alone = alone();
    let named = wgpu_optim::GpuOptions {
        backends: Some(gpu().info.backend.into()),
        name: Some(gpu().info.name.clone()),
        ..Default::default()
    };
    let there = Gpu::open_blocking(&named).unwrap();
    let stranger = foreign_buffer(&there.device);
    let (layout, _) = layout();
    let buffers = Buffers {
        params: vec![stranger],
        grads: None,
        ..Default::default()
    };
    let made = Optimizer::over(&gpu().device, &layout, buffers, Options::default());
    assert_eq!(
        made.map(|_| ()).unwrap_err(),
        other("the parameter of \"x\"")
    );
}
