//! What steps found and did.

/// The training statistics at some step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    /// The norm of all gradients of the last performed step: after division by the loss scale and
    /// the number of micro-batches, before clipping. `None` if steps do not inspect gradients
    /// ([`Options::skips`](crate::Options::skips)), or if no step was performed yet.
    pub grad_norm: Option<f64>,
    /// The factor by which [`Clip::GlobalNorm`](crate::Clip::GlobalNorm) scaled the gradients of
    /// that step. It is 1 without such clipping.
    pub clip_factor: f64,
    /// The factor for the next loss. It is 1 without a loss scale.
    pub loss_scale: f64,
    /// Steps performed since the loss scale changed, of those that let it grow: `_growth_tracker` of
    /// `torch.amp.GradScaler`.
    pub good_steps: u64,
    /// Steps performed.
    pub performed: u64,
    /// Steps skipped because of a NaN or an infinity.
    pub skipped: u64,
    /// The statistics of each group, in the layout's order.
    pub groups: Vec<GroupStats>,
}

/// The training statistics of one parameter group.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct GroupStats {
    /// The learning rate of its last step.
    pub lr: f64,
    /// Performed steps of this group.
    pub step_count: u64,
    /// Skipped steps of this group.
    pub skipped: u64,
    /// The largest λ with which its last performed step solved a system of equations. It is 0 for a
    /// rule that solves none.
    pub damping: f64,
    /// Failed factorisations so far. Each of them made some λ larger.
    pub failures: u64,
    /// Systems so far that had a NaN or an infinity, or had no solution for any λ. Their tensors
    /// did not change.
    pub unsolved: u64,
}
