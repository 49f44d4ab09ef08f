use super::prelude::{
    Direction, Real, Rule, Step, bias_correction, decay_terms, direction, ema, pull, root,
};

direction! {
    /// NAdam: Adam with Nesterov momentum whose weight warms up.
    ///
    /// `μt = β1(1 − ½·0.96^(tψ))`, `P = μ1·…·μt`,
    /// `p ← p − lr·[(1−μt)/(1−P)·g + μ₊/(1−Pμ₊)·m]/(√v̂ + eps)` with `μ₊` the μ of step t+1.
    pub struct NAdam("nadam") {
        pub lr: f64 in NON_NEGATIVE = 2e-3,
        pub beta1: f64 in BELOW_ONE = 0.9,
        pub beta2: f64 in BELOW_ONE = 0.999,
        pub eps: f64 in EPS = 1e-8,
        /// `√(v̂ + eps)` in place of `√v̂ + eps`.
        pub eps_inside_root: bool = false,
        /// ψ: how fast μ warms up.
        pub momentum_decay: f64 in NON_NEGATIVE = 4e-3,
        /// L2, or decoupled with the flag below.
        pub weight_decay: f64 in NON_NEGATIVE = 0.0,
        /// Whether the decay acts beside the update, not through the gradient.
        pub decoupled_weight_decay: bool = false,
    }
    source: "Dozat 2016, as in `torch.optim.NAdam`. (`optax.nadam` is [`Adam`](crate::rules::Adam) \
        with `nesterov`.)";
    decoupled_weight_decay: decay_terms(weight_decay, decoupled_weight_decay).1;
    constants: weight_decay = decay_terms(weight_decay, decoupled_weight_decay).0,
        pull_beta1 = pull(beta1), pull_beta2 = pull(beta2), eps;
    flags: EPS_INSIDE_ROOT = eps_inside_root;
    // The weights of m and of g in m̂, the correction of v.
    at(t): {
        let [of_m, of_g] = Momentum { beta1, momentum_decay }.weights(t);
        [of_m, of_g, 1.0 / bias_correction(beta2, t)]
    };
    slots: exp_avg, exp_avg_sq.non_negative();
    wgsl: "rules/nadam", "root", "direction/step_and_decay";
}

/// How much momentum counts.
struct Momentum {
    beta1: f64,
    momentum_decay: f64,
}

impl Momentum {
    /// The weights of m and of g in m̂.
    fn weights(&self, t: u64) -> [f64; 2] {
        let mu = self.mu(t as f64);
        let next_mu = self.mu(t as f64 + 1.0);
        let product = self.mu_product(t);
        [
            next_mu / (1.0 - product * next_mu),
            (1.0 - mu) / (1.0 - product),
        ]
    }

    fn mu(&self, t: f64) -> f64 {
        self.beta1 * (1.0 - 0.5 * 0.96f64.powf(t * self.momentum_decay))
    }

    /// `μ1·…·μt`, PyTorch's mu_product, at a cost that does not depend on t.
    fn mu_product(&self, t: u64) -> f64 {
        // ln ∏ (1 − ½rᵏ) for k = 1…t, as the series of the logarithm: its jth term sums (½rᵏ)ʲ/j
        // over k, a geometric sum. The terms halve, so 60 are more than f64 holds.
        let t = t as f64;
        let ln_r = self.momentum_decay * 0.96f64.ln();
        let mut warm_up = 0.0;
        for j in 1..=60 {
            let ln_r = f64::from(j) * ln_r;
            let sum = if ln_r == 0.0 {
                t
            } else {
                ln_r.exp() * (t * ln_r).exp_m1() / ln_r.exp_m1()
            };
            warm_up -= 0.5f64.powi(j) / f64::from(j) * sum;
        }
        self.beta1.powf(t) * warm_up.exp()
    }
}

impl Rule for NAdam {}

impl Direction<2> for NAdam {
    fn direction<T: Real>(&self, now: Step<T>) -> impl Fn(T, &mut [T; 2]) -> T + Copy {
        let [_, pull_beta1, pull_beta2, eps] = self.constants_as::<T, _>();
        let eps_inside_root = self.eps_inside_root;
        move |g, [exp_avg, exp_avg_sq]| {
            *exp_avg = ema(*exp_avg, g, pull_beta1);
            *exp_avg_sq = ema(*exp_avg_sq, g * g, pull_beta2);
            let m_hat = now.at[0] * *exp_avg + now.at[1] * g;
            let v_hat = now.at[2] * *exp_avg_sq;
            m_hat / root(v_hat, eps, eps_inside_root)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_product_is_that_of_its_factors() {
        for beta1 in [0.0, 0.5, 0.9, 0.9999] {
            for momentum_decay in [0.0, 1e-6, 4e-3, 0.3, 100.0] {
                let momentum = Momentum {
                    beta1,
                    momentum_decay,
                };
                let mut product = 1.0;
                for t in 1..=2000 {
                    product *= momentum.mu(t as f64);
                    let error = (momentum.mu_product(t) - product).abs();
                    // Where the product is a denormal it has few digits.
                    let name = format!("{beta1}, {momentum_decay} at {t}");
                    assert!(error <= 1e-12 * product + 1e-300, "{name}");
                }
                assert!(
                    momentum
                        .weights(1 << 52)
                        .iter()
                        .all(|value| value.is_finite())
                );
            }
        }
    }
}
