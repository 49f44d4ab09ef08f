//! Norms of gradients, and what clipping to them does.

use wgpu_optim::{Buffers, Clip, DispatchLimits, Layout, Optimizer, Options};

use super::{Place, assert_close, params_of, stats, support::*, twin};

fn norm_of(gradient: &[f32]) -> (f64, f64) {
    let mut layout = Layout::new();
    let group = layout.group(rule("sgd")).unwrap();
    layout.tensor(group, "x", &[gradient.len()]).unwrap();
    let options = Options {
        skip_non_finite: true,
        ..Default::default()
    };
    let mut optimizer = Optimizer::new(&gpu().device, &layout, options).unwrap();
    let tensor = layout.tensors().next().unwrap();
    optimizer
        .write_grad(&gpu().queue, tensor, gradient)
        .unwrap();
    submit(|encoder| optimizer.step(encoder).unwrap());
    let found = stats(&optimizer).grad_norm.unwrap();
    let truth = gradient
        .iter()
        .map(|g| f64::from(*g).powi(2))
        .sum::<f64>()
        .sqrt();
    (found, truth)
}

#[test]
fn norms_are_right_for_every_finite_gradient() {
    let mut rng = random(5);
    for count in [1, 5, 1025, 300_000] {
        for magnitude in [
            1e-30, 1e-20, 1e-13, 1e-12, 1e-5, 1.0, 1e10, 1e14, 1e15, 1e20, 1e30, 3e38,
        ] {
            let mut gradient = random_params(&mut rng, count);
            gradient.iter_mut().for_each(|g| *g *= magnitude);
            gradient[count / 2] = magnitude;
            let (found, truth) = norm_of(&gradient);
            assert!(
                (found / truth - 1.0).abs() < 1e-5,
                "{count} of {magnitude}: {found} is not {truth}"
            );
        }
    }
    assert_eq!(norm_of(&[0.0; 70]), (0.0, 0.0));
    // Magnitudes over all of f32 at once.
    let mixed: Vec<f32> = (0..4000)
        .map(|i| 10f32.powf((i % 68) as f32 - 30.0))
        .collect();
    let (found, truth) = norm_of(&mixed);
    assert!((found / truth - 1.0).abs() < 1e-5, "{found} is not {truth}");
}

#[test]
fn norms_of_groups_of_extreme_and_of_common_size_are_added() {
    for sizes in [
        [1e38, 1.0],
        [1e-30, 1.0],
        [1e-30, 1e30],
        [2e-25, 1e-25],
        [3e38, 2e38],
    ] {
        let mut layout = Layout::new();
        for index in 0..2 {
            let group = layout.group(rule("sgd")).unwrap();
            layout.tensor(group, &format!("{index}"), &[100]).unwrap();
        }
        let mut problem = Problem::random(layout, 1, 1);
        for (grad, size) in problem.grads[0].iter_mut().zip(sizes) {
            grad.fill(size as f32);
        }
        let options = Options {
            skip_non_finite: true,
            ..Default::default()
        };
        let mut optimizer = Place::Arena.make(&problem, options).unwrap();
        problem.run(&mut optimizer);
        let truth = 10.0 * f64::hypot(f64::from(sizes[0] as f32), f64::from(sizes[1] as f32));
        let found = stats(&optimizer).grad_norm.unwrap();
        assert!(
            (found / truth - 1.0).abs() < 1e-5,
            "{sizes:?}: {found} is not {truth}"
        );
    }
}

#[test]
fn gradients_of_any_size_are_clipped_to_the_norm() {
    for size in [1e-25f32, 1e-6, 1.0, 1e19, 1e30, 3e38] {
        for clip in [Clip::GlobalNorm(1e-3), Clip::TensorNorm(1e-3)] {
            let mut layout = Layout::new();
            let mut sgd = rule("sgd");
            sgd.set("lr", "1").unwrap();
            let group = layout.group(sgd).unwrap();
            layout.tensor(group, "x", &[256]).unwrap();
            let mut problem = Problem::random(layout, 1, 1);
            problem.params[0].fill(0.0);
            problem.grads[0][0].fill(size);
            let options = Options {
                clip,
                ..Default::default()
            };
            let mut optimizer = Place::Arena.make(&problem, options.clone()).unwrap();
            problem.run(&mut optimizer);
            let truth = params_of(&problem, &twin::<f64>(&problem, &options));
            let found = f64::from(problem.read_params(&optimizer)[0][0]);
            let expected = truth[0][0];
            assert!(
                (found / expected - 1.0).abs() < 1e-5,
                "{clip:?} of {size}: {found} is not {expected}"
            );
        }
    }
}

