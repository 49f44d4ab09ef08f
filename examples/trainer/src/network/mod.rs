//! A multi-layer perceptron: its architecture and its starting weights, and the same network on two
//! devices.

pub mod cpu;
pub mod gpu;
mod kernel;
#[cfg(test)]
mod tests;

use std::fmt;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use flags::device::Device;
use flags::rule::{Rules, inputs};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use wgpu_optim::{Group, Layout, Options, Stats, Tensor};

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

/// Fully connected layers with an activation between them.
#[derive(Clone, Debug, PartialEq)]
pub struct Architecture {
    /// Features, the hidden layers' widths, outputs.
    pub sizes: Vec<usize>,
    pub activation: Activation,
    pub loss: Loss,
}

/// One fully connected layer's place in the optimizer's layout.
#[derive(Clone, Copy, Debug)]
pub struct Linear {
    pub inputs: usize,
    pub outputs: usize,
    /// `[outputs, inputs]`
    pub weight: Tensor,
    /// `[outputs]`
    pub bias: Tensor,
}

/// A network's tensors, registered with an optimizer's layout.
#[derive(Clone)]
pub struct Registered {
    pub architecture: Architecture,
    pub layout: Layout,
    /// Each parameter group with the learning rate that it starts with.
    pub groups: Vec<(Group, f64)>,
    pub layers: Vec<Linear>,
    /// What rules take beside the gradient: tensors and slots.
    pub curvatures: Vec<(Tensor, &'static str)>,
    /// What surrounds a step.
    pub options: Options,
}

impl Registered {
    /// Whether a backward pass adds to the gradients that are there, instead of overwriting them.
    pub fn adds_gradients(&self) -> bool {
        self.options.accumulate > 1
    }
}

/// The inputs of all tensors' rules beside the gradient.
fn all_curvatures(layout: &Layout) -> Result<Vec<(Tensor, &'static str)>> {
    let mut all = Vec::new();
    for tensor in layout.tensors() {
        let rule = layout.rule(layout.group_of(tensor)?)?;
        all.extend(inputs(rule).into_iter().map(|slot| (tensor, slot)));
    }
    Ok(all)
}

/// Mean loss over some samples, and the part of them whose largest output is the target's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    pub loss: f64,
    pub accuracy: f64,
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
    fn finish(&mut self) -> Result<()>;
    /// The epoch's training score: each batch scored by the weights that it met. Waits for the
    /// device.
    fn train_score(&mut self) -> Result<Score>;
    /// The present weights' score on the test data. Waits for the device.
    fn test_score(&mut self) -> Result<Score>;
    /// How the updates went. Waits for the device.
    fn stats(&mut self) -> Result<Stats>;
}

/// The network on `device`, with the starting weights of `seed`.
pub fn open<'d>(
    device: &'d Device,
    registered: Registered,
    data: &Dataset,
    batch_size: usize,
    seed: u64,
) -> Result<Box<dyn Network + 'd>> {
    Ok(match device {
        Device::Gpu(gpu) => {
            let network = GpuNetwork::new(gpu, registered, data, batch_size, seed);
            Box::new(network.with_context(|| format!("on {}", gpu.info.name))?)
        }
        Device::Cpu => Box::new(CpuNetwork::<f32>::new(registered, data, batch_size, seed)?),
    })
}

/// Enough for any network that this example is meant for; beyond it the numbers were surely
/// mistyped.
const MOST_PARAMETERS: usize = 1 << 28;

/// The widths from the features to the outputs.
impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes: Vec<String> = self.sizes.iter().map(usize::to_string).collect();
        f.write_str(&sizes.join(" → "))
    }
}

impl Architecture {
    pub fn parameter_count(&self) -> usize {
        self.sizes
            .windows(2)
            .map(|pair| pair[0].saturating_add(1).saturating_mul(pair[1]))
            .fold(0, usize::saturating_add)
    }

    /// Registers `0.weight`, `0.bias`, `1.weight`, …, in one parameter group for each rule.
    pub fn register(self, rules: impl Into<Rules>, options: Options) -> Result<Registered> {
        ensure!(
            self.parameter_count() <= MOST_PARAMETERS,
            "This network would have {} parameters; at most {MOST_PARAMETERS} are allowed.",
            self.parameter_count()
        );
        let mut layout = Layout::new();
        let Rules { matrices, rest } = rules.into();
        let rest = layout.group(rest)?;
        let matrices = match matrices {
            Some(rule) => layout.group(rule)?,
            None => rest,
        };
        let mut layers = Vec::new();
        for (index, pair) in self.sizes.windows(2).enumerate() {
            let (inputs, outputs) = (pair[0], pair[1]);
            layers.push(Linear {
                inputs,
                outputs,
                weight: layout.tensor(matrices, &format!("{index}.weight"), &[outputs, inputs])?,
                bias: layout.tensor(rest, &format!("{index}.bias"), &[outputs])?,
            });
        }
        let lr = |group| Ok((group, layout.rule(group)?.lr()));
        Ok(Registered {
            architecture: self,
            groups: layout.groups().map(lr).collect::<Result<_>>()?,
            curvatures: all_curvatures(&layout)?,
            layout,
            layers,
            options,
        })
    }

    /// Starting weights of every layer, `[outputs, inputs]`; biases start at zero.
    ///
    /// He et al. 2015 (arXiv:1502.01852) where half of the inputs to the layer are cut off, Glorot
    /// & Bengio 2010 elsewhere, both uniform. The same seed gives the same numbers on every device.
    pub fn initial_weights(&self, seed: u64) -> Vec<Vec<f32>> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let layers = self.sizes.windows(2);
        let last = layers.len() - 1;
        layers
            .enumerate()
            .map(|(index, pair)| {
                let (inputs, outputs) = (pair[0], pair[1]);
                let rectified = matches!(self.activation, Activation::Relu | Activation::Gelu);
                let bound = if rectified && index < last {
                    (6.0 / inputs as f64).sqrt()
                } else {
                    (6.0 / (inputs + outputs) as f64).sqrt()
                };
                let draw = |_| (bound * random.random_range(-1.0..1.0)) as f32;
                (0..inputs * outputs).map(draw).collect()
            })
            .collect()
    }
}

/// How many batches cover `count` samples; the last may be smaller.
pub fn batch_count(count: usize, batch_size: usize) -> usize {
    count.div_ceil(batch_size)
}
