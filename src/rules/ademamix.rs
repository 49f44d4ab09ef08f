use super::prelude::{Direction, Real, Rule, Step, bias_correction, direction, ema, pull};

direction! {
    /// AdEMAMix: Adam with a second, much slower mean of the gradient.
    ///
    /// `m_slow ← ema(m_slow, g, β3)`, not corrected; `p ← p − lr·(m̂ + α·m_slow)/(√v̂ + eps)`. Over the
    /// first `t_alpha_beta3` steps α and β3 rise to their values.
    pub struct AdEmaMix("ademamix") {
        pub lr: f64 in NON_NEGATIVE = 1e-3,
        pub beta1: f64 in BELOW_ONE = 0.9,
        pub beta2: f64 in BELOW_ONE = 0.999,
        pub beta3: f64 in BELOW_ONE = 0.9999,
        /// α: the weight of the slow mean.
        pub alpha: f64 in NON_NEGATIVE = 5.0,
        /// Steps in which α and β3 rise; 0 for none.
        pub t_alpha_beta3: f64 in NON_NEGATIVE = 0.0,
        pub eps: f64 in EPS = 1e-8,
        /// Decoupled.
        pub weight_decay: f64 in NON_NEGATIVE = 0.0,
    }
    source: "Pagliardini et al. 2024, arXiv:2409.03137, as in `optax.contrib.ademamix` and \
        pytorch-optimizer.";
    decoupled_weight_decay: weight_decay;
    constants: pull_beta1 = pull(beta1), pull_beta2 = pull(beta2), eps;
    // The correction of m, α, how far the slow mean moves, the correction of v.
    at(t): Mix { beta1, beta2, beta3, alpha, t_alpha_beta3 }.at(t);
    slots: exp_avg, exp_avg_slow, exp_avg_sq.non_negative();
    wgsl: "rules/ademamix", "direction/step_and_decay";
}

/// How the slow mean comes in.
struct Mix {
    beta1: f64,
    beta2: f64,
    beta3: f64,
    alpha: f64,
    t_alpha_beta3: f64,
}

impl Mix {
    fn at(&self, t: u64) -> [f64; 4] {
        let (alpha, beta3) = self.warmed_up(t);
        let [of_m, of_v] = [self.beta1, self.beta2].map(|beta| 1.0 / bias_correction(beta, t));
        [of_m, alpha, pull(beta3), of_v]
    }

    /// α and β3 of step `t`: linear in t, and linear in the half-life.
    fn warmed_up(&self, t: u64) -> (f64, f64) {
        // Zero steps are over at once, and so are -0.
        let progress = t as f64 / self.t_alpha_beta3.abs();
        if progress >= 1.0 || self.beta3 == 0.0 {
            return (self.alpha * progress.min(1.0), self.beta3);
        }
        let (fast, slow) = (self.beta1.ln(), self.beta3.ln());
        let beta3 = (slow / ((1.0 - progress) * slow / fast + progress)).exp();
        (self.alpha * progress, beta3.min(self.beta3))
    }
}

impl Rule for AdEmaMix {}

impl Direction<3> for AdEmaMix {
    fn direction<T: Real>(&self, now: Step<T>) -> impl Fn(T, &mut [T; 3]) -> T + Copy {
        let [pull_beta1, pull_beta2, eps] = self.constants_as::<T, _>();
        move |g, [exp_avg, exp_avg_slow, exp_avg_sq]| {
            *exp_avg = ema(*exp_avg, g, pull_beta1);
            *exp_avg_slow = ema(*exp_avg_slow, g, now.at[2]);
            *exp_avg_sq = ema(*exp_avg_sq, g * g, pull_beta2);
            let m_hat = now.at[0] * *exp_avg + now.at[1] * *exp_avg_slow;
            let v_hat = now.at[3] * *exp_avg_sq;
            m_hat / (v_hat.sqrt() + eps)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::AdEmaMix;
    use crate::Declaration;

    #[test]
    fn a_warm_up_of_minus_zero_steps_is_one_of_zero_steps() {
        let rule = |t_alpha_beta3| AdEmaMix {
            t_alpha_beta3,
            ..Default::default()
        };
        for t in [1, 2, 1000] {
            assert_eq!(rule(-0.0).at(t), rule(0.0).at(t));
        }
        assert!(rule(0.0).at(1).iter().all(|value| value.is_finite()));
    }
}
