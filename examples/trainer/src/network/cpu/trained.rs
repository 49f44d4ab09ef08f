//! A trained network that is asked.

use anyhow::{Context, Result, ensure};
use ndarray::Array2;
use wgpu_optim::cpu::Optimizer;

use super::forward;
use crate::network::{Loss, Registered, Weights};

/// A network with the weights that some training left.
pub struct Trained {
    registered: Registered,
    optimizer: Optimizer<f32>,
}

impl Trained {
    /// With a layer's weights for each layer that has some.
    pub fn new(registered: Registered, weights: &[Weights]) -> Result<Self> {
        let mut optimizer = Optimizer::new(&registered.layout)?;
        let layers = registered.parameters().count();
        ensure!(
            weights.len() == layers,
            "There are weights of {} layers: expected {layers}.",
            weights.len()
        );
        for (parameters, weights) in registered.parameters().zip(weights) {
            for (tensor, numbers) in [
                (parameters.weight, &weights.weight),
                (parameters.bias, &weights.bias),
            ] {
                let there = optimizer.param_mut(tensor)?;
                ensure!(
                    there.len() == numbers.len(),
                    "A tensor of {} numbers has no room for {}.",
                    there.len(),
                    numbers.len()
                );
                there.copy_from_slice(numbers);
            }
        }
        Ok(Self {
            registered,
            optimizer,
        })
    }

    /// What it takes each class for, in parts that make 1: `[samples, outputs]`, row by row.
    ///
    /// Fails for a network that does not learn classes by cross-entropy.
    pub fn probabilities(&self, inputs: &[f32]) -> Result<Vec<f32>> {
        let architecture = &self.registered.architecture;
        ensure!(
            architecture.loss == Loss::CrossEntropy,
            "Only what learns by cross-entropy has probabilities."
        );
        let features = architecture.input().numbers();
        let rows = Array2::from_shape_vec((inputs.len() / features, features), inputs.to_vec())
            .with_context(|| format!("expected {features} inputs for each sample"))?;
        let activations = forward(&self.registered, &self.optimizer, &rows)?;
        let top = activations.last().context("A network needs layers.")?;
        let softmax = top.after.outer_iter().flat_map(|answers| {
            let largest = answers.fold(f32::NEG_INFINITY, |a, &b| a.max(b));
            let parts: Vec<f32> = answers.iter().map(|z| (z - largest).exp()).collect();
            let sum: f32 = parts.iter().sum();
            parts.into_iter().map(move |part| part / sum)
        });
        Ok(softmax.collect())
    }
}
