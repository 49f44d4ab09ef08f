//! What steps found and did.

/// How training goes, as of some step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    /// The norm of all gradients of the last step that was performed, loss scale and micro-batches
    /// divided out, before clipping. None if steps do not look at gradients
    /// ([`Options::skips`](crate::Options::skips)), or none was performed yet.
    pub grad_norm: Option<f64>,
    /// What [`Clip::GlobalNorm`](crate::Clip::GlobalNorm) multiplied the gradients of that step by; 1 otherwise.
    pub clip_factor: f64,
    /// What the next loss is to be multiplied by; 1 without a loss scale.
    pub loss_scale: f64,
    /// Steps performed.
    pub performed: u64,
    /// Steps skipped for a NaN or infinity.
    pub skipped: u64,
    /// Each group's, in the layout's order.
    pub groups: Vec<GroupStats>,
}

/// How one parameter group goes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct GroupStats {
    /// The learning rate of its last step.
    pub lr: f64,
    /// Its performed steps.
    pub step_count: u64,
    /// Its skipped steps.
    pub skipped: u64,
    /// The largest λ that its last performed step solved a system of equations with; 0 for a rule
    /// that solves none.
    pub damping: f64,
    /// Factorisations that failed so far, each of which made some λ larger.
    pub failures: u64,
    /// Systems so far that held a NaN or an infinity, or had no solution with any λ: their tensors
    /// stayed as they were.
    pub unsolved: u64,
}
