//! On a device with too little of something, every rule works or says which limit is too low.

mod support;

use support::*;
use wgpu_optim::{
    Average, Clip, Error, Layout, LossScale, Optimizer, Options, cpu, required_limits, rules, wgpu,
};

type Change = fn(&mut wgpu::Limits, u32);

/// Each limit with values around those that shaders need.
const LOWERED: &[(&str, Change, &[u32])] = &[
    (
        "max_storage_buffers_per_shader_stage",
        |limits, value| limits.max_storage_buffers_per_shader_stage = value,
        &[0, 3, 4, 5, 7],
    ),
    (
        "max_uniform_buffers_per_shader_stage",
        |limits, value| limits.max_uniform_buffers_per_shader_stage = value,
        &[0, 1, 2],
    ),
    (
        "max_buffers_and_acceleration_structures_per_shader_stage",
        |limits, value| {
            limits.max_buffers_and_acceleration_structures_per_shader_stage = value;
        },
        &[6],
    ),
    (
        "max_bindings_per_bind_group",
        |limits, value| limits.max_bindings_per_bind_group = value,
        &[1, 8, 13],
    ),
    (
        "max_bind_groups",
        |limits, value| limits.max_bind_groups = value,
        &[0],
    ),
    (
        "max_uniform_buffer_binding_size",
        |limits, value| limits.max_uniform_buffer_binding_size = value.into(),
        &[16, 48],
    ),
    (
        "max_storage_buffer_binding_size",
        |limits, value| limits.max_storage_buffer_binding_size = value.into(),
        &[1024, 16_384],
    ),
    (
        "max_buffer_size",
        |limits, value| limits.max_buffer_size = value.into(),
        &[16, 1024, 4096],
    ),
    (
        "max_compute_workgroup_storage_size",
        |limits, value| limits.max_compute_workgroup_storage_size = value,
        &[0, 1024, 4096],
    ),
    (
        "max_compute_invocations_per_workgroup",
        |limits, value| limits.max_compute_invocations_per_workgroup = value,
        &[0, 64, 128],
    ),
    (
        "max_compute_workgroup_size_x",
        |limits, value| limits.max_compute_workgroup_size_x = value,
        &[32, 128],
    ),
    (
        "max_compute_workgroup_size_y",
        |limits, value| limits.max_compute_workgroup_size_y = value,
        &[0],
    ),
    (
        "max_compute_workgroup_size_z",
        |limits, value| limits.max_compute_workgroup_size_z = value,
        &[0],
    ),
    (
        "max_compute_workgroups_per_dimension",
        |limits, value| limits.max_compute_workgroups_per_dimension = value,
        &[0, 1],
    ),
];

/// Options that each bring shaders or bindings of their own.
fn variants() -> Vec<Options> {
    let average = Some(Average {
        decay: 0.9,
        debias: true,
    });
    vec![
        Options::default(),
        Options {
            clip: Clip::GlobalNorm(1.0),
            ..Default::default()
        },
        Options {
            clip: Clip::TensorNorm(1.0),
            average,
            ..Default::default()
        },
        Options {
            loss_scale: Some(LossScale {
                init_scale: 1.0,
                ..Default::default()
            }),
            zero_grad: true,
            ..Default::default()
        },
        Options {
            average,
            ..Default::default()
        },
    ]
}

/// `None` if the adapter makes no device with these limits.
fn device_with(limits: wgpu::Limits) -> Option<(wgpu::Device, wgpu::Queue)> {
    let descriptor = wgpu::DeviceDescriptor {
        required_limits: limits,
        ..Default::default()
    };
    pollster::block_on(gpu().adapter.request_device(&descriptor)).ok()
}

/// Whether there is an optimizer. It must work then, and the error must be a limit otherwise.
fn works_or_names_its_limit(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    rule: &str,
    mut options: Options,
    label: &str,
) -> Result<(), &'static str> {
    let mut layout = Layout::new();
    let group = layout.group(rules::by_name(rule).unwrap()).unwrap();
    let shape = shape_for(layout.rule(group).unwrap(), 0, 40);
    let x = layout.tensor(group, "x", &shape).unwrap();
    if layout.rule(group).unwrap().evaluates_elsewhere() {
        // It averages by itself.
        options.average = None;
    }
    let mut optimizer = match Optimizer::new(device, &layout, options) {
        Ok(optimizer) => optimizer,
        Err(Error::Limit {
            needed,
            limit,
            allowed,
            ..
        }) => {
            assert!(needed > allowed, "{label}: {limit} of {allowed}");
            return Err(limit);
        }
        Err(error) => panic!("{label}: {error}"),
    };
    let count: usize = shape.iter().product();
    optimizer.write_param(queue, x, &vec![1.0; count]).unwrap();
    optimizer.write_grad(queue, x, &vec![0.5; count]).unwrap();
    let mut encoder = device.create_command_encoder(&Default::default());
    optimizer.step(&mut encoder).unwrap();
    queue.submit([encoder.finish()]);
    let found = optimizer.read_param_blocking(queue, x).unwrap();
    assert!(found.iter().all(|x| x.is_finite()), "{label}: {found:?}");
    // Some rules have a first step that moves nothing.
    if moves(&layout) {
        assert!(found.iter().any(|x| *x != 1.0), "{label}: {found:?}");
    }
    Ok(())
}

