//! What is trained in the tests: the same numbers for whoever trains it.
#![allow(dead_code, unused_imports, reason = "no test needs all of it")]

mod models;
mod values;

pub use models::{Cnn, Params, Transformer};
pub use values::{Gradients, filled, further_apart, gap, gradients, numbers, values, way};

use burn::tensor::Device;

/// Burn's device, opened once, with autodiff.
pub fn device() -> Device {
    let device = wgpu_optim_burn::init().expect("a wgpu device");
    device.autodiff()
}
