use super::prelude::{
    Direction, Real, Rule, Step, bias_correction, decay_terms, direction, ema, pull,
};

direction! {
    /// AdaBound: Adam whose learning rates are held within bounds that close in on SGD's.
    ///
    /// `η = clip(lr·√(1−β2ᵗ)/(1−β1ᵗ)/(√v + eps), F(1 − 1/(γt+1)), F(1 + 1/(γt)))` with
    /// `F = final_lr·lr/lr₁`, lr₁ being the `lr` of this struct; `p ← p − η·m`.
    pub struct AdaBound("adabound") {
        /// Learning rate; a group starts with it. Not zero, since `final_lr` is relative to it.
        pub lr: f64 in EPS = 1e-3,
        pub beta1: f64 in BELOW_ONE = 0.9,
        pub beta2: f64 in BELOW_ONE = 0.999,
        pub eps: f64 in EPS = 1e-8,
        /// SGD's learning rate, at the end.
        pub final_lr: f64 in NON_NEGATIVE = 0.1,
        /// γ: how fast the bounds close.
        pub gamma: f64 in EPS = 1e-3,
        /// AMSBound: the maximum of v in place of v.
        pub amsbound: bool = false,
        /// Decoupled, or L2 without the flag below.
        pub weight_decay: f64 in NON_NEGATIVE = 0.0,
        /// Whether the decay acts beside the update, not through the gradient.
        pub decoupled_weight_decay: bool = true,
    }
    source: "Luo et al. 2019, arXiv:1902.09843, as in pytorch-optimizer.";
    decoupled_weight_decay: decay_terms(weight_decay, decoupled_weight_decay).1;
    constants: weight_decay = decay_terms(weight_decay, decoupled_weight_decay).0,
        pull_beta1 = pull(beta1), pull_beta2 = pull(beta2), eps,
        final_ratio = final_lr / lr;
    flags: AMSBOUND = amsbound;
    // The correction of the learning rate, and both bounds over F.
    at(t): [
        bias_correction(beta2, t).sqrt() / bias_correction(beta1, t),
        1.0 - 1.0 / (gamma * t as f64 + 1.0),
        1.0 + 1.0 / (gamma * t as f64),
    ];
    slots: exp_avg, exp_avg_sq.non_negative(), max_exp_avg_sq.exact().used_if(amsbound);
    wgsl: "rules/adabound";
}

impl Rule for AdaBound {}

impl Direction<3> for AdaBound {
    fn direction<T: Real>(&self, now: Step<T>) -> impl Fn(T, &mut [T; 3]) -> T + Copy {
        let [_, pull_beta1, pull_beta2, eps, final_ratio] = self.constants_as::<T, _>();
        let amsbound = self.amsbound;
        move |g, [exp_avg, exp_avg_sq, max_exp_avg_sq]| {
            *exp_avg = ema(*exp_avg, g, pull_beta1);
            *exp_avg_sq = ema(*exp_avg_sq, g * g, pull_beta2);
            let mut v = *exp_avg_sq;
            if amsbound {
                v = max_exp_avg_sq.max(v);
                *max_exp_avg_sq = v;
            }
            let final_lr = final_ratio * now.lr;
            let eta = (now.lr * now.at[0] / (v.sqrt() + eps))
                .max(final_lr * now.at[1])
                .min(final_lr * now.at[2]);
            eta * *exp_avg
        }
    }

    /// The learning rate is in u.
    fn stepped<T: Real>(&self, now: Step<T>) -> impl Fn(T, T) -> T + Copy {
        move |p, u| p - (now.decay * p + u)
    }
}
