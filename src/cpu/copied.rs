//! A second optimizer like one that is there, if there is memory for it. `Clone` would end the process.

use super::{
    Optimizer,
    group::{GroupState, TensorState},
};
use crate::{Error, rule::Real};

impl<T: Real> Optimizer<T> {
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(super) fn copied(&self) -> Result<Self, Error> {
        let mut copy = Self::with_options(&self.layout, self.options.clone())?;
        let Self {
            layout: _,
            arena: _,
            params,
            grads,
            groups,
            options: _,
            scaler,
            stats,
            evaluating,
        } = self;
        copy.params.copy_from_slice(params);
        copy.grads.copy_from_slice(grads);
        for (to, from) in copy.groups.iter_mut().zip(groups) {
            to.take_over(from);
        }
        copy.scaler = *scaler;
        copy.stats = stats.clone();
        copy.evaluating = *evaluating;
        Ok(copy)
    }
}

impl<T: Real> GroupState<T> {
    /// All that changes. `from` has the same rule and as many elements.
    fn take_over(&mut self, from: &Self) {
        let Self {
            rule: _,
            progress,
            skips,
            past,
            slots: _,
            encodings: _,
            state,
            coded,
            tensors,
            solved,
        } = from;
        self.progress = progress.clone();
        self.skips = skips.clone();
        self.past = past.clone();
        for (to, from) in self.state.iter_mut().zip(state) {
            to.copy_from_slice(from);
        }
        for (to, from) in self.coded.iter_mut().flatten().zip(coded.iter().flatten()) {
            to.take_over(from);
        }
        for (to, from) in self.tensors.iter_mut().zip(tensors) {
            to.take_over(from);
        }
        self.solved = *solved;
    }
}

impl<T: Real> TensorState<T> {
    fn take_over(&mut self, from: &Self) {
        let Self {
            elements: _,
            matrices: _,
            values,
            pairs,
            lines,
        } = from;
        self.values.copy_from_slice(values);
        self.pairs.copy_from_slice(pairs);
        if let (Some(to), Some(from)) = (&mut self.lines, lines) {
            to.take_over(from);
        }
    }
}
