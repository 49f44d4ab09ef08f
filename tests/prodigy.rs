//! Prodigy, whose sums and distance are those of all its groups together.

mod support;

use support::*;
use wgpu_optim::{Gpu, Layout, Optimizer, Options, Tensor, cpu, rules::Prodigy};

/// The parameters of `a` and of `b` after some steps of Prodigy, in these groups.
fn prodigy(groups: &[&[&str]], resting: Option<usize>) -> Vec<(String, Vec<f32>)> {
    let mut layout = Layout::new();
    let mut tensors: Vec<(String, Tensor)> = Vec::new();
    let mut handles = Vec::new();
    for members in groups {
        let group = layout.group(Prodigy {
            d0: 1e-2,
            ..Default::default()
        });
        handles.push(group.unwrap());
        for name in *members {
            let tensor = layout.tensor(handles[handles.len() - 1], name, &[300]);
            tensors.push((name.to_string(), tensor.unwrap()));
        }
    }
    let Gpu { device, queue, .. } = gpu();
    let mut optimizer = Optimizer::new(device, &layout, Options::default()).unwrap();
    let mut twin = cpu::Optimizer::<f64>::new(&layout).unwrap();
    for step in 0..8 {
        if let Some(resting) = resting.filter(|_| step == 3) {
            optimizer.set_frozen(handles[resting], true).unwrap();
            twin.set_frozen(handles[resting], true).unwrap();
        }
        for (name, tensor) in &tensors {
            let seed = u64::from(name.as_bytes()[0]);
            let mut values = random_params(&mut random(seed + 100 * step), 300);
            values.iter_mut().for_each(|value| *value += 0.5);
            optimizer.write_grad(queue, *tensor, &values).unwrap();
            let to = twin.grad_mut(*tensor).unwrap();
            for (to, value) in to.iter_mut().zip(values) {
                *to = value.into();
            }
        }
        submit(|encoder| optimizer.step(encoder).unwrap());
        twin.step().unwrap();
    }
    let params = tensors.iter().map(|(name, tensor)| {
        let values = optimizer.read_param_blocking(queue, *tensor).unwrap();
        for (found, right) in values.iter().zip(twin.param(*tensor).unwrap()) {
            let distance = (f64::from(*found) - right).abs();
            assert!(distance < 1e-5 * right.abs().max(1.0), "{found}, {right}");
        }
        (name.clone(), values)
    });
    params.collect()
}

/// The largest distance of parameters of one name.
fn distance(a: &[(String, Vec<f32>)], b: &[(String, Vec<f32>)]) -> f32 {
    let mut largest = 0.0f32;
    for (name, values) in a {
        let (_, others) = b.iter().find(|(other, _)| other == name).unwrap();
        for (value, other) in values.iter().zip(others) {
            largest = largest.max((value - other).abs());
        }
    }
    largest
}

#[test]
fn prodigys_sums_are_over_all_groups_that_do_not_rest() {
    let together = prodigy(&[&["a", "b"]], None);
    let apart = prodigy(&[&["a"], &["b"]], None);
    let alone = prodigy(&[&["a"]], None);
    assert!(together[0].1.iter().all(|value| value.abs() > 1e-3));
    assert!(distance(&together, &apart) < 1e-5);
    assert!(distance(&alone, &together) > 1e-3);
    // A group that rests is in no sum, wherever it stands.
    let first_rests = prodigy(&[&["b"], &["a"]], Some(0));
    let last_rests = prodigy(&[&["a"], &["b"]], Some(1));
    assert!(distance(&first_rests, &last_rests) < 1e-5);
    assert!(distance(&first_rests, &apart) > 1e-3);
}

#[test]
fn prodigy_rests_alike_on_the_cpu() {
    let mut layout = Layout::new();
    let [a, b] = ["a", "b"].map(|name| {
        let group = layout.group(Prodigy::default()).unwrap();
        (group, layout.tensor(group, name, &[4]).unwrap())
    });
    let mut twin = cpu::Optimizer::<f64>::new(&layout).unwrap();
    let mut alone = twin.clone();
    alone.set_frozen(b.0, true).unwrap();
    twin.set_frozen(b.0, true).unwrap();
    for optimizer in [&mut twin, &mut alone] {
        optimizer.grad_mut(a.1).unwrap().fill(1.0);
    }
    // A gradient of a resting group counts for nothing.
    twin.grad_mut(b.1).unwrap().fill(1e3);
    for _ in 0..3 {
        twin.step().unwrap();
        alone.step().unwrap();
    }
    assert_eq!(twin.param(a.1).unwrap(), alone.param(a.1).unwrap());
    assert_eq!(
        twin.state(a.1, "d").unwrap(),
        alone.state(a.1, "d").unwrap()
    );
}

