//! Fused optimizer steps for training on any GPU that [wgpu] reaches: Vulkan, Metal, DX12, WebGPU.
//!
//! You have parameters and gradients in GPU buffers, and shaders of your own that fill them. This
//! crate has the update step: SGD, Adam, AdamW, Lion, LAMB, Muon and more. Each update is one WGSL
//! compute shader. It reads parameters, gradients and state once and writes them once, in one
//! dispatch for a whole parameter group. Rules that look at whole tensors first (LAMB, Adafactor,
//! Prodigy, Muon) take a few more dispatches, and no more for ten thousand tensors than for one.
//!
//! - [`Layout`] names the tensors and puts them into groups, each with a [`Rule`] of [`rules`].
//! - [`Optimizer`] keeps the state on your device and records steps into your encoder. It works over
//!   its own arenas ([`Optimizer::new`]) or over your buffers ([`Optimizer::over`]).
//! - [`cpu::Optimizer`] is the CPU twin, with the same layout and rules. In f64 you can check a GPU
//!   against it; in f32 you can train without a GPU.
//! - [`Formats`] stores a group in fewer bits: state in bf16 or int8, gradients and parameters in 16 bits.
//! - [`presets`] are the rules with the conventions of PyTorch, Keras and optax.
//! - [`Gpu`] opens a device if you have none. [`schedule`] has learning rates over time.
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
//! `wgpu` is re-exported, and its version is part of this crate's public interface. The backends are
//! your application's choice: enable `vulkan`, `metal`, `dx12` or `webgpu` in your own dependency on
//! wgpu.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod buffer;
mod checkpoint;
pub mod cpu;
mod error;
mod format;
mod gpu;
pub mod hyperparameter;
mod layout;
mod matrix;
mod memory;
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
mod vectors;

pub use wgpu;

#[cfg(not(target_family = "wasm"))]
pub use buffer::read_blocking;
pub use buffer::{BufferRange, DeviceLoss, read, write};
pub use checkpoint::{Checkpoint, Loaded, Save};
pub use error::{Error, ShaderLocation};
pub use format::{Format, Formats};
pub use gpu::{Buffers, Gpu, GpuOptions, Optimizer, Saving, Snapshot, required_limits};
pub use layout::{GROUP_ALIGNMENT, Group, Layout, TENSOR_ALIGNMENT, Tensor};
pub use options::{Average, Clip, LossScale, Options};
pub use plan::DispatchLimits;
#[doc(hidden)]
pub use rule::coefficients;
pub use rule::{
    Declaration, Extent, Lines, MOST_UNKNOWNS, MatrixStage, MatrixWork, Over, Precision, Rule,
    Slot, Stages, Sum,
};
pub use shader::{update_shader, update_shader_in};
pub use stats::{GroupStats, Stats};