/// Tensors whose norms one thread adds up lie among others that take a workgroup.
#[test]
fn each_tensor_is_clipped_by_its_own_norm_whatever_its_size_and_its_neighbours() {
    const MOST: f64 = 1e-3;
    let magnitudes = [1.0, 1e-25, 1e30, 1e-5, 3e38, 1e-12];
    let counts = [
        1, 64, 130_000, 3, 16_384, 40_001, 32_771, 70_003, 257, 65_536,
    ];
    for place in Place::ALL {
        let mut layout = Layout::new();
        let mut sgd = rule("sgd");
        sgd.set("lr", "1").unwrap();
        let group = layout.group(sgd).unwrap();
        for (index, count) in counts.into_iter().cycle().take(130).enumerate() {
            // Most of 130 tensors are small, so that they take several workgroups together.
            let count = if index < counts.len() {
                count
            } else {
                count % 300
            };
            layout
                .tensor(group, &index.to_string(), &[count.max(1)])
                .unwrap();
        }
        let mut problem = Problem::random(layout, 1, 4);
        problem.params.iter_mut().for_each(|param| param.fill(0.0));
        for (index, grad) in problem.grads[0].iter_mut().enumerate() {
            let magnitude = magnitudes[index % magnitudes.len()];
            grad.iter_mut()
                .for_each(|g| *g = magnitude * g.clamp(-1.0, 1.0));
        }
        let options = Options {
            clip: Clip::TensorNorm(MOST),
            ..Default::default()
        };
        let mut optimizer = place.make(&problem, options).unwrap();
        problem.run(&mut optimizer);
        let found = problem.read_params(&optimizer);
        for (index, (param, grad)) in found.iter().zip(&problem.grads[0]).enumerate() {
            let squares = grad.iter().map(|g| f64::from(*g).powi(2));
            let norm = squares.sum::<f64>().sqrt();
            let factor = (MOST / (norm + 1e-6)).min(1.0);
            for (p, g) in param.iter().zip(grad) {
                let expected = -f64::from(*g) * factor;
                // Below the normal numbers, devices may flush to zero.
                let allowed = 1e-5 * expected.abs() + 1.2e-38;
                assert!(
                    (f64::from(*p) - expected).abs() <= allowed,
                    "{place:?}: tensor {index} of {}: {p} is not {expected}",
                    grad.len()
                );
            }
        }
    }
}

#[test]
fn a_tensors_factor_is_its_own_wherever_its_window_begins() {
    let mut layout = Layout::new();
    let group = layout.group(rule("sgd")).unwrap();
    // The first one's last three elements and the second tensor are moved one by one, together.
    layout.tensor(group, "weight", &[103]).unwrap();
    layout.tensor(group, "bias", &[3]).unwrap();
    let problem = Problem::random(layout, 2, 3);
    let options = Options {
        clip: Clip::TensorNorm(0.01),
        limits: Some(DispatchLimits {
            offset_alignment: 32.max(u64::from(
                gpu().device.limits().min_storage_buffer_offset_alignment,
            )),
            ..DispatchLimits::of(&gpu().device.limits())
        }),
        ..Default::default()
    };
    let bytes = problem.packed_bytes();
    let (params, grads) = (buffer(bytes), buffer(bytes));
    let buffers = Buffers {
        params: problem.packed(&params, 0),
        grads: Some(problem.packed(&grads, 0)),
        ..Default::default()
    };
    let found = problem.run(&mut problem.over(buffers, options.clone()));
    assert_close(
        &problem,
        &found,
        &params_of(&problem, &twin::<f32>(&problem, &options)),
        &params_of(&problem, &twin::<f64>(&problem, &options)),
        "unaligned",
    );
}
