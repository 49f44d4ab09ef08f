//! Fully connected: every output sums up all inputs.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayViewMut2};

use super::Weights;
use crate::network::cpu::Scalar;

pub fn forward<T: Scalar>(inputs: &Array2<T>, weights: &Weights<'_, T>) -> Array2<T> {
    inputs.dot(&weights.weight.t()) + &weights.bias
}

/// Adds δᵀ·x to `kept` times the gradient that is there.
pub fn weight_gradient<T: Scalar>(
    inputs: &Array2<T>,
    delta: &Array2<T>,
    kept: T,
    mut gradient: ArrayViewMut2<'_, T>,
) {
    general_mat_mul(T::one(), &delta.t(), inputs, kept, &mut gradient);
}
