use super::prelude::{Direction, Real, Rule, Step, bias_correction, direction, ema, pull, root};

direction! {
    /// AdaBelief: Adam that divides by how much the gradient differs from its running mean.
    ///
    /// `m ← m + (1−β1)(g − m)`, `s ← s + (1−β2)((g−m)² − s) + eps`, `p ← p − lr·m̂/(√ŝ + eps)`.
    pub struct AdaBelief("adabelief") {
        pub lr: f64 in NON_NEGATIVE = 1e-3,
        pub beta1: f64 in BELOW_ONE = 0.9,
        pub beta2: f64 in BELOW_ONE = 0.999,
        pub eps: f64 in EPS = 1e-16,
        /// `√(ŝ + eps)` in place of `√ŝ + eps`.
        pub eps_inside_root: bool = false,
        /// Whether eps is added to s at every step too; the textbook form (`false`) does not.
        pub eps_in_state: bool = true,
        /// Decoupled.
        pub weight_decay: f64 in NON_NEGATIVE = 0.0,
    }
    source: "Zhuang et al. 2020, arXiv:2010.07468, as in `optax.adabelief` with `eps_root = eps`.";
    decoupled_weight_decay: weight_decay;
    constants: beta1, pull_beta1 = pull(beta1), pull_beta2 = pull(beta2),
        eps_in_state = if eps_in_state { eps } else { 0.0 }, eps;
    flags: EPS_INSIDE_ROOT = eps_inside_root;
    // The corrections of m and of s.
    at(t): [1.0 / bias_correction(beta1, t), 1.0 / bias_correction(beta2, t)];
    slots: exp_avg, exp_avg_var.non_negative();
    wgsl: "rules/adabelief", "root", "direction/step_and_decay";
}

impl Rule for AdaBelief {}

impl Direction<2> for AdaBelief {
    fn direction<T: Real>(&self, now: Step<T>) -> impl Fn(T, &mut [T; 2]) -> T + Copy {
        let [beta1, pull_beta1, pull_beta2, eps_in_state, eps] = self.constants_as::<T, _>();
        let eps_inside_root = self.eps_inside_root;
        move |g, [exp_avg, exp_avg_var]| {
            let surprise = beta1 * (g - *exp_avg);
            *exp_avg = ema(*exp_avg, g, pull_beta1);
            *exp_avg_var = ema(*exp_avg_var, surprise * surprise, pull_beta2) + eps_in_state;
            let m_hat = now.at[0] * *exp_avg;
            let s_hat = now.at[1] * *exp_avg_var;
            m_hat / root(s_hat, eps, eps_inside_root)
        }
    }
}
