//! A network of layers, one behind the other: its architecture and its starting weights, and the same
//! network on two devices.

pub mod architecture;
pub mod cpu;
pub mod gpu;
pub mod registered;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::ops::Add;
#[cfg(not(target_family = "wasm"))]
use std::path::Path;
use std::pin::Pin;

use anyhow::{Context, Result};
use clap::ValueEnum;
use flags::device::Device;
#[cfg(not(target_family = "wasm"))]
use flags::patience::patiently;
use serde::{Deserialize, Serialize};
use wgpu_optim::{Checkpoint, Stats};
#[cfg(not(target_family = "wasm"))]
use wgpu_optim::{Error, Save};

pub use architecture::{Architecture, Layer, Shape};
pub use registered::Registered;

use crate::data::Dataset;
use cpu::CpuNetwork;
use gpu::GpuNetwork;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Activation {
    Relu,
    Tanh,
    Sigmoid,
    Gelu,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Loss {
    /// Softmax cross-entropy, mean over the batch.
    CrossEntropy,
    /// Sigmoid binary cross-entropy of each output, mean over batch and outputs.
    BinaryCrossEntropy,
    /// Mean squared error over batch and outputs.
    Mse,
}

/// Mean loss over some samples, and the part of them whose largest output is the target's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    pub loss: f64,
    pub accuracy: f64,
}

/// Of two parts of the same samples, each divided by the number of all.
impl Add for Score {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            loss: self.loss + other.loss,
            accuracy: self.accuracy + other.accuracy,
        }
    }
}

/// What there is once the device has answered. A browser's page goes on meanwhile; elsewhere it is there
/// when it is first asked for, and that waits.
pub type Waiting<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + 'a>>;

/// Writes what was saved to a file, on any thread. The file that was there is replaced as a whole or
/// not at all.
#[cfg(not(target_family = "wasm"))]
pub type Write = Box<dyn FnOnce(&Path) -> Result<(), Error> + Send>;

/// The numbers of one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// `[outputs, inputs]`
    pub weight: Vec<f32>,
    /// `[outputs]`
    pub bias: Vec<f32>,
}

/// What training needs of a network, on whichever device it is.
pub trait Network {
    /// Starts an epoch that visits the training samples in this order, in batches of the size given
    /// at creation.
    fn start_epoch(&mut self, order: &[u32]) -> Result<()>;
    /// Scores batch number `batch` of the epoch and leaves its gradient for the next update: the sum
    /// of all since the last one, if gradients add up.
    fn backward(&mut self, batch: usize) -> Result<()>;
    /// Scores batch number `batch` of the epoch, and leaves the gradient as it is.
    fn score_batch(&mut self, batch: usize) -> Result<()>;
    /// Puts a NaN into the gradient that is there.
    fn poison(&mut self) -> Result<()>;
    /// Updates the weights from the gradient that is there, each at so much of the learning rate that
    /// it started with.
    fn update(&mut self, part: f64) -> Result<()>;
    /// Waits for what the device has been handed.
    fn finish_async(&mut self) -> Waiting<'_, ()>;
    /// The epoch's training score: each batch scored by the weights that it met. Batches that were not
    /// scored since the epoch's start count as zeros. Waits for the device.
    fn train_score_async(&mut self) -> Waiting<'_, Score>;
    /// The present weights' score on the test data. Waits for the device.
    fn test_score_async(&mut self) -> Waiting<'_, Score>;
    /// How the updates went. Waits for the device.
    fn stats_async(&mut self) -> Waiting<'_, Stats>;
    /// The weights that test data are scored with, of each layer that has some. Waits for the device.
    fn weights_async(&mut self) -> Waiting<'_, Vec<Weights>>;
    /// Takes a copy of weights and optimizer as they are now, and does not wait for the device. The
    /// gradient that is there is not in it.
    #[cfg(not(target_family = "wasm"))]
    fn save(&mut self, save: &Save) -> Result<Write>;
    /// Weights and optimizer go on from `checkpoint`.
    fn load(&mut self, checkpoint: &Checkpoint) -> Result<()>;
    /// The weights alone are those of `checkpoint`.
    fn load_weights(&mut self, checkpoint: &Checkpoint) -> Result<()>;

    // For programs that may wait.

    #[cfg(not(target_family = "wasm"))]
    fn finish(&mut self) -> Result<()> {
        pollster::block_on(self.finish_async())
    }
    #[cfg(not(target_family = "wasm"))]
    fn train_score(&mut self) -> Result<Score> {
        pollster::block_on(self.train_score_async())
    }
    #[cfg(not(target_family = "wasm"))]
    fn test_score(&mut self) -> Result<Score> {
        pollster::block_on(self.test_score_async())
    }
    #[cfg(not(target_family = "wasm"))]
    fn stats(&mut self) -> Result<Stats> {
        pollster::block_on(self.stats_async())
    }
    #[cfg(not(target_family = "wasm"))]
    fn weights(&mut self) -> Result<Vec<Weights>> {
        pollster::block_on(self.weights_async())
    }
}

/// The network on `device`, with the starting weights of `seed`.
pub async fn open_async<'d>(
    device: &'d Device,
    registered: Registered,
    data: &Dataset,
    batch_size: usize,
    seed: u64,
) -> Result<Box<dyn Network + 'd>> {
    Ok(match device {
        Device::Gpu(gpu) => {
            let network = GpuNetwork::new_async(gpu, registered, data, batch_size, seed).await;
            Box::new(network.with_context(|| format!("on {}", gpu.info.name))?)
        }
        Device::Cpu => Box::new(CpuNetwork::<f32>::new(registered, data, batch_size, seed)?),
    })
}

/// [`open_async`], for programs that may wait.
#[cfg(not(target_family = "wasm"))]
pub fn open<'d>(
    device: &'d Device,
    registered: Registered,
    data: &Dataset,
    batch_size: usize,
    seed: u64,
) -> Result<Box<dyn Network + 'd>> {
    patiently("compiling the shaders", || {
        pollster::block_on(open_async(device, registered, data, batch_size, seed))
    })
}

/// How many batches cover `count` samples; the last may be smaller.
pub fn batch_count(count: usize, batch_size: usize) -> usize {
    count.div_ceil(batch_size)
}
