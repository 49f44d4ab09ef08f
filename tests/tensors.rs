//! Rules that look at whole tensors and matrices: zeros, odd shapes, sums over several groups, and
//! systems of equations without a solution.

mod support;

use support::*;
use wgpu_optim::{
    Error, Gpu, GroupStats, Layout, Optimizer, Options, Rule, Tensor, cpu,
    rules::{Lamb, Lars, Muon, NewtonDense},
};

/// Rules whose `stages` do something.
fn rules_of_tensors() -> Vec<&'static str> {
    let names = wgpu_optim::rules::names();
    names
        .filter(|name| rule(name).stages() != wgpu_optim::Stages::default())
        .collect()
}

/// The parameters of `tensor` after a step from `param` with `grad`, on the GPU and in f64.
fn stepped(rule: impl Into<Box<dyn Rule>>, shape: &[usize], param: &[f32], grad: &[f32]) -> Pair {
    let rule = rule.into();
    let name = rule.name().to_owned();
    let mut layout = Layout::new();
    let group = layout.group(rule).unwrap();
    let tensor = layout.tensor(group, "x", shape).unwrap();
    let Gpu { device, queue, .. } = gpu();
    let mut optimizer = Optimizer::new(device, &layout, Options::default()).unwrap();
    optimizer.write_param(queue, tensor, param).unwrap();
    optimizer.write_grad(queue, tensor, grad).unwrap();
    submit(|encoder| optimizer.step(encoder).unwrap());
    let mut twin = cpu::Optimizer::<f64>::new(&layout).unwrap();
    let to = twin.param_mut(tensor).unwrap();
    to.copy_from_slice(&widened(param));
    let to = twin.grad_mut(tensor).unwrap();
    to.copy_from_slice(&widened(grad));
    twin.step().unwrap();
    Pair {
        rule: name,
        on_gpu: optimizer.read_param_blocking(queue, tensor).unwrap(),
        in_f64: twin.param(tensor).unwrap().to_vec(),
    }
}

fn widened(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
}

struct Pair {
    rule: String,
    on_gpu: Vec<f32>,
    in_f64: Vec<f64>,
}

impl Pair {
    #[track_caller]
    fn assert_is(&self, expected: &[f64]) {
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-6 * b.abs().max(1e-3);
        let on_gpu = self.on_gpu.iter().map(|value| f64::from(*value));
        for (found, expected) in on_gpu
            .chain(self.in_f64.iter().copied())
            .zip(expected.iter().chain(expected))
        {
            assert!(
                near(found, *expected),
                "{}: {found} for {expected}",
                self.rule
            );
        }
    }
}

#[test]
fn without_a_gradient_nothing_moves_and_nothing_becomes_nan() {
    for name in rules_of_tensors() {
        let shape = shape_for(&*rule(name), 0, 6);
        for param in [[0.0; 6], [1.0, -2.0, 0.0, 3.0, 0.5, 0.25]] {
            let mut rule = rule(name);
            // Decay moves parameters by itself.
            let _ = rule.set("weight_decay", "0");
            let expected = param.map(f64::from);
            stepped(rule, &shape, &param, &[0.0; 6]).assert_is(&expected);
        }
    }
}

#[test]
fn from_parameters_of_zero_a_trust_ratio_is_one() {
    let grad = [3.0, -4.0];
    let lars = Lars {
        lr: 0.5,
        ..Default::default()
    };
    stepped(lars, &[2], &[0.0; 2], &grad).assert_is(&[-1.5, 2.0]);
    let lamb = Lamb {
        lr: 0.5,
        ..Default::default()
    };
    stepped(lamb, &[2], &[0.0; 2], &grad).assert_is(&[-0.5, 0.5]);
}

