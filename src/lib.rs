//! Fused optimizer steps for training on any GPU that [wgpu] reaches: Vulkan, Metal, DX12, WebGPU.
//!
//! You have parameters and gradients in GPU buffers and shaders that fill them. This crate has the
//! update step: SGD, Adam, AdamW, Lion and the rest, each a WGSL compute shader that reads
//! parameters, gradients and state once and writes them once, one dispatch for a whole parameter
//! group however many tensors it has. Those that look at whole tensors first (LAMB, Adafactor,
//! Prodigy, Muon) take a few more, as many for ten thousand tensors as for one.
//!
//! - [`Layout`] names the tensors and puts them into groups, each with a [`Rule`] of [`rules`].
//! - [`Optimizer`] keeps the state on your device and records steps into your encoder, over its own
//!   arenas ([`Optimizer::new`]) or your buffers ([`Optimizer::over`]).
//! - [`cpu::Optimizer`] is the twin: the same layout and rules on the CPU, in f64 to check a GPU
//!   against, in f32 to train without one.
//! - [`presets`] are the rules as PyTorch, Keras and optax have them.
//! - [`Gpu`] opens a device for those who have none; [`schedule`] has learning rates over time.
//!
//! ```
//! use wgpu_optim::{Gpu, GpuOptions, Layout, Optimizer, Options, rules::AdamW};
//!
//! let Gpu { device, queue, .. } = Gpu::open_blocking(&GpuOptions::default())?; // or your own
//!
//! let mut layout = Layout::new();
//! let body = layout.group(AdamW { weight_decay: 0.1, ..Default::default() })?;
//! let norms = layout.group(AdamW { weight_decay: 0.0, ..Default::default() })?;
//! let weight = layout.tensor(body, "fc1.weight", &[128, 784])?;
//! let scale = layout.tensor(norms, "norm1.scale", &[128])?;
//! let mut optimizer = Optimizer::new(&device, &layout, Options::default())?;
//!
//! let mut encoder = device.create_command_encoder(&Default::default());
//! // Your passes read optimizer.param(weight)? and write optimizer.grad(weight)?, then:
//! optimizer.step(&mut encoder)?;
//! queue.submit([encoder.finish()]);
//! # Ok::<(), wgpu_optim::Error>(())
//! ```
//!
//! `wgpu` is re-exported and its version is part of this crate's public interface. Its backends
//! are the application's choice: turn on `vulkan`, `metal`, `dx12` or `webgpu` in your own
//! dependency on wgpu.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod buffer;
pub mod cpu;
mod error;
mod format;
mod gpu;
pub mod hyperparameter;
mod layout;
mod matrix;
mod options;
mod plan;
pub mod presets;
mod progress;
mod rule;
pub mod rules;
pub mod schedule;
mod shader;
mod shape;
mod stats;

pub use wgpu;

#[cfg(not(target_family = "wasm"))]
pub use buffer::read_blocking;
pub use buffer::{BufferRange, read, write};
pub use error::{Error, ShaderLocation};
pub use gpu::{Buffers, Gpu, GpuOptions, Optimizer, Snapshot, required_limits};
pub use layout::{GROUP_ALIGNMENT, Group, Layout, TENSOR_ALIGNMENT, Tensor};
pub use options::{Average, Clip, LossScale, Options};
pub use plan::DispatchLimits;
#[doc(hidden)]
pub use rule::coefficients;
pub use rule::{
    Declaration, Extent, Lines, MOST_UNKNOWNS, MatrixStage, MatrixWork, Over, Rule, Slot, Stages,
    Sum,
};
pub use shader::update_shader;
pub use stats::{GroupStats, Stats};
