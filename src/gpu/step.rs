//! Planned steps, ready to be recorded.

use std::sync::Arc;

use super::{
    begin_step::BeginStep, dispatch::Dispatch, grad_stats::GradStats, owning::OwningDevice,
    phases::GroupStep, sums::SharedSums,
};

/// A step over known gradients.
#[derive(Debug)]
pub(super) struct PlannedStep {
    /// Owns the tables that the dispatches read.
    pub device: Arc<OwningDevice>,
    pub beginning: Beginning,
    pub shared_sums: SharedSums,
    /// By group.
    pub groups: Vec<GroupStep>,
}

/// What a step begins with.
#[derive(Debug)]
pub(super) enum Beginning {
    /// The numbers of the step.
    Numbers(wgpu::BindGroup),
    /// An inspection of the gradients, and then the numbers.
    GradStats(Box<GradStats>),
}

impl PlannedStep {
    /// Records the step for the groups that take part. Its numbers must be on their way.
    pub fn record(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        begin_step: &BeginStep,
        takes_part: impl Fn(usize) -> bool,
    ) {
        self.shared_sums.clear(encoder, |group| !takes_part(group));
        let mut pass = compute_pass(encoder, "optimizer step");
        match &self.beginning {
            Beginning::Numbers(bind_group) => begin_step.dispatch(&mut pass, bind_group),
            Beginning::GradStats(stats) => {
                stats.record(&mut pass, &takes_part);
                begin_step.dispatch(&mut pass, &stats.begin_step);
            }
        }
        let groups = self.groups.iter().enumerate();
        let groups = groups.filter(|(group, _)| takes_part(*group));
        for (_, group) in groups.clone() {
            group
                .until_measured()
                .for_each(|dispatch| dispatch.record(&mut pass));
        }
        // A group that rests concludes from the sums of others that it shares.
        for (group, resting) in self.groups.iter().enumerate() {
            let is_shared = |other| takes_part(other) && self.shared_sums.are_shared(group, other);
            if !takes_part(group) && (0..self.groups.len()).any(is_shared) {
                resting
                    .conclude
                    .iter()
                    .for_each(|dispatch| dispatch.record(&mut pass));
            }
        }
        for (_, group) in groups {
            group
                .once_measured()
                .for_each(|dispatch| dispatch.record(&mut pass));
        }
    }
}

/// The dispatches over parameters that are no step, by group.
#[derive(Debug, Default)]
pub(super) struct ParamPasses {
    /// They switch between the parameters to train with and those to evaluate with. There are none for
    /// a rule whose parameters are the same for both.
    pub evaluate: Vec<Vec<Dispatch>>,
    pub train: Vec<Vec<Dispatch>>,
    /// They copy parameters in 16 bits.
    pub copy: Vec<Vec<Dispatch>>,
}

pub(super) fn compute_pass<'e>(
    encoder: &'e mut wgpu::CommandEncoder,
    label: &str,
) -> wgpu::ComputePass<'e> {
    encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
        label: Some(label),
        timestamp_writes: None,
    })
}