#[test]
fn trust_ratios_are_those_of_each_tensor_and_can_be_read() {
    let mut layout = Layout::new();
    let lars = Lars {
        lr: 1.0,
        trust_coefficient: 0.1,
        momentum: 0.0,
        ..Default::default()
    };
    let group = layout.group(lars).unwrap();
    let tensors = ["a", "b"].map(|name| layout.tensor(group, name, &[2]).unwrap());
    let Gpu { device, queue, .. } = gpu();
    let mut optimizer = Optimizer::new(device, &layout, Options::default()).unwrap();
    for (tensor, size) in tensors.into_iter().zip([1.0, 10.0]) {
        let values = [3.0 * size, 4.0 * size];
        optimizer.write_param(queue, tensor, &values).unwrap();
        optimizer.write_grad(queue, tensor, &[0.6, 0.8]).unwrap();
    }
    submit(|encoder| optimizer.step(encoder).unwrap());
    for (tensor, expected) in tensors.into_iter().zip([0.5, 5.0]) {
        let ratio = optimizer.read_state_blocking(queue, tensor, "trust_ratio");
        assert!((ratio.unwrap()[0] - expected).abs() < 1e-6);
    }
}

/// One thread concludes about a small tensor, a workgroup about a large one. Here they lie among one
/// another, and the small ones take several workgroups together.
#[test]
fn a_rule_concludes_about_each_tensor_whatever_its_size_and_its_neighbours() {
    for name in ["lars", "lamb", "novograd", "gradient_agreement", "prodigy"] {
        let mut layout = Layout::new();
        let group = layout.group(rule(name)).unwrap();
        let large = [130_000, 16_384, 40_001, 32_771, 70_003];
        let small = (0..130).map(|index| 1 + index * 7 % 300);
        for (index, count) in large.into_iter().chain(small).chain(large).enumerate() {
            layout.tensor(group, &index.to_string(), &[count]).unwrap();
        }
        let mut problem = Problem::random(layout, 3, 8);
        // A norm differs by some thousand times from one tensor to the next.
        for grads in &mut problem.grads {
            for (index, grad) in grads.iter_mut().enumerate() {
                let magnitude = 10f32.powi(index as i32 % 4 - 2);
                grad.iter_mut().for_each(|g| *g *= magnitude);
            }
        }
        let device = &gpu().device;
        let mut optimizer = Optimizer::new(device, &problem.layout, Options::default()).unwrap();
        let found = problem.run(&mut optimizer);
        assert_within_budget(&problem, &found, name);
    }
}

#[test]
fn sums_are_the_same_in_every_run() {
    for name in rules_of_tensors() {
        let problem = Problem::of_sizes(rule(name), &[70_001, 3, 1030], 3);
        let once = problem.run(&mut problem.in_arena(Options::default()));
        let again = problem.run(&mut problem.in_arena(Options::default()));
        assert!(once == again, "{name}");
    }
}

#[test]
fn shapes_that_a_rule_is_not_for_are_refused_with_a_remedy() {
    let mut layout = Layout::new();
    let muon = layout.group(Muon::default()).unwrap();
    let newton = layout.group(NewtonDense::default()).unwrap();
    for shape in [&[][..], &[3], &[2, 3, 4]] {
        let error = layout.tensor(muon, "bias", shape).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }));
        assert!(error.to_string().contains("AdamW"), "{error}");
    }
    layout.tensor(newton, "most", &[16, 16]).unwrap();
    let error = layout.tensor(newton, "x", &[257]).unwrap_err();
    assert!(error.to_string().contains("256 unknowns"), "{error}");
    let fraction = Muon {
        ns_steps: 2.5,
        ..Default::default()
    };
    let error = layout.group(fraction).unwrap_err();
    assert!(error.to_string().contains("whole number"), "{error}");
}

/// Three systems of two unknowns: one that is well, one that needs a λ, one without a solution.
const HESSIANS: [[f32; 4]; 3] = [
    [2.0, 0.0, 0.0, 4.0],
    // Its eigenvalues are 3 and -1, so that the first λ that does is 10 · 0.1.
    [1.0, 2.0, 2.0, 1.0],
    [1.0, f32::NAN, f32::NAN, 1.0],
];

