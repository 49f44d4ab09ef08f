//! What all optimizers of a comparison or a search have in common.

use anyhow::{Context, Result};
use flags::{Rules, device::Device};
use wgpu_optim::Options;

use crate::candidate::Candidate;
use crate::data::Dataset;
use crate::flags::TrainingFlags;
use crate::memory::state_bytes;
use crate::network::{self, Architecture, Network, Registered};
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
    #[cfg(not(target_family = "wasm"))]
    pub fn network(&self, candidate: &Candidate, plan: &Plan) -> Result<Box<dyn Network + 'a>> {
        let registered = self.registered(candidate, plan.seed)?;
        let (batch_size, seed) = (plan.batch_size, plan.seed);
        network::open(self.device, registered, self.data, batch_size, seed)
            .with_context(|| candidate.text.to_string())
    }

    /// [`network`](Self::network), for programs that may not wait.
    pub async fn network_async(
        &self,
        candidate: &Candidate,
        plan: &Plan,
    ) -> Result<Box<dyn Network + 'a>> {
        let registered = self.registered(candidate, plan.seed)?;
        let (batch_size, seed) = (plan.batch_size, plan.seed);
        network::open_async(self.device, registered, self.data, batch_size, seed)
            .await
            .with_context(|| candidate.text.to_string())
    }

    /// The network's tensors with the rules of `candidate`.
    pub fn registered(&self, candidate: &Candidate, seed: u64) -> Result<Registered> {
        let architecture = self.architecture.clone();
        architecture.register(self.rules(candidate, seed)?, Options::default())
    }

    /// Bytes that `candidate` keeps for each parameter beside it and its gradient.
    pub fn state_bytes_per_parameter(&self, candidate: &Candidate) -> Result<f64> {
        let registered = self.registered(candidate, 0)?;
        let bytes = state_bytes(&registered.layout)?;
        Ok(bytes / registered.layout.parameter_count() as f64)
    }
}
