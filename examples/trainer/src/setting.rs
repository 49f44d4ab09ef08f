//! What all optimizers of a comparison or a search have in common.

use anyhow::{Context, Result};
use flags::{Rules, device::Device};
use wgpu_optim::Options;

use crate::candidate::Candidate;
use crate::data::Dataset;
use crate::flags::TrainingFlags;
use crate::memory::state_bytes;
use crate::network::{self, Architecture, Network};
use crate::training::Plan;

/// The same device, data, network and training for every candidate: with the same seed they start at
/// the same weights and meet the same batches.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    pub device: &'a Device,
    pub data: &'a Dataset,
    pub architecture: &'a Architecture,
    pub training: &'a TrainingFlags,
}

impl<'a> Setting<'a> {
    /// The training of `candidate`, with its own learning rate, and its own batch size where gradients
    /// of small batches mislead it.
    pub fn plan(&self, candidate: &Candidate, seed: u64) -> Result<Plan> {
        let (rules, samples) = (candidate.rules()?, self.data.train.count);
        self.training
            .plan(&rules, samples, 1, seed)
            .with_context(|| candidate.text.to_string())
    }

    /// What updates the network of `candidate` in the training with `seed`.
    fn rules(&self, candidate: &Candidate, seed: u64) -> Result<Rules> {
        Ok(Rules {
            formats: self.training.formats(seed),
            ..candidate.rules()?
        })
    }

    /// The network that `candidate` trains, with its starting weights.
    pub fn network(&self, candidate: &Candidate, plan: &Plan) -> Result<Box<dyn Network + 'a>> {
        let (architecture, rules) = (self.architecture.clone(), self.rules(candidate, plan.seed)?);
        let registered = architecture.register(rules, Options::default())?;
        network::open(
            self.device,
            registered,
            self.data,
            plan.batch_size,
            plan.seed,
        )
        .with_context(|| candidate.text.to_string())
    }

    /// Bytes that `candidate` keeps for each parameter beside it and its gradient.
    pub fn state_bytes_per_parameter(&self, candidate: &Candidate) -> Result<f64> {
        let architecture = self.architecture.clone();
        let registered = architecture.register(self.rules(candidate, 0)?, Options::default())?;
        let bytes = state_bytes(&registered.layout)?;
        Ok(bytes / registered.layout.parameter_count() as f64)
    }
}