fn newton_layout() -> (Layout, Vec<Tensor>) {
    let mut layout = Layout::new();
    // Its tensors do not begin at the first group's.
    let other = layout.group(rule("sgd")).unwrap();
    layout.tensor(other, "other", &[5]).unwrap();
    let group = layout.group(NewtonDense::default()).unwrap();
    let tensor = |name| layout.tensor(group, name, &[2]).unwrap();
    let tensors = ["well", "indefinite", "nan"].map(tensor).to_vec();
    (layout, tensors)
}

fn assert_solved(params: &[Vec<f64>], stats: &GroupStats, steps: u64) {
    // g = (1, 1) at every step.
    let steps = steps as f64;
    let expected = [[-0.5 * steps, -0.25 * steps], [0.0; 2], [0.0; 2]];
    for index in [0, 2] {
        for (found, right) in params[index].iter().zip(expected[index]) {
            assert!((found - right).abs() < 1e-6, "{index}: {found} for {right}");
        }
    }
    // (H + λI)d = g is d = 1/(3 + λ) for both unknowns.
    let lambda = stats.damping;
    assert!((0.99..10.1).contains(&lambda), "{lambda}");
    for found in &params[1] {
        let right = -steps / (3.0 + lambda);
        assert!((found - right).abs() < 1e-5 * steps, "{found} for {right}");
    }
    assert_eq!(stats.unsolved as f64, steps);
    // From 1e-8 up to λ, at every step.
    let failures = (lambda / 1e-8).log10().round() + 1.0;
    assert_eq!(stats.failures as f64, steps * failures);
}

#[test]
fn what_became_of_systems_of_equations_is_in_the_statistics() {
    let (layout, tensors) = newton_layout();
    let Gpu { device, queue, .. } = gpu();
    let mut optimizer = Optimizer::new(device, &layout, Options::default()).unwrap();
    let mut twin = cpu::Optimizer::<f64>::new(&layout).unwrap();
    for (tensor, hessian) in tensors.iter().zip(HESSIANS) {
        optimizer
            .write_state(queue, *tensor, "hessian", &hessian)
            .unwrap();
        optimizer.write_grad(queue, *tensor, &[1.0; 2]).unwrap();
        let to = twin.state_mut(*tensor, "hessian").unwrap();
        to.copy_from_slice(&hessian.map(f64::from));
        twin.grad_mut(*tensor).unwrap().fill(1.0);
    }
    for step in 1..=3 {
        let mut encoder = device.create_command_encoder(&Default::default());
        optimizer.step(&mut encoder).unwrap();
        let snapshot = optimizer.snapshot(&mut encoder).unwrap();
        queue.submit([encoder.finish()]);
        device
            .poll(wgpu_optim::wgpu::PollType::wait_indefinitely())
            .unwrap();
        let stats = arrived(&snapshot);
        assert_eq!(stats.groups[0].failures, 0);
        let params = tensors.iter().map(|tensor| {
            let values = optimizer.read_param_blocking(queue, *tensor).unwrap();
            values.iter().map(|value| f64::from(*value)).collect()
        });
        assert_solved(&params.collect::<Vec<_>>(), &stats.groups[1], step);
        twin.step().unwrap();
        let params = tensors
            .iter()
            .map(|tensor| twin.param(*tensor).unwrap().to_vec());
        assert_solved(&params.collect::<Vec<_>>(), &twin.stats().groups[1], step);
    }
}

