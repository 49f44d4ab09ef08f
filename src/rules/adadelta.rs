use super::prelude::{Block, Real, Rule, Step, Twin, ema, pull, rule};

rule! {
    /// Adadelta: steps as large as the recent ones, over gradients as large as the recent ones.
    ///
    /// `s ← ema(s, g², ρ)`, `Δ = √(u+eps)/√(s+eps)·g`, `u ← ema(u, Δ², ρ)`, `p ← p − lr·Δ`.
    pub struct Adadelta("adadelta") {
        pub lr: f64 in NON_NEGATIVE = 1.0,
        /// ρ: how slowly both means move.
        pub rho: f64 in BELOW_ONE = 0.9,
        /// Inside both roots.
        pub eps: f64 in EPS = 1e-6,
        /// L2: added to the gradient.
        pub weight_decay: f64 in NON_NEGATIVE = 0.0,
    }
    source: "Zeiler 2012, arXiv:1212.5701, as in `torch.optim.Adadelta`.";
    constants: weight_decay, pull_rho = pull(rho), eps;
    slots: square_avg.non_negative(), acc_delta.non_negative();
    wgsl: include_str!("../../shaders/rules/adadelta.wgsl");
}

impl Rule for Adadelta {}

impl<T: Real> Twin<T> for Adadelta {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let [weight_decay, pull_rho, eps] = self.constants_as::<T, _>();
        block.each(move |p, grad, [square_avg, acc_delta]| {
            let g = grad + weight_decay * p;
            *square_avg = ema(*square_avg, g * g, pull_rho);
            let delta = (*acc_delta + eps).sqrt() / (*square_avg + eps).sqrt() * g;
            *acc_delta = ema(*acc_delta, (delta * delta).min(T::max_value()), pull_rho);
            p - now.lr * delta
        });
    }
}
