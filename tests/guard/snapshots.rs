//! What a snapshot says, and when it says that it will not come.

use wgpu_optim::{Clip, Error, Gpu, Options, wgpu};

use super::{Place, arrived, layout, stats, support::*, write_grads};

#[test]
fn a_snapshot_arrives_while_training_goes_on() {
    let problem = Problem::random(layout(), 1, 2);
    let options = Options {
        clip: Clip::GlobalNorm(1.0),
        ..Default::default()
    };
    let mut optimizer = Place::Arena.make(&problem, options).unwrap();
    write_grads(&problem, &optimizer, &problem.grads[0]);
    let Gpu { device, queue, .. } = gpu();
    let mut encoder = device.create_command_encoder(&Default::default());
    optimizer.step(&mut encoder).unwrap();
    let snapshot = optimizer.snapshot(&mut encoder).unwrap();
    // The same encoder goes on: the snapshot is of its moment.
    optimizer.step(&mut encoder).unwrap();
    assert_eq!(snapshot.get(), Ok(None));
    queue.submit([encoder.finish()]);
    for _ in 0..3 {
        submit(|encoder| optimizer.step(encoder).unwrap());
    }
    assert_eq!(arrived(&snapshot).performed, 1);
    assert_eq!(stats(&optimizer).performed, 5);
}

#[test]
fn a_snapshot_of_a_dropped_encoder_says_that_it_will_not_come() {
    let problem = Problem::random(layout(), 1, 1);
    let optimizer = Place::Arena.make(&problem, Options::default()).unwrap();
    let mut encoder = gpu().device.create_command_encoder(&Default::default());
    let snapshot = optimizer.snapshot(&mut encoder).unwrap();
    assert_eq!(snapshot.get(), Ok(None));
    drop(encoder);
    let error = snapshot.get().unwrap_err().to_string();
    assert!(error.contains("dropped"), "{error}");
}

#[test]
fn a_snapshot_of_a_refused_submission_says_so() {
    let problem = Problem::random(layout(), 1, 1);
    let optimizer = Place::Arena.make(&problem, Options::default()).unwrap();
    let Gpu { device, queue, .. } = gpu();
    let mut encoder = device.create_command_encoder(&Default::default());
    let snapshot = optimizer.snapshot(&mut encoder).unwrap();
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    // The caller's own mistake: a copy from a buffer that was destroyed.
    let buffer = buffer(64);
    encoder.copy_buffer_to_buffer(
        &buffer,
        0,
        &optimizer.param(problem.tensors()[0]).unwrap().buffer,
        0,
        4,
    );
    buffer.destroy();
    queue.submit([encoder.finish()]);
    assert!(pollster::block_on(scope.pop()).is_some());
    device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    let error = snapshot.get().unwrap_err();
    assert!(matches!(error, Error::Wgpu { .. }), "{error}");
}