#[test]
fn a_damping_that_takes_many_attempts_is_found() {
    const N: usize = 256;
    let Gpu { device, queue, .. } = gpu();
    for (coupling, damping) in [(5.0f32, 10.0), (1e3, 1e3), (1e6, 1e6), (1e20, 1e20)] {
        let mut layout = Layout::new();
        let group = layout.group(NewtonDense::default()).unwrap();
        let x = layout.tensor(group, "x", &[N]).unwrap();
        let mut hessian = vec![0.0; N * N];
        for i in 0..N {
            hessian[i * N + i] = 1.0;
        }
        // The last pivot is what fails.
        hessian[N * N - 2] = coupling;
        hessian[N * (N - 1) - 1] = coupling;
        let mut optimizer = Optimizer::new(device, &layout, Options::default()).unwrap();
        let mut twin = cpu::Optimizer::<f32>::new(&layout).unwrap();
        optimizer.write_grad(queue, x, &[1.0; N]).unwrap();
        optimizer
            .write_state(queue, x, "hessian", &hessian)
            .unwrap();
        twin.grad_mut(x).unwrap().fill(1.0);
        twin.state_mut(x, "hessian")
            .unwrap()
            .copy_from_slice(&hessian);
        // Twice, since one step must leave nothing to the next.
        for _ in 0..2 {
            let mut encoder = device.create_command_encoder(&Default::default());
            optimizer.step(&mut encoder).unwrap();
            let snapshot = optimizer.snapshot(&mut encoder).unwrap();
            queue.submit([encoder.finish()]);
            twin.step().unwrap();
            let found = optimizer.read_param_blocking(queue, x).unwrap();
            for (found, right) in found.iter().zip(twin.param(x).unwrap()) {
                assert!(
                    (found - right).abs() <= 1e-5 * right.abs(),
                    "{found}, {right}"
                );
            }
            let stats = arrived(&snapshot).groups[0];
            let of_twin = twin.stats().groups[0];
            assert_eq!((stats.failures, stats.unsolved), (of_twin.failures, 0));
            // 10 times the λ before, in f32.
            let ratio = stats.damping / damping;
            assert!(
                (0.99..10.01).contains(&ratio),
                "{coupling}: {}",
                stats.damping
            );
        }
    }
}

#[test]
fn a_gradient_whose_square_overflows_is_gone_some_steps_later() {
    // (Lamb squares each element, as Adam does.)
    for name in ["lars", "novograd", "adafactor", "muon"] {
        let mut layout = Layout::new();
        let group = layout.group(rule(name)).unwrap();
        let shape = shape_for(&*rule(name), 1, 12);
        let x = layout.tensor(group, "x", &shape).unwrap();
        let Gpu { device, queue, .. } = gpu();
        let mut optimizer = Optimizer::new(device, &layout, Options::default()).unwrap();
        let mut twin = cpu::Optimizer::<f32>::new(&layout).unwrap();
        optimizer.write_param(queue, x, &[1.0; 12]).unwrap();
        twin.param_mut(x).unwrap().fill(1.0);
        for size in [1.0, 2e19, 1.0, 1.0] {
            optimizer.write_grad(queue, x, &[size; 12]).unwrap();
            twin.grad_mut(x).unwrap().fill(size);
            submit(|encoder| optimizer.step(encoder).unwrap());
            twin.step().unwrap();
            let found = optimizer.read_param_blocking(queue, x).unwrap();
            let twin = twin.param(x).unwrap();
            for value in found.iter().chain(twin) {
                assert!(value.is_finite(), "{name} at {size}: {found:?}, {twin:?}");
            }
        }
    }
}

#[test]
fn a_rate_by_agreement_survives_a_schedule_that_touches_zero() {
    let mut layout = Layout::new();
    let group = layout.group(rule("gradient_agreement")).unwrap();
    let x = layout.tensor(group, "x", &[1]).unwrap();
    let mut twin = cpu::Optimizer::<f64>::new(&layout).unwrap();
    twin.grad_mut(x).unwrap()[0] = 1.0;
    for lr in [1e-3, 1e-12, 0.0, 1e-3] {
        twin.set_lr(group, lr).unwrap();
        twin.step().unwrap();
        let scale = twin.state(x, "lr_scale").unwrap()[0];
        assert!((0.5..2.0).contains(&scale), "{scale}");
    }
}

