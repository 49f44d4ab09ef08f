use super::adam::{self, Amsgrad, Correction};
use super::prelude::{Direction, Real, Rule, Step, direction, pull};

direction! {
    /// AdamW: [`Adam`](crate::rules::Adam) with weight decay that acts beside the update, not through
    /// the gradient.
    ///
    /// `p ← p − (lr·weight_decay·p + lr·m̂/(√v̂ + eps))`.
    pub struct AdamW("adamw") {
        pub lr: f64 in NON_NEGATIVE = 1e-3,
        pub beta1: f64 in BELOW_ONE = 0.9,
        pub beta2: f64 in BELOW_ONE = 0.999,
        pub eps: f64 in EPS = 1e-8,
        /// `√(v̂ + eps)` in place of `√v̂ + eps`.
        pub eps_inside_root: bool = false,
        /// `lr·m̂·√(1−β2ᵗ)/(√v + eps)` in place of `lr·m̂/(√v̂ + eps)`, as in Keras; no matter where eps is
        /// inside the root or v stays uncorrected.
        pub eps_before_correction: bool = false,
        /// Whether the second moment may fall.
        pub amsgrad: Amsgrad = Amsgrad::Off,
        /// Dozat's simple form (`optax.nadamw`), as in [`Adam`](crate::rules::Adam).
        pub nesterov: bool = false,
        /// Decoupled.
        pub weight_decay: f64 in NON_NEGATIVE = 1e-2,
    }
    source: "Loshchilov & Hutter 2019, arXiv:1711.05101, as in `torch.optim.AdamW`.";
    decoupled_weight_decay: weight_decay;
    constants: pull_beta1 = pull(beta1), pull_beta2 = pull(beta2), eps;
    flags: NESTEROV = nesterov, AMSGRAD = amsgrad != Amsgrad::Off,
        EPS_INSIDE_ROOT = eps_inside_root;
    // The weights of m and of g in m̂, the correction of v before and after the maximum.
    at(t): Correction {
        beta1,
        beta2,
        amsgrad,
        nesterov,
        eps_before: eps_before_correction && !eps_inside_root,
    }.at(t);
    slots: exp_avg, exp_avg_sq.non_negative(), max_exp_avg_sq.exact().used_if(amsgrad != Amsgrad::Off);
    wgsl: "rules/adam", "root", "direction/step_and_decay";
}

impl Rule for AdamW {
    fn combinations(&self) -> &'static [&'static [(&'static str, &'static str)]] {
        &[&[("nesterov", "true"), ("amsgrad", "max_corrected")]]
    }
}

impl Direction<3> for AdamW {
    fn direction<T: Real>(&self, now: Step<T>) -> impl Fn(T, &mut [T; 3]) -> T + Copy {
        let amsgrad = self.amsgrad != Amsgrad::Off;
        let variant = [self.nesterov, amsgrad, self.eps_inside_root];
        adam::direction(self.constants_as(), variant, now)
    }
}