/// Whether the CPU twin moves in the same step without options.
fn moves(layout: &Layout) -> bool {
    let mut twin = cpu::Optimizer::<f32>::new(layout).unwrap();
    let x = layout.tensors().next().unwrap();
    twin.param_mut(x).unwrap().fill(1.0);
    twin.grad_mut(x).unwrap().fill(0.5);
    twin.step().unwrap();
    twin.param(x).unwrap().iter().any(|x| *x != 1.0)
}

#[test]
fn each_limit_that_is_too_low_is_named() {
    let full = required_limits(&gpu().adapter);
    // GL compiles so slowly that each device gets a quarter of the rules there.
    let stride = match gpu().info.backend {
        wgpu::Backend::Gl => 4,
        _ => 1,
    };
    let (mut number, mut made) = (0, 0);
    for (limit, change, values) in LOWERED {
        let mut named = 0;
        for &value in *values {
            let mut limits = full.clone();
            change(&mut limits, value);
            let Some((device, queue)) = device_with(limits) else {
                println!("not run: no device with {limit} of {value}");
                continue;
            };
            made += 1;
            for rule in rules::names().skip(made % stride).step_by(stride) {
                // Each rule meets each limit, and each option comes up with both.
                number += 1;
                let options = variants().swap_remove(number % 5);
                let label = format!("{rule}, {limit} of {value}, {options:?}");
                let result = works_or_names_its_limit(&device, &queue, rule, options, &label);
                if let Err(found) = result {
                    assert_eq!(found, *limit, "{label}");
                    named += 1;
                }
            }
        }
        assert!(named > 0, "{limit} was never too low");
    }
    assert!(made > 20, "only {made} devices");
}

#[test]
fn limits_of_old_devices_are_named_or_will_do() {
    for (name, limits) in [
        ("downlevel_defaults", wgpu::Limits::downlevel_defaults()),
        (
            "downlevel_webgl2_defaults",
            wgpu::Limits::downlevel_webgl2_defaults(),
        ),
    ] {
        let (device, queue) = device_with(limits).unwrap();
        let mut made = 0;
        for rule in rules::names() {
            for options in variants() {
                let label = format!("{rule}, {name}, {options:?}");
                let result = works_or_names_its_limit(&device, &queue, rule, options, &label);
                made += usize::from(result.is_ok());
            }
        }
        // Four storage bindings are enough for a rule with two slots and nothing beside.
        assert_eq!(made > 0, name == "downlevel_defaults", "{name}: {made}");
    }
}

#[test]
fn four_storage_bindings_say_what_to_switch_off() {
    let mut limits = required_limits(&gpu().adapter);
    limits.max_storage_buffers_per_shader_stage = 4;
    let (device, _) = device_with(limits).unwrap();
    let mut layout = Layout::new();
    let group = layout.group(rules::Adam::default()).unwrap();
    layout.tensor(group, "x", &[3]).unwrap();
    Optimizer::new(&device, &layout, Options::default()).unwrap();
    let clipped = Options {
        clip: Clip::GlobalNorm(1.0),
        ..Default::default()
    };
    let error = Optimizer::new(&device, &layout, clipped).unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("max_storage_buffers_per_shader_stage of 4"),
        "{message}"
    );
    for option in ["Options::clip", "loss_scale", "skip_non_finite"] {
        assert!(message.contains(option), "{message}");
    }
}

#[test]
fn no_workgroups_at_all_are_one_too_few() {
    let mut limits = required_limits(&gpu().adapter);
    limits.max_compute_workgroups_per_dimension = 0;
    let (device, _) = device_with(limits).unwrap();
    let mut layout = Layout::new();
    let group = layout.group(rules::Adam::default()).unwrap();
    layout.tensor(group, "x", &[3]).unwrap();
    let error = Optimizer::new(&device, &layout, Options::default()).unwrap_err();
    let message = error.to_string();
    assert!(
        message.starts_with(
            "one dispatch needs 1, over the device's max_compute_workgroups_per_dimension of 0"
        ),
        "{message}"
    );
}
