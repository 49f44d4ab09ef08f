//! Devices that this crate opens, devices that a program opens itself, and gradients of several devices.

use std::sync::OnceLock;

use burn::cubecl::future::block_on;
use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams, MultiGradientsParams};
use burn::tensor::wgpu::WgpuSetup;
use burn::tensor::{Device, DeviceKind};
use wgpu_optim_burn::rules::Adam;
use wgpu_optim_burn::wgpu_optim::wgpu;
use wgpu_optim_burn::{Error, FusedOptimizer, Options, handles, init, init_with, share};

use crate::support::{Cnn, Gradients, device, gap, gradients, values, way};

fn adam() -> FusedOptimizer {
    let rule = Adam {
        eps: 1e-5,
        ..Default::default()
    };
    FusedOptimizer::new(rule, Options::default())
}

/// Burn's name for the adapter of its default device. As a name of its own it is another device to burn.
fn kind() -> DeviceKind {
    let (device, _) = handles(&device()).unwrap();
    match device.adapter_info().device_type {
        wgpu::DeviceType::DiscreteGpu => DeviceKind::DiscreteGpu(0),
        wgpu::DeviceType::IntegratedGpu => DeviceKind::IntegratedGpu(0),
        wgpu::DeviceType::VirtualGpu => DeviceKind::VirtualGpu(0),
        _ => DeviceKind::Cpu,
    }
}

/// A second device on the same adapter. Burn opens one only once.
fn second_device() -> Device {
    static SECOND: OnceLock<Device> = OnceLock::new();
    let open = || init_with(Device::wgpu_options().device_kind(kind())).unwrap();
    SECOND.get_or_init(open).clone()
}

/// Steps on `device`, beside those of burn's own Adam.
fn steps_as_burn_does(device: &Device) {
    let mut model = Cnn::new(device);
    let start = values(&model);
    let mut theirs = model.clone();
    let (mut ours, mut burn) = (adam(), AdamConfig::new().init());
    for step in 0..4 {
        let grads = GradientsParams::from_grads(theirs.loss(step, device).backward(), &theirs);
        let grads = Gradients(grads);
        model = ours.step(1e-2, model, grads.all(&theirs));
        theirs = burn.step(1e-2, theirs, grads.0);
    }
    let (ours, theirs) = (values(&model), values(&theirs));
    let (apart, way) = (gap(&ours, &theirs), way(&start, &theirs));
    assert!(way > 1e-2 && apart < 2e-5 * way, "{apart} of {way}");
}

#[test]
fn a_device_of_burns_options_is_another_one_and_trains_as_the_default_one_does() {
    let (first, second) = (device(), second_device());
    assert_ne!(first, second);
    let (of_first, of_second) = (handles(&first).unwrap(), handles(&second).unwrap());
    assert_ne!(of_first.0, of_second.0);
    assert_ne!(of_first.1, of_second.1);
    steps_as_burn_does(&second.autodiff());
    // The default one is opened once, however often it is asked for.
    assert_eq!(init().unwrap(), first);
    assert_eq!(handles(&first).unwrap(), of_first);
}

#[test]
fn burn_opens_no_device_twice() {
    second_device();
    let again = init_with(Device::wgpu_options().device_kind(kind())).unwrap_err();
    assert!(matches!(again, Error::Open { .. }), "{again}");
    assert!(again.to_string().contains("did not open"), "{again}");
}

/// A device that the program itself made, and that burn knows nothing of yet.
fn own() -> WgpuSetup {
    let instance = wgpu::Instance::default();
    let adapter = block_on(instance.request_adapter(&Default::default())).unwrap();
    // What burn compiles for an adapter needs all that the adapter has.
    let without =
        wgpu::Features::MAPPABLE_PRIMARY_BUFFERS | wgpu::Features::all_experimental_mask();
    let (device, queue) = block_on(adapter.request_device(&wgpu::DeviceDescriptor {
        required_features: adapter.features().difference(without),
        required_limits: adapter.limits(),
        ..Default::default()
    }))
    .unwrap();
    let backend = adapter.get_info().backend;
    WgpuSetup {
        instance,
        adapter,
        device,
        queue,
        backend,
    }
}