/// Prodigy on `p²/2` from (1, −2) twice: the second group moves from the 41st step on.
fn thawed(rests: bool) -> [Vec<f64>; 3] {
    let mut layout = Layout::new();
    let groups = [0, 1].map(|_| layout.group(Prodigy::default()).unwrap());
    let tensors = [("a", groups[0]), ("b", groups[1])];
    let tensors = tensors.map(|(name, group)| layout.tensor(group, name, &[2]).unwrap());
    let Gpu { device, queue, .. } = gpu();
    let mut on_gpu = Optimizer::new(device, &layout, Options::default()).unwrap();
    let mut in_f32 = cpu::Optimizer::<f32>::new(&layout).unwrap();
    let mut in_f64 = cpu::Optimizer::<f64>::new(&layout).unwrap();
    for tensor in tensors {
        on_gpu.write_param(queue, tensor, &[1.0, -2.0]).unwrap();
        in_f32
            .param_mut(tensor)
            .unwrap()
            .copy_from_slice(&[1.0, -2.0]);
        in_f64
            .param_mut(tensor)
            .unwrap()
            .copy_from_slice(&[1.0, -2.0]);
    }
    for step in 0..80 {
        let moves = step >= 40;
        if rests {
            on_gpu.set_frozen(groups[1], !moves).unwrap();
            in_f32.set_frozen(groups[1], !moves).unwrap();
            in_f64.set_frozen(groups[1], !moves).unwrap();
        } else {
            let lr = if moves { 1.0 } else { 0.0 };
            on_gpu.set_lr(groups[1], lr).unwrap();
            in_f32.set_lr(groups[1], lr).unwrap();
            in_f64.set_lr(groups[1], lr).unwrap();
        }
        for tensor in tensors {
            let grad = on_gpu.read_param_blocking(queue, tensor).unwrap();
            on_gpu.write_grad(queue, tensor, &grad).unwrap();
            let grad = in_f32.param(tensor).unwrap().to_vec();
            in_f32.grad_mut(tensor).unwrap().copy_from_slice(&grad);
            let grad = in_f64.param(tensor).unwrap().to_vec();
            in_f64.grad_mut(tensor).unwrap().copy_from_slice(&grad);
        }
        submit(|encoder| on_gpu.step(encoder).unwrap());
        in_f32.step().unwrap();
        in_f64.step().unwrap();
    }
    // d of both groups, and where the second one is.
    let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<_>>();
    let read = |tensor, slot| on_gpu.read_state_blocking(queue, tensor, slot).unwrap();
    let [a, b] = tensors;
    let found = [
        read(a, "d"),
        read(b, "d"),
        on_gpu.read_param_blocking(queue, b).unwrap(),
    ];
    fn of_twin<T: cpu::Real>(twin: &cpu::Optimizer<T>, [a, b]: [Tensor; 2]) -> Vec<T> {
        let d = |tensor| twin.state(tensor, "d").unwrap();
        [&d(a), &d(b), twin.param(b).unwrap()].concat()
    }
    let of_f32 = of_twin(&in_f32, tensors);
    let of_f64 = of_twin(&in_f64, tensors);
    [wide(found.concat()), wide(of_f32), of_f64]
}

/// d, d, and the second group's parameters, by prodigyopt's formulas in Python's f64, written for this
/// test. At a rate of 0, moments move all the same here; prodigyopt leaves them alone, as a group that
/// rests does.
const RESTED: [f64; 4] = [
    0.518_811_500_630_377,
    0.518_811_500_630_377,
    0.129_086_778_719_316,
    0.165_331_386_225_299,
];
const AT_RATE_ZERO: [f64; 4] = [
    0.518_811_500_630_377,
    0.518_811_500_630_377,
    0.261_888_759_432_770,
    0.106_832_398_329_776,
];

#[test]
fn prodigys_distance_is_one_for_groups_that_rest_and_for_a_rate_of_zero() {
    for (rests, right) in [(true, RESTED), (false, AT_RATE_ZERO)] {
        let [on_gpu, in_f32, in_f64] = thawed(rests);
        for (found, right) in in_f64.iter().zip(right) {
            assert!((found - right).abs() < 1e-9, "{rests}: {in_f64:?}");
        }
        // In f32, p0 − p loses most of the first steps, which d grows from.
        for found in [on_gpu, in_f32] {
            assert_eq!(found[0], found[1], "{rests}");
            assert!(
                (found[0] / right[0] - 1.0).abs() < 0.1,
                "{rests}: {found:?}"
            );
        }
    }
}
