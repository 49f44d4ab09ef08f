use super::prelude::{
    Direction, Real, Rule, Step, bias_correction, choice, direction, ema, pull, root,
};

direction! {
    /// Adam: the running mean of the gradient over the root of its running square.
    ///
    /// `m ← m + (1−β1)(g − m)`, `v ← v + (1−β2)(g² − v)`, `p ← p − lr·m̂/(√v̂ + eps)` with
    /// `m̂ = m/(1−β1ᵗ)`, `v̂ = v/(1−β2ᵗ)`.
    pub struct Adam("adam") {
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
        /// Dozat's simple form (`optax.nadam`): `m̂ = β1·m/(1−β1ᵗ⁺¹) + (1−β1)·g/(1−β1ᵗ)`.
        pub nesterov: bool = false,
        /// L2: added to the gradient. See [`AdamW`](crate::rules::AdamW) for the decoupled kind.
        pub weight_decay: f64 in NON_NEGATIVE = 0.0,
    }
    source: "Kingma & Ba 2015, arXiv:1412.6980, as in `torch.optim.Adam`.";
    constants: weight_decay, pull_beta1 = pull(beta1), pull_beta2 = pull(beta2), eps;
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
    wgsl: "rules/adam", "root", "direction/step";
}

choice! {
    /// Whether the second moment may fall, and where the maximum is taken (Reddi et al. 2018,
    /// arXiv:1904.09237; implementations differ).
    pub enum Amsgrad {
        /// Plain Adam.
        Off = "off",
        /// PyTorch: the maximum of v, then corrected by `1−β2ᵗ`.
        MaxRaw = "max_raw",
        /// optax: the maximum of v̂.
        MaxCorrected = "max_corrected",
        /// Textbooks: the maximum of v, never corrected (`optax.amsgrad(bias_correction_nu=False)`).
        MaxUncorrected = "max_uncorrected",
    }
}

/// What Adam and AdamW correct their moments by.
pub(super) struct Correction {
    pub beta1: f64,
    pub beta2: f64,
    pub amsgrad: Amsgrad,
    pub nesterov: bool,
    /// Whether eps is added to the root of the uncorrected moment.
    pub eps_before: bool,
}

impl Correction {
    /// The weights of m and of g in m̂, and what v is multiplied by before and after the maximum.
    pub fn at(&self, t: u64) -> [f64; 4] {
        let c1 = bias_correction(self.beta1, t);
        let c2 = bias_correction(self.beta2, t);
        let [of_m, of_g] = if self.nesterov {
            let next_c1 = bias_correction(self.beta1, t.saturating_add(1));
            [self.beta1 / next_c1, (1.0 - self.beta1) / c1]
        } else {
            [1.0 / c1, 0.0]
        };
        // m̂/(√(v/c2) + eps/√c2) is √c2·m̂/(√v + eps).
        let scale = if self.eps_before { c2.sqrt() } else { 1.0 };
        let [before, after] = match (self.amsgrad, self.eps_before) {
            (Amsgrad::MaxUncorrected, _) => return [of_m, of_g, 1.0, 1.0],
            (Amsgrad::Off | Amsgrad::MaxRaw, false) => [1.0, 1.0 / c2],
            (Amsgrad::Off | Amsgrad::MaxRaw, true) => [1.0, 1.0],
            (Amsgrad::MaxCorrected, false) => [1.0 / c2, 1.0],
            (Amsgrad::MaxCorrected, true) => [1.0 / c2, c2],
        };
        [scale * of_m, scale * of_g, before, after]
    }
}

/// What the learning rate multiplies, here and in AdamW.
pub(super) fn direction<T: Real>(
    [pull_beta1, pull_beta2, eps]: [T; 3],
    [nesterov, amsgrad, eps_inside_root]: [bool; 3],
    now: Step<T>,
) -> impl Fn(T, &mut [T; 3]) -> T + Copy {
    move |g, [exp_avg, exp_avg_sq, max_exp_avg_sq]| {
        *exp_avg = ema(*exp_avg, g, pull_beta1);
        *exp_avg_sq = ema(*exp_avg_sq, g * g, pull_beta2);
        let mut m_hat = now.at[0] * *exp_avg;
        if nesterov {
            m_hat = m_hat + now.at[1] * g;
        }
        let mut v = *exp_avg_sq;
        if amsgrad {
            v = max_exp_avg_sq.max(now.at[2] * v);
            *max_exp_avg_sq = v;
        }
        let v_hat = now.at[3] * v;
        m_hat / root(v_hat, eps, eps_inside_root)
    }
}

impl Rule for Adam {
    fn combinations(&self) -> &'static [&'static [(&'static str, &'static str)]] {
        &[&[("nesterov", "true"), ("amsgrad", "max_raw")]]
    }
}

impl Direction<3> for Adam {
    fn direction<T: Real>(&self, now: Step<T>) -> impl Fn(T, &mut [T; 3]) -> T + Copy {
        let [_, constants @ ..] = self.constants_as::<T, 4>();
        let amsgrad = self.amsgrad != Amsgrad::Off;
        direction(
            constants,
            [self.nesterov, amsgrad, self.eps_inside_root],
            now,
        )
    }
}