#[test]
fn a_device_that_the_program_supplied_trains_once_its_handles_are_shared() {
    let setup = own();
    let (wgpu_device, queue) = (setup.device.clone(), setup.queue.clone());
    let plain = Device::wgpu_options().setup(setup).init().unwrap();
    let device = plain.clone().autodiff();
    let is_unknown = |error: &Error| matches!(error, Error::UnknownDevice { .. });
    assert!(is_unknown(&handles(&device).unwrap_err()));

    let model = Cnn::new(&device);
    let before = values(&model);
    let grads = gradients(&model, 0);
    let refused = adam().try_step(1e-2, model, grads).unwrap_err();
    assert!(is_unknown(&refused.error), "{refused}");
    assert!(
        refused.to_string().contains("wgpu_optim_burn::share"),
        "{refused}"
    );
    assert_eq!(values(&refused.module), before);

    share(&device, &wgpu_device, &queue).unwrap();
    // With autodiff or without, it is one device.
    let known = (wgpu_device.clone(), queue.clone());
    assert_eq!(handles(&device).unwrap(), known);
    assert_eq!(handles(&plain).unwrap(), known);
    steps_as_burn_does(&device);
    // Sharing it again changes nothing.
    share(&plain, &wgpu_device, &queue).unwrap();
    assert_eq!(handles(&device).unwrap(), known);
    steps_as_burn_does(&device);
}

#[test]
fn the_handles_of_a_device_read_what_the_optimizer_keeps() {
    let device = device();
    let (_, queue) = handles(&device).unwrap();
    let mut model = Cnn::new(&device);
    let mut optim = adam();
    let grads = Gradients(gradients(&model, 0));
    let all = grads.all(&model);
    model = optim.step(1e-2, model, all);
    let id = model.output.weight.id;
    let (tensor, _) = optim.tensor(id).unwrap();
    let optimizer = optim.optimizer().unwrap();
    let param = optimizer.read_param_blocking(&queue, tensor).unwrap();
    assert_eq!(param, values(&model)["output.weight"]);
    // Adam's first mean is a tenth of the first gradient.
    let mean = optimizer
        .read_state_blocking(&queue, tensor, "exp_avg")
        .unwrap();
    let grad = grads.0.get::<2>(id).unwrap().into_data();
    let expected: Vec<f32> = grad.iter::<f32>().map(|grad| 0.1 * grad).collect();
    let apart = mean.iter().zip(&expected);
    let apart = apart.fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
    assert!(apart < 1e-7, "{apart}");
}

/// What [`GradientsParams`] there are, each with the device that it is on.
fn of_devices(grads: impl IntoIterator<Item = (GradientsParams, Device)>) -> MultiGradientsParams {
    MultiGradientsParams {
        grads: grads.into_iter().collect(),
    }
}

/// Steps with gradients of two sources, the second one on `other`, beside burn's own on one device.
fn steps_with_two_sources(other: &Device) {
    let device = device();
    let plain = device.clone().inner();
    let mut model = Cnn::new(&device);
    let start = values(&model);
    let mut theirs = model.clone();
    let (mut ours, mut burn) = (adam(), AdamConfig::new().init());
    for step in 0..4 {
        let [a, b] = [10, 20].map(|source| Gradients(gradients(&theirs, source + step)));
        // The second source lacks some, as a part of a batch may.
        let keep = |path: &str| step != 2 || path != "conv2.weight";
        let b = |device: &Device| b.of(&theirs, keep).to_device(device, &theirs);
        let grads = of_devices([(a.all(&theirs), plain.clone()), (b(other), other.clone())]);
        model = ours.step_multi(1e-2, model, grads);
        let grads = of_devices([(a.all(&theirs), plain.clone()), (b(&plain), plain.clone())]);
        theirs = burn.step_multi(1e-2, theirs, grads);
    }
    // Where the parameters are is not changed by where their gradients are.
    assert_eq!(model.devices(), [plain]);
    let (ours, theirs) = (values(&model), values(&theirs));
    let (apart, way) = (gap(&ours, &theirs), way(&start, &theirs));
    assert!(way > 1e-2 && apart < 2e-5 * way, "{apart} of {way}");
}

#[test]
fn gradients_of_two_sources_on_one_device_are_added_up() {
    steps_with_two_sources(&device().inner());
}

#[test]
fn gradients_of_two_devices_are_added_up_where_the_parameters_are() {
    steps_with_two_sources(&second_device());
}
