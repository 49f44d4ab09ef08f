use super::prelude::{Direction, Real, Rule, Step, bias_correction, direction, ema, pull};

direction! {
    /// Adamax: Adam over the largest recent gradient in place of the root of the mean square.
    ///
    /// `m ← ema(m, g, β1)`, `u ← max(β2·u, |g| + eps)`, `p ← p − lr/(1−β1ᵗ)·m/u`.
    pub struct Adamax("adamax") {
        pub lr: f64 in NON_NEGATIVE = 2e-3,
        pub beta1: f64 in BELOW_ONE = 0.9,
        pub beta2: f64 in BELOW_ONE = 0.999,
        pub eps: f64 in EPS = 1e-8,
        /// Whether eps is added to `|g|` and so kept in u, as in PyTorch; else to u where it divides, as
        /// in Keras.
        pub eps_in_state: bool = true,
        /// L2: added to the gradient.
        pub weight_decay: f64 in NON_NEGATIVE = 0.0,
    }
    source: "Kingma & Ba 2015, arXiv:1412.6980, section 7.1, as in `torch.optim.Adamax`.";
    constants: weight_decay, pull_beta1 = pull(beta1), pull_beta2 = pull(beta2),
        eps_in_state = if eps_in_state { eps } else { 0.0 },
        eps = if eps_in_state { 0.0 } else { eps };
    // The correction of m.
    at(t): [1.0 / bias_correction(beta1, t)];
    slots: exp_avg, exp_inf.non_negative();
    wgsl: "rules/adamax", "direction/step";
}

impl Rule for Adamax {}

impl Direction<2> for Adamax {
    fn direction<T: Real>(&self, now: Step<T>) -> impl Fn(T, &mut [T; 2]) -> T + Copy {
        let [_, pull_beta1, pull_beta2, eps_in_state, eps] = self.constants_as::<T, _>();
        move |g, [exp_avg, exp_inf]| {
            *exp_avg = ema(*exp_avg, g, pull_beta1);
            let faded = ema(*exp_inf, T::zero(), pull_beta2);
            *exp_inf = faded.max(g.abs() + eps_in_state);
            let m_hat = now.at[0] * *exp_avg;
            m_hat / (*exp_inf + eps)
        }
    }
}
