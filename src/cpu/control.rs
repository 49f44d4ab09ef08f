//! What a caller sets for each group: learning rates, step counts and the like.

use super::{Optimizer, group::GroupState};
use crate::{
    Error, Group, Rule,
    progress::{Progress, Skips},
    rule::Real,
};

impl<T: Real> Optimizer<T> {
    /// The learning rate of `group`'s next step.
    pub fn lr(&self, group: Group) -> Result<f64, Error> {
        Ok(self.progress(group)?.lr())
    }

    /// Sets the learning rate of `group` from the next step on.
    ///
    /// # Errors
    /// [`Error::Hyperparameter`] unless `lr` is finite and not negative.
    pub fn set_lr(&mut self, group: Group, lr: f64) -> Result<(), Error> {
        let (progress, rule) = self.progress_mut(group)?;
        progress.set_lr(rule, lr)
    }

    /// Steps that `group` has performed.
    pub fn step_count(&self, group: Group) -> Result<u64, Error> {
        let recorded = self.progress(group)?.step_count();
        Ok(recorded - self.groups[group.0].skips.count)
    }

    /// Continues from another step count, for instance after loading a checkpoint.
    ///
    /// # Errors
    /// [`Error::StepCount`] above 2⁵²; [`Error::Evaluating`] after [`evaluate`](Self::evaluate).
    pub fn set_step_count(&mut self, group: Group, t: u64) -> Result<(), Error> {
        self.check_training()?;
        self.progress_mut(group)?.0.set_step_count(t)?;
        self.groups[group.0].skips = Skips::default();
        self.groups[group.0].past.clear();
        Ok(())
    }

    /// A number that `group`'s rule keeps once per group, such as `"weight_sum"`, after the performed
    /// steps.
    ///
    /// # Errors
    /// [`Error::UnknownState`] lists the names that exist.
    pub fn group_state(&self, group: Group, slot: &str) -> Result<f64, Error> {
        let rule = self.layout.rule(group)?;
        let performed = self.step_count(group)?;
        let past = &self.groups[group.0].past;
        self.progress(group)?.state_at(past, rule, slot, performed)
    }

    /// Sets a number that `group`'s rule keeps once per group, for instance after loading a
    /// checkpoint. Steps from the next on follow from it. If steps were skipped since the
    /// [step count](Self::set_step_count) was set, coefficients of as many steps are still due before.
    ///
    /// # Errors
    /// [`Error::UnknownState`]; [`Error::Hyperparameter`] for a `value` that the rule cannot keep
    /// ([`Slot::allowed`](crate::Slot::allowed)).
    pub fn set_group_state(&mut self, group: Group, slot: &str, value: f64) -> Result<(), Error> {
        self.layout.check_group(group)?;
        let GroupState {
            progress,
            past,
            rule,
            ..
        } = &mut self.groups[group.0];
        progress.set_state(past, &**rule, slot, value)
    }

    /// Freezes `group`, or unfreezes it. Steps leave a frozen group's parameters, state and step
    /// count as they are.
    pub fn set_frozen(&mut self, group: Group, frozen: bool) -> Result<(), Error> {
        self.progress_mut(group)?.0.frozen = frozen;
        Ok(())
    }

    /// Says that the inputs of `group`'s rule have new values for its next step. Write them through
    /// [`state_mut`](Self::state_mut).
    pub fn refresh(&mut self, group: Group) -> Result<(), Error> {
        self.progress_mut(group)?.0.refreshed = true;
        Ok(())
    }

    fn progress(&self, group: Group) -> Result<&Progress, Error> {
        self.layout.check_group(group)?;
        Ok(&self.groups[group.0].progress)
    }

    fn progress_mut(&mut self, group: Group) -> Result<(&mut Progress, &dyn Rule), Error> {
        self.layout.check_group(group)?;
        let GroupState { progress, rule, .. } = &mut self.groups[group.0];
        Ok((progress, &**rule))
    }
}
