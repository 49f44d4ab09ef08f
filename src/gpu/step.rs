//! Planned steps, ready to be recorded.

use std::sync::Arc;

use super::{
    dispatch::Dispatch,
    grad_stats::GradStats,
    owning::OwningDevice,
    phases::{GroupStep, each},
    sums::SharedSums,
};
use crate::Error;

/// A step over known gradients.
#[derive(Debug)]
pub(super) struct PlannedStep<D = Dispatch> {
    /// Owns the tables that the dispatches read.
    pub device: Arc<OwningDevice>,
    pub beginning: Beginning<D>,
    pub shared_sums: SharedSums,
    /// By group.
    pub groups: Vec<GroupStep<D>>,
}

/// What a step begins with.
#[derive(Debug)]
pub(super) enum Beginning<D = Dispatch> {
    /// The numbers of the step, or all of a step that is one workgroup.
    Numbers(D),
    /// An inspection of the gradients, and then the numbers.
    GradStats(Box<GradStats<D>>),
}

impl<D> PlannedStep<D> {
    /// All dispatches.
    pub fn dispatches(&self) -> impl Iterator<Item = &D> {
        let (numbers, stats) = match &self.beginning {
            Beginning::Numbers(numbers) => (Some(numbers), None),
            Beginning::GradStats(stats) => (None, Some(stats.dispatches())),
        };
        let groups = self.groups.iter();
        let of_groups =
            groups.flat_map(|group| group.until_measured().chain(group.once_measured()));
        numbers
            .into_iter()
            .chain(stats.into_iter().flatten())
            .chain(of_groups)
    }

    pub fn try_map<E>(
        self,
        map: &mut impl FnMut(D) -> Result<E, Error>,
    ) -> Result<PlannedStep<E>, Error> {
        let beginning = match self.beginning {
            Beginning::Numbers(numbers) => Beginning::Numbers(map(numbers)?),
            Beginning::GradStats(stats) => Beginning::GradStats(Box::new(stats.try_map(map)?)),
        };
        let groups = self.groups.into_iter().map(|group| group.try_map(map));
        Ok(PlannedStep {
            device: self.device,
            beginning,
            shared_sums: self.shared_sums,
            groups: groups.collect::<Result<_, Error>>()?,
        })
    }
}

impl PlannedStep {
    /// Records the step for the groups that take part. Its numbers must be on their way.
    pub fn record(&self, encoder: &mut wgpu::CommandEncoder, takes_part: impl Fn(usize) -> bool) {
        self.shared_sums.clear(encoder, |group| !takes_part(group));
        let mut pass = compute_pass(encoder, "optimizer step");
        match &self.beginning {
            Beginning::Numbers(numbers) => numbers.record(&mut pass),
            Beginning::GradStats(stats) => stats.record(&mut pass, &takes_part),
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
#[derive(Debug)]
pub(super) struct ParamPasses<D = Dispatch> {
    /// Brings step counts before a switch, if there is anything to switch.
    pub recount: Option<D>,
    /// They switch between the parameters to train with and those to evaluate with. There are none for
    /// a rule whose parameters are the same for both.
    pub evaluate: Vec<Vec<D>>,
    pub train: Vec<Vec<D>>,
    /// They copy parameters in 16 bits.
    pub copy: Vec<Vec<D>>,
}

impl<D> Default for ParamPasses<D> {
    fn default() -> Self {
        Self {
            recount: None,
            evaluate: Vec::new(),
            train: Vec::new(),
            copy: Vec::new(),
        }
    }
}

impl<D> ParamPasses<D> {
    /// All dispatches.
    pub fn dispatches(&self) -> impl Iterator<Item = &D> {
        let groups = self.evaluate.iter().chain(&self.train).chain(&self.copy);
        self.recount.iter().chain(groups.flatten())
    }

    pub fn try_map<E>(
        self,
        map: &mut impl FnMut(D) -> Result<E, Error>,
    ) -> Result<ParamPasses<E>, Error> {
        let recount = self.recount.map(&mut *map).transpose()?;
        let mut of_groups = |groups: Vec<Vec<D>>| {
            let groups = groups.into_iter().map(|group| each(group, map));
            groups.collect::<Result<Vec<_>, Error>>()
        };
        Ok(ParamPasses {
            recount,
            evaluate: of_groups(self.evaluate)?,
            train: of_groups(self.train)?,
            copy: of_groups(self.copy)?,
        })
    }
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
