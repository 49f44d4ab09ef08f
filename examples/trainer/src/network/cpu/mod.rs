//! The network on the CPU: matrix products by `ndarray`, steps by the optimizer's CPU twin. With
//! `f64` it is what the tests hold the GPU against.

mod activation;
mod layers;
mod loss;
mod precision;
mod trained;

use std::future::ready;

use anyhow::{Context, Result};
use ndarray::{Array2, Axis, LinalgScalar, ScalarOperand};
#[cfg(not(target_family = "wasm"))]
use wgpu_optim::Save;
use wgpu_optim::{Checkpoint, Format, Stats, Tensor, cpu::Optimizer};

#[cfg(not(target_family = "wasm"))]
use super::Write;
use super::{Network, Registered, Score, Waiting, Weights};
use crate::data::{Dataset, Samples};
use loss::Tally;
pub use trained::Trained;

/// The numbers that the network can compute in: f32 and f64.
pub trait Scalar:
    wgpu_optim::cpu::Real + LinalgScalar + ScalarOperand + std::ops::AddAssign
{
}
impl Scalar for f32 {}
impl Scalar for f64 {}

/// Test data are scored so many rows at a time: what lies between the layers has to fit memory.
const TEST_ROWS: usize = 512;

/// Inputs `[count, features]` and targets `[count, outputs]`.
pub(super) struct Rows<T> {
    inputs: Array2<T>,
    targets: Array2<T>,
}

pub struct CpuNetwork<T: Scalar> {
    pub(super) registered: Registered,
    pub(super) optimizer: Optimizer<T>,
    train: Rows<T>,
    test: Rows<T>,
    batch_size: usize,
    order: Vec<usize>,
    /// The epoch's samples so far: sum of losses, hits, count.
    pub(super) tally: Tally,
}

/// What the forward pass leaves of one layer for the backward pass, each `[rows, outputs]`.
struct Activations<T> {
    /// Before its activation, if one follows.
    before: Option<Array2<T>>,
    after: Array2<T>,
}

impl<T: Scalar> CpuNetwork<T> {
    pub fn new(
        registered: Registered,
        data: &Dataset,
        batch_size: usize,
        seed: u64,
    ) -> Result<Self> {
        let options = registered.options.clone();
        let mut optimizer = Optimizer::with_options(&registered.layout, options)?;
        let weights = registered.architecture.initial_weights(seed);
        for (parameters, weights) in registered.parameters().zip(&weights) {
            let layout = &registered.layout;
            let format = layout.formats(layout.group_of(parameters.weight)?)?.params;
            let weight = optimizer.param_mut(parameters.weight)?;
            for (parameter, &weight) in weight.iter_mut().zip(weights) {
                *parameter = precision::written(T::from_f64(weight.into()), format);
            }
        }
        Ok(Self {
            train: Rows::new(&data.train, data)?,
            test: Rows::new(&data.test, data)?,
            order: (0..data.train.count).collect(),
            registered,
            optimizer,
            batch_size,
            tally: Tally::default(),
        })
    }

    /// What holds the weights, and the gradient of the last backward pass.
    pub fn optimizer(&self) -> &Optimizer<T> {
        &self.optimizer
    }

    /// Scores a batch and, if asked, leaves its mean loss' gradient in the optimizer, times the loss
    /// scale.
    pub(super) fn pass(&mut self, rows: &Rows<T>, backward: bool) -> Result<Tally> {
        let activations = forward(&self.registered, &self.optimizer, &rows.inputs)?;
        let top = activations.last().context("A network needs layers.")?;
        let loss = self.registered.architecture.loss;
        let (tally, delta) = loss::score(loss, &top.after, &rows.targets);
        if backward {
            self.backward_from(&rows.inputs, &activations, delta)?;
        }
        Ok(tally)
    }

    /// Leaves the gradients, from that with respect to the network's answers.
    fn backward_from(
        &mut self,
        inputs: &Array2<T>,
        activations: &[Activations<T>],
        mut delta: Array2<T>,
    ) -> Result<()> {
        let (registered, optimizer) = (&self.registered, &mut self.optimizer);
        let scale = T::from_f64(optimizer.loss_scale());
        delta.mapv_inplace(|d| d * scale);
        let activation = registered.architecture.activation;
        for index in (0..activations.len()).rev() {
            let below = index.checked_sub(1).map(|below| &activations[below]);
            let inputs = below.map_or(inputs, |below| &below.after);
            layers::leave_gradients(registered, optimizer, index, inputs, &delta)?;
            let Some(below) = below else {
                continue;
            };
            delta = layers::input_gradient(registered, optimizer, index, inputs, &delta)?;
            if let Some(before) = &below.before {
                delta.zip_mut_with(before, |d, &z| *d = *d * activation.derivative(z));
            }
        }
        Ok(())
    }

    /// Fills what the rule takes beside the gradient: see curvature.wgsl.
    fn fill_curvatures(&mut self, rows: usize) -> Result<()> {
        let rows = T::from_f64(rows as f64);
        for &(tensor, slot) in &self.registered.curvatures {
            let gradient = self.optimizer.grad(tensor)?.to_vec();
            let curvature = self.optimizer.state_mut(tensor, slot)?;
            for (curvature, g) in curvature.iter_mut().zip(gradient) {
                *curvature = rows * g * g;
            }
        }
        Ok(())
    }

    /// The rows of batch number `batch` in the epoch's order.
    pub(super) fn batch(&self, batch: usize) -> Rows<T> {
        let first = batch * self.batch_size;
        let end = (first + self.batch_size).min(self.order.len());
        self.train.select(&self.order[first..end])
    }

