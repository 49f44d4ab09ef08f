use super::prelude::{Direction, Real, Rule, Step, bias_correction, direction, ema, pull};

direction! {
    /// Adan: Adam with Nesterov momentum by the difference of gradients.
    ///
    /// `d = g − g_prev` (0 at first), `m ← ema(m, g, β1)`, `δ ← ema(δ, d, β2)`,
    /// `n ← ema(n, (g + β2·d)², β3)`, `u = (m̂ + β2·δ̂)/(√n̂ + eps)`,
    /// `p ← (p − lr·u)/(1 + lr·weight_decay)`.
    pub struct Adan("adan") {
        pub lr: f64 in NON_NEGATIVE = 1e-3,
        pub beta1: f64 in BELOW_ONE = 0.98,
        pub beta2: f64 in BELOW_ONE = 0.92,
        pub beta3: f64 in BELOW_ONE = 0.99,
        pub eps: f64 in EPS = 1e-8,
        /// Proximal, or decoupled with the flag below.
        pub weight_decay: f64 in NON_NEGATIVE = 0.0,
        /// `p·(1 − lr·weight_decay) − lr·u` in place of the division.
        pub decoupled_weight_decay: bool = false,
    }
    source: "Xie et al. 2022, arXiv:2208.06677, as in pytorch-optimizer. (`optax.adan` is another \
        rule.)";
    decoupled_weight_decay: weight_decay;
    constants: pull_beta1 = pull(beta1), pull_beta2 = pull(beta2),
        pull_beta3 = pull(beta3), beta2, eps;
    flags: DECOUPLED = decoupled_weight_decay;
    // What m, δ and n are multiplied by; whether there is a gradient before.
    at(t): [
        1.0 / bias_correction(beta1, t),
        beta2 / bias_correction(beta2, t),
        1.0 / bias_correction(beta3, t),
        if t == 1 { 0.0 } else { 1.0 },
    ];
    slots: exp_avg, exp_avg_diff, exp_avg_sq.non_negative(), prev_grad.sensitive();
    wgsl: "rules/adan";
}

impl Rule for Adan {}

impl Direction<4> for Adan {
    fn direction<T: Real>(&self, now: Step<T>) -> impl Fn(T, &mut [T; 4]) -> T + Copy {
        let [pull_beta1, pull_beta2, pull_beta3, beta2, eps] = self.constants_as::<T, _>();
        move |g, [exp_avg, exp_avg_diff, exp_avg_sq, prev_grad]| {
            let d = now.at[3] * (g - *prev_grad);
            *prev_grad = g;
            *exp_avg = ema(*exp_avg, g, pull_beta1);
            *exp_avg_diff = ema(*exp_avg_diff, d, pull_beta2);
            let ahead = g + beta2 * d;
            *exp_avg_sq = ema(*exp_avg_sq, ahead * ahead, pull_beta3);
            let m_hat = now.at[0] * *exp_avg + now.at[1] * *exp_avg_diff;
            m_hat / ((now.at[2] * *exp_avg_sq).sqrt() + eps)
        }
    }

    fn stepped<T: Real>(&self, now: Step<T>) -> impl Fn(T, T) -> T + Copy {
        let decoupled = self.decoupled_weight_decay;
        move |p, u| {
            let change = now.decay * p + now.lr * u;
            if decoupled {
                return p - change;
            }
            p - change / (T::one() + now.decay)
        }
    }
}
