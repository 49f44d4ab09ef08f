//! What each kind of layer computes, forwards and backwards. The numbers before and after a layer are
//! `[rows, length of the shape]`.

mod convolution;
mod linear;
mod max_pool;

use anyhow::Result;
use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut2, CowArray, Ix1, Ix2};
use wgpu_optim::{Format, cpu::Optimizer};

use super::{Scalar, precision};
use crate::network::{Layer, Registered};

/// A layer's weights `[outputs, inputs]` and biases `[outputs]`.
struct Weights<'a, T> {
    weight: CowArray<'a, T, Ix2>,
    bias: CowArray<'a, T, Ix1>,
}

fn weights<'a, T: Scalar>(
    registered: &Registered,
    optimizer: &'a Optimizer<T>,
    index: usize,
) -> Result<Weights<'a, T>> {
    let parameters = registered.parameters_of(index)?;
    let shape = (parameters.matrix.outputs, parameters.matrix.inputs);
    let weight = ArrayView2::from_shape(shape, optimizer.param(parameters.weight)?)?;
    let bias = ArrayView1::from(optimizer.param(parameters.bias)?);
    let layout = &registered.layout;
    let format = |tensor| anyhow::Ok(layout.formats(layout.group_of(tensor)?)?.params);
    Ok(Weights {
        weight: match format(parameters.weight)? {
            Format::F32 => weight.into(),
            format => weight.mapv(|number| precision::read(number, format)).into(),
        },
        bias: match format(parameters.bias)? {
            Format::F32 => bias.into(),
            format => bias.mapv(|number| precision::read(number, format)).into(),
        },
    })
}

/// What layer number `index` makes of `inputs`, without its activation.
pub fn forward<T: Scalar>(
    registered: &Registered,
    optimizer: &Optimizer<T>,
    index: usize,
    inputs: &Array2<T>,
) -> Result<Array2<T>> {
    let placed = &registered.architecture.layers()[index];
    match placed.layer {
        Layer::Linear { .. } => {
            let weights = weights(registered, optimizer, index)?;
            Ok(linear::forward(inputs, &weights))
        }
        Layer::Convolution { kernel, .. } => {
            let weights = weights(registered, optimizer, index)?;
            convolution::forward(placed.input, kernel, inputs, &weights)
        }
        Layer::MaxPool { size } => Ok(max_pool::forward(placed, size, inputs)),
    }
}

/// The loss gradient with respect to the layer's inputs, from `delta`, that with respect to what
/// [`forward`] returned.
pub fn input_gradient<T: Scalar>(
    registered: &Registered,
    optimizer: &Optimizer<T>,
    index: usize,
    inputs: &Array2<T>,
    delta: &Array2<T>,
) -> Result<Array2<T>> {
    let placed = &registered.architecture.layers()[index];
    match placed.layer {
        Layer::Linear { .. } => {
            let weights = weights(registered, optimizer, index)?;
            Ok(delta.dot(&weights.weight))
        }
        Layer::Convolution { kernel, .. } => {
            let weights = weights(registered, optimizer, index)?;
            convolution::input_gradient(placed.input, kernel, delta, &weights)
        }
        Layer::MaxPool { size } => Ok(max_pool::input_gradient(placed, size, inputs, delta)),
    }
}

/// Leaves the gradients of the layer's weights and biases with the optimizer, or adds them to those
/// that are there.
pub fn leave_gradients<T: Scalar>(
    registered: &Registered,
    optimizer: &mut Optimizer<T>,
    index: usize,
    inputs: &Array2<T>,
    delta: &Array2<T>,
) -> Result<()> {
    let placed = &registered.architecture.layers()[index];
    let Some(matrix) = placed.matrix() else {
        return Ok(());
    };
    let parameters = registered.parameters_of(index)?;
    let adds = registered.adds_gradients();
    let kept = if adds { T::one() } else { T::zero() };
    let gradient = optimizer.grad_mut(parameters.weight)?;
    let gradient = ArrayViewMut2::from_shape((matrix.outputs, matrix.inputs), gradient)?;
    match placed.layer {
        Layer::Linear { .. } => linear::weight_gradient(inputs, delta, kept, gradient),
        Layer::Convolution { kernel, .. } => {
            convolution::weight_gradient(placed.input, kernel, inputs, delta, kept, gradient)?;
        }
        Layer::MaxPool { .. } => {}
    }
    // A bias is added at every position.
    let delta = delta
        .view()
        .into_shape_with_order((delta.nrows() * matrix.positions, matrix.outputs))?;
    let sums = delta.sum_axis(ndarray::Axis(0));
    for (gradient, &sum) in optimizer.grad_mut(parameters.bias)?.iter_mut().zip(&sums) {
        *gradient = if adds { *gradient + sum } else { sum };
    }
    Ok(())
}
