use super::prelude::{Direction, Real, Rule, Step, direction, ema, pull};

direction! {
    /// Lion: the sign of an interpolation between momentum and gradient.
    ///
    /// `u = sign(m + (1−β1)(g − m))`, `m ← m + (1−β2)(g − m)`, `p ← p − (lr·weight_decay·p + lr·u)`.
    pub struct Lion("lion") {
        pub lr: f64 in NON_NEGATIVE = 1e-4,
        pub beta1: f64 in BELOW_ONE = 0.9,
        pub beta2: f64 in BELOW_ONE = 0.99,
        /// Decoupled.
        pub weight_decay: f64 in NON_NEGATIVE = 0.0,
    }
    source: "Chen et al. 2023, arXiv:2302.06675, as in `optax.lion`.";
    decoupled_weight_decay: weight_decay;
    constants: pull_beta1 = pull(beta1), pull_beta2 = pull(beta2);
    is_sign_based: true;
    squares_gradients: false;
    slots: exp_avg;
    wgsl: "rules/lion", "direction/step_and_decay";
}

impl Rule for Lion {}

impl Direction<1> for Lion {
    fn direction<T: Real>(&self, _now: Step<T>) -> impl Fn(T, &mut [T; 1]) -> T + Copy {
        let [pull_beta1, pull_beta2] = self.constants_as::<T, _>();
        move |g, [exp_avg]| {
            let u = ema(*exp_avg, g, pull_beta1).sign();
            *exp_avg = ema(*exp_avg, g, pull_beta2);
            u
        }
    }
}
