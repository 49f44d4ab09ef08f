use super::prelude::{Direction, Real, Rule, Step, direction, ema, pull};

direction! {
    /// Sophia: momentum over a running curvature, each element of the update clipped to ±1.
    ///
    /// Where the caller [refreshed](crate::Optimizer::refresh) the estimate ĥ:
    /// `h ← h + (1−β2)(ĥ − h)`. Always: `m ← m + (1−β1)(g − m)`,
    /// `p ← p − lr·clip(m/max(ρ·h, eps), ±1)`. Neither m nor h is bias-corrected.
    ///
    /// The caller fills the input `hessian_estimate` with an estimate of the Hessian's diagonal every
    /// ten steps or so: Hutchinson's `u ⊙ (H·u)`, or Gauss–Newton–Bartlett's `batch·ĝ²` with labels
    /// drawn from the model.
    pub struct Sophia("sophia") {
        pub lr: f64 in NON_NEGATIVE = 1e-4,
        pub beta1: f64 in BELOW_ONE = 0.965,
        pub beta2: f64 in BELOW_ONE = 0.99,
        /// ρ: the larger, the fewer elements are clipped.
        pub rho: f64 in NON_NEGATIVE = 0.04,
        /// Stands in for curvatures below it.
        pub eps: f64 in EPS = 1e-12,
        /// Decoupled.
        pub weight_decay: f64 in NON_NEGATIVE = 0.0,
    }
    source: "Liu et al. 2023, arXiv:2305.14342.";
    decoupled_weight_decay: weight_decay;
    constants: pull_beta1 = pull(beta1), pull_beta2 = pull(beta2), rho, eps;
    squares_gradients: false;
    slots: exp_avg, hessian, hessian_estimate.as_input();
    wgsl: "rules/sophia", "direction/step_and_decay";
}

impl Rule for Sophia {}

impl Direction<3> for Sophia {
    fn direction<T: Real>(&self, now: Step<T>) -> impl Fn(T, &mut [T; 3]) -> T + Copy {
        let [pull_beta1, pull_beta2, rho, eps] = self.constants_as::<T, _>();
        let one = T::one();
        let refreshed = now.refreshed > T::zero();
        move |g, [exp_avg, hessian, hessian_estimate]| {
            if refreshed {
                *hessian = ema(*hessian, *hessian_estimate, pull_beta2);
            }
            *exp_avg = ema(*exp_avg, g, pull_beta1);
            (*exp_avg / (rho * *hessian).max(eps)).max(-one).min(one)
        }
    }
}
