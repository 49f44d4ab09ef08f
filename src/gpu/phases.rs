//! The phases of one group's step.

use super::dispatch::Dispatch;

/// The dispatches of one group's step, in the order of the fields.
#[derive(Debug, Default)]
pub(super) struct GroupStep {
    /// What is kept of rows and columns moves.
    pub lines: Vec<Dispatch>,
    /// What the rule sums up is measured.
    pub measure: Vec<Dispatch>,
    /// The rule concludes from the sums.
    pub conclude: Option<Dispatch>,
    /// The rule fills its matrices.
    pub prepare: Vec<Dispatch>,
    /// They are orthogonalized or solved.
    pub matrices: Vec<Dispatch>,
    /// The rule updates the parameters.
    pub update: Vec<Dispatch>,
    /// Gradients are zeroed if the step is skipped; otherwise the update has done so.
    pub zero_if_skipped: Vec<Dispatch>,
}

impl GroupStep {
    /// What all groups do before any concludes: some sums are over more than one group.
    pub fn until_measured(&self) -> impl Iterator<Item = &Dispatch> {
        self.lines.iter().chain(&self.measure)
    }

    /// What each group does then.
    pub fn once_measured(&self) -> impl Iterator<Item = &Dispatch> {
        let concluded = self.conclude.iter().chain(&self.prepare);
        let updated = concluded.chain(&self.matrices).chain(&self.update);
        updated.chain(&self.zero_if_skipped)
    }

    /// All of it, and whether it happens if the step is skipped; if not, it does otherwise.
    pub fn conditional(&mut self) -> impl Iterator<Item = (&mut Dispatch, bool)> {
        let measured = self.lines.iter_mut().chain(&mut self.measure);
        let concluded = measured.chain(&mut self.conclude).chain(&mut self.prepare);
        let updated = concluded.chain(&mut self.matrices).chain(&mut self.update);
        let zeroed = self.zero_if_skipped.iter_mut().map(|zero| (zero, true));
        updated.map(|dispatch| (dispatch, false)).chain(zeroed)
    }
}