#[test]
fn newtons_method_is_at_the_bottom_of_a_bowl_in_one_step() {
    // ½ xᵀHx, whose gradient at (3, -1) is H(3, -1).
    let (mut layout, hessian) = (Layout::new(), [3.0, 1.0, 1.0, 2.0f32]);
    let group = layout.group(NewtonDense::default()).unwrap();
    let x = layout.tensor(group, "x", &[2]).unwrap();
    let Gpu { device, queue, .. } = gpu();
    let mut optimizer = Optimizer::new(device, &layout, Options::default()).unwrap();
    optimizer.write_param(queue, x, &[3.0, -1.0]).unwrap();
    optimizer.write_grad(queue, x, &[8.0, 1.0]).unwrap();
    optimizer
        .write_state(queue, x, "hessian", &hessian)
        .unwrap();
    submit(|encoder| optimizer.step(encoder).unwrap());
    for value in optimizer.read_param_blocking(queue, x).unwrap() {
        assert!(value.abs() < 1e-6, "{value}");
    }
}

#[test]
fn muon_makes_every_matrix_of_a_group_orthogonal() {
    let mut layout = Layout::new();
    let muon = Muon {
        lr: 1.0,
        weight_decay: 0.0,
        ..Default::default()
    };
    let group = layout.group(muon).unwrap();
    let shapes = [[40, 7], [7, 40], [16, 16], [1, 9], [9, 1], [1, 1], [70, 65]];
    for (index, shape) in shapes.iter().enumerate() {
        layout.tensor(group, &index.to_string(), shape).unwrap();
    }
    let mut problem = Problem::random(layout, 1, 7);
    for values in problem.params.iter_mut().flatten() {
        *values = 0.0;
    }
    let found = problem.run(&mut problem.in_arena(Options::default()));
    for (values, [rows, columns]) in found.iter().zip(shapes) {
        let at = |i: usize, j: usize| f64::from(values[i * columns + j]);
        let scale = (rows as f64 / columns as f64).max(1.0);
        // The mean of the squares of the singular values.
        let squares: f64 = (0..rows)
            .flat_map(|i| (0..columns).map(move |j| (i, j)))
            .map(|(i, j)| at(i, j).powi(2))
            .sum();
        let mean = squares / scale / rows.min(columns) as f64;
        assert!((0.4..1.4).contains(&mean), "{rows} × {columns}: {mean}");
    }
}

#[test]
#[ignore = "takes 4 GB and a minute or two"]
fn a_tensor_may_have_a_hundred_million_elements() {
    let matrix: &[usize] = &[10_000, 10_000];
    for name in ["lamb", "novograd", "prodigy", "adafactor"] {
        let mut layout = Layout::new();
        let group = layout.group(rule(name)).unwrap();
        let small = layout.tensor(group, "small", &[3]).unwrap();
        let large = layout.tensor(group, "large", matrix).unwrap();
        let Gpu { device, queue, .. } = gpu();
        let mut optimizer = Optimizer::new(device, &layout, Options::default()).unwrap();
        let mut twin = cpu::Optimizer::<f32>::new(&layout).unwrap();
        for tensor in [small, large] {
            let params = twin.param_mut(tensor).unwrap();
            let wave = |i: usize, n: f32| ((i % 1013) as f32 * n).sin();
            let values = params.iter_mut().enumerate();
            values.for_each(|(i, value)| *value = wave(i, 0.7));
            let grads = twin.grad_mut(tensor).unwrap();
            let values = grads.iter_mut().enumerate();
            values.for_each(|(i, value)| *value = wave(i, 0.3) + 0.1);
            let params = twin.param(tensor).unwrap();
            optimizer.write_param(queue, tensor, params).unwrap();
            let grads = twin.grad(tensor).unwrap();
            optimizer.write_grad(queue, tensor, grads).unwrap();
        }
        for _ in 0..2 {
            submit(|encoder| optimizer.step(encoder).unwrap());
            twin.step().unwrap();
        }
        for tensor in [small, large] {
            let found = optimizer.read_param_blocking(queue, tensor).unwrap();
            let right = twin.param(tensor).unwrap();
            for (index, (found, right)) in found.iter().zip(right).enumerate() {
                let distance = (found - right).abs();
                assert!(distance < 1e-5, "{name} at {index}: {found}, {right}");
            }
        }
    }
}
