use super::prelude::{
    Direction, Real, Rule, Step, bias_correction, decay_terms, direction, ema, pull, root,
};

direction! {
    /// RAdam: Adam that steps by momentum alone until the variance of its learning rate is tractable,
    /// and rectifies it from then on.
    ///
    /// `ρ∞ = 2/(1−β2) − 1`, `ρt = ρ∞ − 2tβ2ᵗ/(1−β2ᵗ)`; where `ρt > rho_threshold`:
    /// `p ← p − lr·m̂·rt·√(1−β2ᵗ)/(√v + eps)` with
    /// `rt = √((ρt−4)(ρt−2)ρ∞ / ((ρ∞−4)(ρ∞−2)ρt))`; elsewhere `p ← p − lr·m̂`.
    pub struct RAdam("radam") {
        pub lr: f64 in NON_NEGATIVE = 1e-3,
        pub beta1: f64 in BELOW_ONE = 0.9,
        pub beta2: f64 in BELOW_ONE = 0.999,
        pub eps: f64 in EPS = 1e-8,
        /// `rt/√(v̂ + eps)` in place of `rt·√(1−β2ᵗ)/(√v + eps)`.
        pub eps_inside_root: bool = false,
        /// `rt·√(1−β2ᵗ)/(√v + eps)` as in PyTorch; without it `rt/(√v̂ + eps)` as in optax. No matter
        /// where eps is inside the root.
        pub eps_before_correction: bool = true,
        /// 5 in PyTorch, 4 in the paper; at least 4, below which rt has no real value.
        pub rho_threshold: f64 in (4.0..) = 5.0,
        /// L2, or decoupled with the flag below.
        pub weight_decay: f64 in NON_NEGATIVE = 0.0,
        /// Whether the decay acts beside the update, not through the gradient.
        pub decoupled_weight_decay: bool = false,
    }
    source: "Liu et al. 2020, arXiv:1908.03265, as in `torch.optim.RAdam`.";
    decoupled_weight_decay: decay_terms(weight_decay, decoupled_weight_decay).1;
    constants: weight_decay = decay_terms(weight_decay, decoupled_weight_decay).0,
        pull_beta1 = pull(beta1), pull_beta2 = pull(beta2), eps;
    flags: EPS_INSIDE_ROOT = eps_inside_root;
    // The corrections of m and of v, the rectification, and 1 where there is none.
    at(t): {
        let [of_m, of_v] = [beta1, beta2].map(|beta| 1.0 / bias_correction(beta, t));
        let eps_before = eps_before_correction && !eps_inside_root;
        match rectification(beta2, rho_threshold, t) {
            None => [of_m, 1.0, 0.0, 1.0],
            Some(r) if eps_before => [of_m, 1.0, r * bias_correction(beta2, t).sqrt(), 0.0],
            Some(r) => [of_m, of_v, r, 0.0],
        }
    };
    slots: exp_avg, exp_avg_sq.non_negative();
    wgsl: "rules/radam", "root", "direction/step_and_decay";
}

/// rt, if the variance is tractable at step `t`.
fn rectification(beta2: f64, rho_threshold: f64, t: u64) -> Option<f64> {
    let limit = 2.0 / (1.0 - beta2) - 1.0;
    let correction = bias_correction(beta2, t);
    let rho = limit - 2.0 * t as f64 * (1.0 - correction) / correction;
    (rho > rho_threshold).then(|| {
        let at_t = (rho - 4.0) * (rho - 2.0) / rho;
        let at_limit = (limit - 4.0) * (limit - 2.0) / limit;
        (at_t / at_limit).sqrt()
    })
}

impl Rule for RAdam {
    fn combinations(&self) -> &'static [&'static [(&'static str, &'static str)]] {
        &[
            &[("beta2", "0.9")],
            &[
                ("beta2", "0.9"),
                ("eps", "0.03"),
                ("eps_inside_root", "true"),
            ],
        ]
    }
}

impl Direction<2> for RAdam {
    fn direction<T: Real>(&self, now: Step<T>) -> impl Fn(T, &mut [T; 2]) -> T + Copy {
        let [_, pull_beta1, pull_beta2, eps] = self.constants_as::<T, _>();
        let eps_inside_root = self.eps_inside_root;
        move |g, [exp_avg, exp_avg_sq]| {
            *exp_avg = ema(*exp_avg, g, pull_beta1);
            *exp_avg_sq = ema(*exp_avg_sq, g * g, pull_beta2);
            let m_hat = now.at[0] * *exp_avg;
            let v_hat = now.at[1] * *exp_avg_sq;
            m_hat * (now.at[2] / root(v_hat, eps, eps_inside_root) + now.at[3])
        }
    }
}
