//! The network on the CPU: matrix products by `ndarray`, steps by the optimizer's CPU twin. With
//! `f64` it is what the tests hold the GPU against.

use anyhow::Result;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut2, Axis, LinalgScalar, ScalarOperand};
use wgpu_optim::{Stats, cpu::Optimizer};

use super::{Activation, Linear, Loss, Network, Registered, Score};
use crate::data::{Dataset, Samples};

/// The numbers that the network can compute in: f32 and f64.
pub trait Scalar:
    wgpu_optim::cpu::Real + LinalgScalar + ScalarOperand + std::ops::AddAssign
{
}
impl Scalar for f32 {}
impl Scalar for f64 {}

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

#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) loss: f64,
    hits: usize,
    pub(super) count: usize,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.loss += other.loss;
        self.hits += other.hits;
        self.count += other.count;
    }

    fn score(&self) -> Score {
        let count = self.count as f64;
        Score {
            loss: self.loss / count,
            accuracy: self.hits as f64 / count,
        }
    }
}

/// What the forward pass leaves of one layer for the backward pass, each `[rows, outputs]`.
struct Activations<T> {
    before: Array2<T>,
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
        for (layer, weights) in registered.layers.iter().zip(&weights) {
            for (parameter, &weight) in optimizer.param_mut(layer.weight)?.iter_mut().zip(weights) {
                *parameter = T::from_f64(weight.into());
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

    fn weight(&self, layer: &Linear) -> Result<ArrayView2<'_, T>> {
        let parameters = self.optimizer.param(layer.weight)?;
        Ok(ArrayView2::from_shape(
            (layer.outputs, layer.inputs),
            parameters,
        )?)
    }

    /// Every layer's activations on `inputs`; the last layer's are the network's answers.
    fn forward(&self, inputs: &Array2<T>) -> Result<Vec<Activations<T>>> {
        let mut layers: Vec<Activations<T>> = Vec::new();
        for (index, layer) in self.registered.layers.iter().enumerate() {
            let below = layers.last().map_or(inputs, |layer| &layer.after);
            let bias = ArrayView1::from(self.optimizer.param(layer.bias)?);
            let before = below.dot(&self.weight(layer)?.t()) + bias;
            let last = index + 1 == self.registered.layers.len();
            let activation = self.registered.architecture.activation;
            let after = if last {
                before.clone()
            } else {
                before.mapv(|z| activation.value(z))
            };
            layers.push(Activations { before, after });
        }
        Ok(layers)
    }

    /// Scores a batch and, if asked, leaves its mean loss' gradient in the optimizer, times the loss
    /// scale.
    pub(super) fn pass(&mut self, rows: &Rows<T>, backward: bool) -> Result<Tally> {
        let activations = self.forward(&rows.inputs)?;
        let Some(top) = activations.last() else {
            return Ok(Tally::default());
        };
        let (tally, mut delta) =
            score(self.registered.architecture.loss, &top.after, &rows.targets);
        if !backward {
            return Ok(tally);
        }
        let scale = T::from_f64(self.optimizer.loss_scale());
        delta.mapv_inplace(|d| d * scale);
        let adds = self.registered.adds_gradients();
        let activation = self.registered.architecture.activation;
        for (index, layer) in self.registered.layers.clone().iter().enumerate().rev() {
            let below = index.checked_sub(1).map(|below| &activations[below]);
            let inputs = below.map_or(&rows.inputs, |below| &below.after);
            let shape = (layer.outputs, layer.inputs);
            let gradient = self.optimizer.grad_mut(layer.weight)?;
            let mut gradient = ArrayViewMut2::from_shape(shape, gradient)?;
            let kept = if adds { T::one() } else { T::zero() };
            general_mat_mul(T::one(), &delta.t(), inputs, kept, &mut gradient);
            for (gradient, &sum) in self
                .optimizer
                .grad_mut(layer.bias)?
                .iter_mut()
                .zip(&delta.sum_axis(Axis(0)))
            {
                *gradient = if adds { *gradient + sum } else { sum };
            }
            if let Some(below) = below {
                delta = delta.dot(&self.weight(layer)?);
                delta.zip_mut_with(&below.before, |d, &z| *d = *d * activation.derivative(z));
            }
        }
        Ok(tally)
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
        let gradient = self.optimizer.grad_mut(self.registered.layers[0].weight)?;
        gradient[0] = T::from_f64(f64::NAN);
        Ok(())
    }

    fn update(&mut self, part: f64) -> Result<()> {
        for &(group, lr) in &self.registered.groups {
            self.optimizer.set_lr(group, part * lr)?;
            self.optimizer.refresh(group)?;
        }
        self.optimizer.step()?;
        Ok(())
    }

    fn train_score(&mut self) -> Result<Score> {
        Ok(self.tally.score())
    }

    fn test_score(&mut self) -> Result<Score> {
        let test = Rows {
            inputs: self.test.inputs.clone(),
            targets: self.test.targets.clone(),
        };
        self.optimizer.evaluate();
        let tally = self.pass(&test, false)?;
        self.optimizer.train();
        Ok(tally.score())
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }

    fn stats(&mut self) -> Result<Stats> {
        Ok(self.optimizer.stats())
    }
}

impl Activation {
    fn value<T: Scalar>(self, z: T) -> T {
        match self {
            Self::Relu => z.max(T::zero()),
            Self::Tanh => z.tanh(),
            Self::Sigmoid => sigmoid(z),
            Self::Gelu => T::from_f64(0.5) * z * (T::one() + gelu_inner(z).tanh()),
        }
    }

