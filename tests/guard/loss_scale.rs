//! Scales of the loss: bound, saved, and used up.

use wgpu_optim::{Error, Gpu, LossScale, Options, cpu, wgpu};

use super::{Place, assert_same_stats, layout, quick_scale, stats, support::*};

#[test]
fn the_scale_can_be_bound_by_the_callers_shaders() {
    let problem = Problem::random(layout(), 1, 2);
    let options = Options {
        loss_scale: Some(LossScale::default()),
        ..Default::default()
    };
    let optimizer = Place::Arena.make(&problem, options).unwrap();
    let range = optimizer.loss_scale();
    let Gpu { device, queue, .. } = gpu();
    assert_eq!(
        wgpu_optim::read_blocking(device, queue, &range).unwrap(),
        [65536.0]
    );
    let limits = device.limits();
    assert_eq!(
        range.offset % u64::from(limits.min_storage_buffer_offset_alignment),
        0
    );
    assert!(range.buffer.usage().contains(wgpu::BufferUsages::STORAGE));
}

#[test]
fn training_goes_on_from_a_loss_scale_that_was_saved() {
    let problem = Problem::random(layout(), 2, 2);
    let options = Options {
        loss_scale: Some(quick_scale()),
        ..Default::default()
    };
    let mut optimizer = Place::Arena.make(&problem, options.clone()).unwrap();
    let queue = &gpu().queue;
    // One good step more lets it grow, and the next is the first of the new scale.
    optimizer.set_loss_scale(queue, 32.0, 1).unwrap();
    problem.run(&mut optimizer);
    let mut twin = cpu::Optimizer::<f64>::with_options(&problem.layout, options).unwrap();
    twin.set_loss_scale(32.0, 1).unwrap();
    problem.replay(&mut twin, |_, _| Ok(())).unwrap();
    assert_same_stats(&stats(&optimizer), &twin.stats(), "from 32");
    assert_eq!((twin.loss_scale(), twin.stats().good_steps), (64.0, 1));
    for (scale, good_steps) in [
        (0.0, 0),
        (f64::NAN, 0),
        (f64::INFINITY, 0),
        (1e-40, 0),
        (2f64.powi(127), 0),
        (2f64.powi(126) * 1.0001, 0),
        (2.0, 2),
    ] {
        let of_twin = twin.set_loss_scale(scale, good_steps).unwrap_err();
        let on_gpu = optimizer
            .set_loss_scale(queue, scale, good_steps)
            .unwrap_err();
        assert_eq!(of_twin.to_string(), on_gpu.to_string());
        assert!(matches!(on_gpu, Error::Hyperparameter { .. }), "{on_gpu}");
    }
    assert_eq!(stats(&optimizer).loss_scale, 64.0);
    let mut without = cpu::Optimizer::<f64>::new(&problem.layout).unwrap();
    assert!(without.set_loss_scale(2.0, 0).is_err());
    let without = Place::Arena.make(&problem, Options::default()).unwrap();
    assert!(without.set_loss_scale(queue, 2.0, 0).is_err());
}

#[test]
fn a_scale_that_cannot_be_used_skips_a_step_and_is_the_first_one_again() {
    let problem = Problem::random(layout(), 1, 2);
    let options = Options {
        loss_scale: Some(quick_scale()),
        ..Default::default()
    };
    let Gpu { device, queue, .. } = gpu();
    let limit = 2f32.powi(126);
    for (scale, accumulate) in [0.0, -0.0, -4.0, 1e-40, f32::NAN, f32::INFINITY]
        .map(|scale| (scale, 1))
        .into_iter()
        .chain([(limit.next_up(), 1), (f32::MAX, 1)])
        .chain([(limit / 2.0, 4), ((limit / 3.0).next_up(), 3)])
    {
        let options = Options {
            accumulate,
            ..options.clone()
        };
        let mut optimizer = Place::Arena.make(&problem, options).unwrap();
        problem.write_params(&mut optimizer);
        problem.write_step(&mut optimizer, 0);
        wgpu_optim::write(device, queue, &optimizer.loss_scale(), &[scale]).unwrap();
        let written = stats(&optimizer).loss_scale;
        assert!(written == f64::from(scale) || scale.is_nan(), "{written}");
        submit(|encoder| optimizer.step(encoder).unwrap());
        assert_eq!(problem.read_params(&optimizer), problem.params, "{scale}");
        let found = stats(&optimizer);
        assert_eq!((found.performed, found.skipped), (0, 1), "{scale}");
        assert_eq!((found.loss_scale, found.good_steps), (1024.0, 0), "{scale}");
        submit(|encoder| optimizer.step(encoder).unwrap());
        assert_eq!(stats(&optimizer).performed, 1, "{scale}");
        assert!(problem.read_params(&optimizer) != problem.params, "{scale}");
    }
}
