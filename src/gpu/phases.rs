//! The phases of one group's step.

use super::dispatch::Dispatch;

/// The dispatches of one group's step. They run in the order of the fields.
#[derive(Debug, Default)]
pub(super) struct GroupStep {
    /// They update the state of rows and columns.
    pub lines: Vec<Dispatch>,
    /// They measure what the rule sums up.
    pub measure: Vec<Dispatch>,
    /// The rule draws its conclusions from the sums.
    pub conclude: Vec<Dispatch>,
    /// The rule fills its matrices.
    pub prepare: Vec<Dispatch>,
    /// They orthogonalize or solve the matrices.
    pub matrices: Vec<Dispatch>,
    /// The rule updates the parameters.
    pub update: Vec<Dispatch>,
    /// They zero the gradients of a skipped step. Otherwise the update has done so.
    pub zero_if_skipped: Vec<Dispatch>,
}

impl GroupStep {
    /// What every group does before any group concludes. Some sums are over more than one group.
    pub fn until_measured(&self) -> impl Iterator<Item = &Dispatch> {
        self.lines.iter().chain(&self.measure)
    }

    /// What each group does after that.
    pub fn once_measured(&self) -> impl Iterator<Item = &Dispatch> {
        let concluded = self.conclude.iter().chain(&self.prepare);
        let updated = concluded.chain(&self.matrices).chain(&self.update);
        updated.chain(&self.zero_if_skipped)
    }

    /// All dispatches. Those with `true` run if the step is skipped, the others if it is not.
    pub fn conditional(&mut self) -> impl Iterator<Item = (&mut Dispatch, bool)> {
        let measured = self.lines.iter_mut().chain(&mut self.measure);
        let concluded = measured.chain(&mut self.conclude).chain(&mut self.prepare);
        let updated = concluded.chain(&mut self.matrices).chain(&mut self.update);
        let zeroed = self.zero_if_skipped.iter_mut().map(|zero| (zero, true));
        updated.map(|dispatch| (dispatch, false)).chain(zeroed)
    }
}