    fn derivative<T: Scalar>(self, z: T) -> T {
        match self {
            Self::Relu => {
                if z > T::zero() {
                    T::one()
                } else {
                    T::zero()
                }
            }
            Self::Tanh => T::one() - z.tanh() * z.tanh(),
            Self::Sigmoid => sigmoid(z) * (T::one() - sigmoid(z)),
            Self::Gelu => {
                let half = T::from_f64(0.5);
                let c = clamp_gelu(z);
                let t = gelu_inner(c).tanh();
                let slope =
                    T::from_f64(SQRT_2_OVER_PI) * (T::one() + T::from_f64(3.0 * CUBIC) * c * c);
                half * (T::one() + t) + half * c * (T::one() - t * t) * slope
            }
        }
    }
}

const SQRT_2_OVER_PI: f64 = 0.797_884_560_8;
const CUBIC: f64 = 0.044_715;

/// Beyond ±10 GELU is straight; without the limits z³ could overflow.
fn clamp_gelu<T: Scalar>(z: T) -> T {
    z.max(T::from_f64(-10.0)).min(T::from_f64(10.0))
}

/// √(2/π)(z + 0.044715 z³): what GELU's tanh form takes the tanh of.
fn gelu_inner<T: Scalar>(z: T) -> T {
    let c = clamp_gelu(z);
    T::from_f64(SQRT_2_OVER_PI) * (c + T::from_f64(CUBIC) * c * c * c)
}

/// exp only of numbers up to 0, where it cannot overflow.
fn sigmoid<T: Scalar>(z: T) -> T {
    let e = (-z.abs()).exp();
    if z < T::zero() {
        e / (T::one() + e)
    } else {
        T::one() / (T::one() + e)
    }
}

/// The batch's tally, and the gradient of its mean loss with respect to the answers,
/// `[rows, outputs]`.
fn score<T: Scalar>(loss: Loss, answers: &Array2<T>, targets: &Array2<T>) -> (Tally, Array2<T>) {
    let (rows, outputs) = answers.dim();
    let mut tally = Tally {
        count: rows,
        ..Tally::default()
    };
    let mut delta = Array2::zeros((rows, outputs));
    let rows = T::from_f64(rows as f64);
    for ((z, t), d) in answers
        .outer_iter()
        .zip(targets.outer_iter())
        .zip(delta.outer_iter_mut())
    {
        let terms = z.iter().zip(t.iter()).zip(d);
        tally.loss += match loss {
            Loss::CrossEntropy => {
                let largest = z.fold(T::neg_infinity(), |a, &b| a.max(b));
                let log_sum = z.fold(T::zero(), |sum, &z| sum + (z - largest).exp()).ln();
                let mut sum = T::zero();
                for ((&z, &t), d) in terms {
                    let log_probability = z - largest - log_sum;
                    sum = sum - t * log_probability;
                    *d = (log_probability.exp() - t) / rows;
                }
                sum
            }
            Loss::BinaryCrossEntropy => {
                let outputs = T::from_f64(outputs as f64);
                let mut sum = T::zero();
                for ((&z, &t), d) in terms {
                    sum += z.max(T::zero()) - t * z + (-z.abs()).exp().ln_1p();
                    *d = (sigmoid(z) - t) / (rows * outputs);
                }
                sum / outputs
            }
            Loss::Mse => {
                let outputs = T::from_f64(outputs as f64);
                let mut sum = T::zero();
                for ((&z, &t), d) in terms {
                    sum += (z - t) * (z - t);
                    *d = (z - t + z - t) / (rows * outputs);
                }
                sum / outputs
            }
        }
        .to_f64()
        .unwrap_or(f64::NAN);
        tally.hits += usize::from(largest_index(z) == largest_index(t));
    }
    (tally, delta)
}

/// Where the largest element is: the first of equals.
fn largest_index<T: Scalar>(row: ArrayView1<'_, T>) -> usize {
    let mut best = 0;
    for (index, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn activations_have_their_published_values() {
        for (activation, z, expected) in [
            (Activation::Relu, -2.0, 0.0),
            (Activation::Relu, 2.0, 2.0),
            (Activation::Tanh, 0.5, 0.462_117_157_260),
            (Activation::Sigmoid, 1.0, 0.731_058_578_630),
            // Hendrycks & Gimpel's tanh form, as torch's gelu(approximate="tanh").
            (Activation::Gelu, 1.0, 0.841_191_990_608),
            (Activation::Gelu, -0.5, -0.154_285_990_174),
        ] {
            let found: f64 = activation.value(z);
            assert!(
                (found - expected).abs() < 1e-9,
                "{activation:?}({z}) = {found}"
            );
        }
    }

    #[test]
    fn losses_have_the_values_that_their_definitions_give() {
        let answers = array![[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]];
        let targets = array![[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]];
        let mean = |loss| {
            let (tally, delta) = score::<f64>(loss, &answers, &targets);
            (tally.loss / tally.count as f64, delta)
        };
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} instead of {b}");
        // Equal answers to three classes: each has probability one third.
        let (loss, delta) = mean(Loss::CrossEntropy);
        near(loss, 3f64.ln());
        near(delta[[0, 0]], (1.0 / 3.0 - 1.0) / 2.0);
        // ln 2 at 0; at 1, ln(1 + e) for a target of 0 and 1 less for a target of 1.
        let (loss, _) = mean(Loss::BinaryCrossEntropy);
        let at_one = (1.0 + 1f64.exp()).ln();
        near(loss, (3.0 * 2f64.ln() + 3.0 * at_one - 1.0) / 6.0);
        // Squares 1, 0, 0 and 1, 1, 0, over six outputs.
        let (loss, delta) = mean(Loss::Mse);
        near(loss, 3.0 / 6.0);
        near(delta[[0, 0]], -2.0 / 6.0);
    }
}