    fn score_test_data(&mut self) -> Result<Score> {
        self.optimizer.evaluate();
        let mut tally = Tally::default();
        for first in (0..self.test.inputs.nrows()).step_by(TEST_ROWS) {
            let end = (first + TEST_ROWS).min(self.test.inputs.nrows());
            let rows = self.test.select(&(first..end).collect::<Vec<_>>());
            tally.add(self.pass(&rows, false)?);
        }
        self.optimizer.train();
        Ok(tally.score())
    }

    fn copy_weights(&mut self) -> Result<Vec<Weights>> {
        self.optimizer.evaluate();
        let of = |tensor: Tensor| -> Result<Vec<f32>> {
            let numbers = self.optimizer.param(tensor)?.iter();
            Ok(numbers
                .map(|number| number.to_f32().unwrap_or(f32::NAN))
                .collect())
        };
        let parameters = self.registered.parameters();
        let weights = parameters.map(|parameters| {
            Ok(Weights {
                weight: of(parameters.weight)?,
                bias: of(parameters.bias)?,
            })
        });
        let weights = weights.collect();
        self.optimizer.train();
        weights
    }
}

/// Every layer's activations on `inputs`; the last layer's are the network's answers.
fn forward<T: Scalar>(
    registered: &Registered,
    optimizer: &Optimizer<T>,
    inputs: &Array2<T>,
) -> Result<Vec<Activations<T>>> {
    let architecture = &registered.architecture;
    let mut layers: Vec<Activations<T>> = Vec::new();
    for (index, placed) in architecture.layers().iter().enumerate() {
        let below = layers.last().map_or(inputs, |layer| &layer.after);
        let sums = layers::forward(registered, optimizer, index, below)?;
        layers.push(if placed.activated {
            Activations {
                after: sums.mapv(|z| architecture.activation.value(z)),
                before: Some(sums),
            }
        } else {
            Activations {
                after: sums,
                before: None,
            }
        });
    }
    Ok(layers)
}

impl<T: Scalar> Rows<T> {
    fn new(samples: &Samples, data: &Dataset) -> Result<Self> {
        let array = |numbers: &[f32], columns| {
            let numbers = numbers
                .iter()
                .map(|&number| T::from_f64(number.into()))
                .collect();
            Array2::from_shape_vec((samples.count, columns), numbers)
        };
        Ok(Self {
            inputs: array(&samples.inputs, data.features)?,
            targets: array(&samples.targets, data.outputs)?,
        })
    }

    fn select(&self, rows: &[usize]) -> Self {
        Self {
            inputs: self.inputs.select(Axis(0), rows),
            targets: self.targets.select(Axis(0), rows),
        }
    }
}

impl<T: Scalar> Network for CpuNetwork<T> {
    fn start_epoch(&mut self, order: &[u32]) -> Result<()> {
        self.order = order.iter().map(|&sample| sample as usize).collect();
        self.tally = Tally::default();
        Ok(())
    }

    fn backward(&mut self, batch: usize) -> Result<()> {
        let batch = self.batch(batch);
        let tally = self.pass(&batch, true)?;
        self.fill_curvatures(batch.inputs.nrows())?;
        self.tally.add(tally);
        Ok(())
    }

    fn score_batch(&mut self, batch: usize) -> Result<()> {
        let tally = self.pass(&self.batch(batch), false)?;
        self.tally.add(tally);
        Ok(())
    }

    fn poison(&mut self) -> Result<()> {
        let first = self.registered.parameters().next();
        let first = first.context("A network without parameters has no gradient to poison.")?;
        self.optimizer.grad_mut(first.weight)?[0] = T::from_f64(f64::NAN);
        Ok(())
    }

    fn update(&mut self, part: f64) -> Result<()> {
        let layout = &self.registered.layout;
        for tensor in layout.tensors() {
            let format = layout.formats(layout.group_of(tensor)?)?.grads;
            if format != Format::F32 {
                let gradients = self.optimizer.grad_mut(tensor)?.iter_mut();
                gradients.for_each(|gradient| *gradient = precision::stored(*gradient, format));
            }
        }
        for &(group, lr) in &self.registered.groups {
            self.optimizer.set_lr(group, part * lr)?;
            self.optimizer.refresh(group)?;
        }
        self.optimizer.step()?;
        Ok(())
    }

    fn finish_async(&mut self) -> Waiting<'_, ()> {
        Box::pin(ready(Ok(())))
    }

    fn train_score_async(&mut self) -> Waiting<'_, Score> {
        Box::pin(ready(Ok(self.tally.part_of(self.order.len()))))
    }

    fn test_score_async(&mut self) -> Waiting<'_, Score> {
        Box::pin(async move { self.score_test_data() })
    }

    fn stats_async(&mut self) -> Waiting<'_, Stats> {
        Box::pin(ready(Ok(self.optimizer.stats())))
    }

    fn weights_async(&mut self) -> Waiting<'_, Vec<Weights>> {
        Box::pin(async move { self.copy_weights() })
    }

    #[cfg(not(target_family = "wasm"))]
    fn save(&mut self, save: &Save) -> Result<Write> {
        let (optimizer, save) = (self.optimizer.clone(), save.clone());
        Ok(Box::new(move |path| optimizer.save(path, &save)))
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        Ok(self.optimizer.load(checkpoint)?)
    }

    fn load_weights(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        Ok(self.optimizer.load_params(checkpoint)?)
    }
}
