use super::prelude::{Direction, Real, Rule, Step, decay_terms, direction, ema, pull};

direction! {
    /// ADOPT: Adam that divides by the second moment of the step before, so that it converges for any
    /// β2.
    ///
    /// At first only `v = g²`; then `u = clip(g/max(√v, eps), ±t^clip_exponent)`, `m ← ema(m, u, β1)`,
    /// `p ← p − lr·m`, and only now `v ← ema(v, g², β2)`.
    pub struct Adopt("adopt") {
        pub lr: f64 in NON_NEGATIVE = 1e-3,
        pub beta1: f64 in BELOW_ONE = 0.9,
        pub beta2: f64 in BELOW_ONE = 0.9999,
        pub eps: f64 in EPS = 1e-6,
        /// How fast the bound on u grows with t.
        pub clip_exponent: f64 in NON_NEGATIVE = 0.25,
        /// L2, or decoupled with the flag below.
        pub weight_decay: f64 in NON_NEGATIVE = 0.0,
        /// Whether the decay acts beside the update, not through the gradient.
        pub decoupled_weight_decay: bool = false,
    }
    source: "Taniguchi et al. 2024, arXiv:2411.02853, as in pytorch-optimizer.";
    decoupled_weight_decay: decay_terms(weight_decay, decoupled_weight_decay).1;
    constants: weight_decay = decay_terms(weight_decay, decoupled_weight_decay).0, eps;
    // How far m and v move, and the bound on u: the first step moves only v, all the way.
    at(t): [
        pull(if t == 1 { 1.0 } else { beta1 }),
        pull(if t == 1 { 0.0 } else { beta2 }),
        (t as f64).powf(clip_exponent),
    ];
    slots: exp_avg, exp_avg_sq.non_negative();
    wgsl: "rules/adopt", "direction/step_and_decay";
}

impl Rule for Adopt {}

impl Direction<2> for Adopt {
    fn direction<T: Real>(&self, now: Step<T>) -> impl Fn(T, &mut [T; 2]) -> T + Copy {
        let [_, eps] = self.constants_as::<T, _>();
        move |g, [exp_avg, exp_avg_sq]| {
            let bound = now.at[2];
            let u = (g / exp_avg_sq.sqrt().max(eps)).max(-bound).min(bound);
            *exp_avg = ema(*exp_avg, u, now.at[0]);
            *exp_avg_sq = ema(*exp_avg_sq, g * g, now.at[1]);
            *exp_avg
        }
    }
}
