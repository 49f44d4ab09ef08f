//! What each kind of layer dispatches, forwards and backwards.

mod convolution;
mod linear;
mod max_pool;
mod parameters;

use anyhow::Result;
use wgpu_optim::{Optimizer, wgpu};

use super::kernel::{Dispatch, Kernels};
use super::limits;
use super::precision::Precision;
use crate::network::{Layer, Registered};

/// What the layers are built with.
pub struct Context<'a> {
    pub device: &'a wgpu::Device,
    pub registered: &'a Registered,
    pub optimizer: &'a Optimizer,
    pub precision: Precision<'a>,
    pub kernels: Kernels<'a>,
    /// Of the largest batch.
    pub rows: usize,
    /// Of the largest batch that is trained on.
    pub train_rows: usize,
}

/// What a layer gives to the next and gets back from it, each `[rows, length of the shape]`.
pub struct Signal {
    /// The layer's outputs before and after its activation: the same buffer if it has none.
    pub before: wgpu::Buffer,
    pub after: wgpu::Buffer,
    /// The loss gradient with respect to `before`.
    pub delta: wgpu::Buffer,
    /// WGSL of `derivative(z)`.
    pub activation: &'static str,
}

/// A layer's dispatches, and what it gives to the next.
pub struct Stage {
    pub signal: Signal,
    pub forward: Vec<Dispatch>,
    pub backward: Vec<Dispatch>,
}

/// What lies below a layer: the signal of another, or the data.
#[derive(Clone, Copy)]
pub struct Below<'a> {
    pub inputs: &'a wgpu::Buffer,
    /// Where the loss gradient with respect to the inputs goes; the data want none.
    pub signal: Option<&'a Signal>,
}

/// Builds layer number `index`.
pub fn build(context: &Context<'_>, index: usize, below: Below<'_>) -> Result<Stage> {
    let placed = &context.registered.architecture.layers()[index];
    match placed.layer {
        Layer::Linear { .. } => linear::build(context, index, below),
        Layer::Convolution { kernel, .. } => convolution::build(context, index, kernel, below),
        Layer::MaxPool { size } => max_pool::build(context, placed, size, below),
    }
}

impl Context<'_> {
    /// A buffer of so many numbers for each row.
    pub fn buffer(&self, label: &str, columns: usize) -> Result<wgpu::Buffer> {
        limits::matrix(self.device, label, self.rows, columns)
    }

    /// The signal of a layer with an activation.
    fn activated(&self, columns: usize) -> Result<Signal> {
        Ok(Signal {
            before: self.buffer("before", columns)?,
            after: self.buffer("after", columns)?,
            delta: self.buffer("delta", columns)?,
            activation: self.registered.architecture.activation.wgsl(),
        })
    }
}
