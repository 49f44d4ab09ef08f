//! The phases of one group's step.

use super::dispatch::Dispatch;
use crate::Error;

/// The dispatches of one group's step. They run in the order of the fields.
#[derive(Debug)]
pub(super) struct GroupStep<D = Dispatch> {
    /// They update the state of rows and columns.
    pub lines: Vec<D>,
    /// They measure what the rule sums up.
    pub measure: Vec<D>,
    /// The rule draws its conclusions from the sums.
    pub conclude: Vec<D>,
    /// The rule fills its matrices.
    pub prepare: Vec<D>,
    /// They orthogonalize or solve the matrices.
    pub matrices: Vec<D>,
    /// The rule updates the parameters.
    pub update: Vec<D>,
    /// They zero the gradients of a skipped step. Otherwise the update has done so.
    pub zero_if_skipped: Vec<D>,
}

impl<D> Default for GroupStep<D> {
    fn default() -> Self {
        Self {
            lines: Vec::new(),
            measure: Vec::new(),
            conclude: Vec::new(),
            prepare: Vec::new(),
            matrices: Vec::new(),
            update: Vec::new(),
            zero_if_skipped: Vec::new(),
        }
    }
}

impl<D> GroupStep<D> {
    /// What every group does before any group concludes. Some sums are over more than one group.
    pub fn until_measured(&self) -> impl Iterator<Item = &D> {
        self.lines.iter().chain(&self.measure)
    }

    /// What each group does after that.
    pub fn once_measured(&self) -> impl Iterator<Item = &D> {
        let concluded = self.conclude.iter().chain(&self.prepare);
        let updated = concluded.chain(&self.matrices).chain(&self.update);
        updated.chain(&self.zero_if_skipped)
    }

    /// All dispatches. Those with `true` run if the step is skipped, the others if it is not.
    pub fn conditional(&mut self) -> impl Iterator<Item = (&mut D, bool)> {
        let measured = self.lines.iter_mut().chain(&mut self.measure);
        let concluded = measured.chain(&mut self.conclude).chain(&mut self.prepare);
        let updated = concluded.chain(&mut self.matrices).chain(&mut self.update);
        let zeroed = self.zero_if_skipped.iter_mut().map(|zero| (zero, true));
        updated.map(|dispatch| (dispatch, false)).chain(zeroed)
    }
    pub fn try_map<E>(
        self,
        map: &mut impl FnMut(D) -> Result<E, Error>,
    ) -> Result<GroupStep<E>, Error> {
        Ok(GroupStep {
            lines: each(self.lines, map)?,
            measure: each(self.measure, map)?,
            conclude: each(self.conclude, map)?,
            prepare: each(self.prepare, map)?,
            matrices: each(self.matrices, map)?,
            update: each(self.update, map)?,
            zero_if_skipped: each(self.zero_if_skipped, map)?,
        })
    }
}

/// `map` of each of `dispatches`, or its first error.
pub(super) fn each<D, E>(
    dispatches: Vec<D>,
    map: &mut impl FnMut(D) -> Result<E, Error>,
) -> Result<Vec<E>, Error> {
    dispatches.into_iter().map(map).collect()
}
