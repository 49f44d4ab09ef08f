use super::prelude::{Direction, Real, Rule, Step, bias_correction, direction, ema, pull};

direction! {
    /// Yogi: Adam whose second moment moves by the gradient's size, not by its distance.
    ///
    /// `v ← v − (1−β2)·sign(v − g²)·g²`, `p ← p − lr·m̂/(√v̂ + eps)`.
    pub struct Yogi("yogi") {
        pub lr: f64 in NON_NEGATIVE = 1e-2,
        pub beta1: f64 in BELOW_ONE = 0.9,
        pub beta2: f64 in BELOW_ONE = 0.999,
        pub eps: f64 in EPS = 1e-3,
        /// What both moments start at.
        pub initial_accumulator_value: f64 in NON_NEGATIVE = 1e-6,
    }
    source: "Zaheer et al. 2018, as in `optax.yogi`.";
    constants: pull_beta1 = pull(beta1), one_minus_beta2 = 1.0 - beta2, eps;
    // The corrections of m and of v.
    at(t): [1.0 / bias_correction(beta1, t), 1.0 / bias_correction(beta2, t)];
    slots: exp_avg.starting_at(initial_accumulator_value),
        exp_avg_sq.non_negative().starting_at(initial_accumulator_value);
    wgsl: "rules/yogi", "direction/step";
}

impl Rule for Yogi {}

impl Direction<2> for Yogi {
    fn direction<T: Real>(&self, now: Step<T>) -> impl Fn(T, &mut [T; 2]) -> T + Copy {
        let [pull_beta1, one_minus_beta2, eps] = self.constants_as::<T, _>();
        move |g, [exp_avg, exp_avg_sq]| {
            *exp_avg = ema(*exp_avg, g, pull_beta1);
            let towards = (*exp_avg_sq - g * g).sign();
            *exp_avg_sq = *exp_avg_sq - one_minus_beta2 * towards * (g * g);
            let m_hat = now.at[0] * *exp_avg;
            let v_hat = now.at[1] * *exp_avg_sq;
            m_hat / (v_hat.sqrt() + eps)
        }
    }
}
