use super::prelude::{
    Block, Real, Rule, Shape, Stages, Step, Sums, Twin, bias_correction, ema, pull, rule,
};

rule! {
    /// LAMB: Adam whose step is scaled, tensor by tensor, to the size of the parameters.
    ///
    /// `u = m̂/(√v̂ + eps) + wd·p`, `ratio = ‖p‖/‖u‖`, 1 where a norm is 0; `p ← p − lr·ratio·u`.
    pub struct Lamb("lamb") {
        pub lr: f64 in NON_NEGATIVE = 1e-3,
        pub beta1: f64 in BELOW_ONE = 0.9,
        pub beta2: f64 in BELOW_ONE = 0.999,
        pub eps: f64 in EPS = 1e-6,
        /// Part of the step that is scaled.
        pub weight_decay: f64 in NON_NEGATIVE = 0.0,
    }
    source: "You et al. 2020, arXiv:1904.00962, as in `optax.lamb`.";
    constants: pull_beta1 = pull(beta1), pull_beta2 = pull(beta2), eps, weight_decay;
    // The corrections of m and of v.
    at(t): [1.0 / bias_correction(beta1, t), 1.0 / bias_correction(beta2, t)];
    slots: exp_avg, exp_avg_sq.non_negative(), trust_ratio.per_tensor();
    stages: Stages::sums_of_tensors(&["p_squared", "u_squared"], &["exp_avg", "exp_avg_sq"]);
    wgsl: include_str!("../../shaders/rules/lamb.wgsl");
}

impl Lamb {
    /// The step before it is scaled.
    fn direction<T: Real>(&self, now: Step<T>) -> impl Fn(T, T, &mut [T; 2]) -> T + Copy + use<T> {
        let [pull_beta1, pull_beta2, eps, weight_decay] = self.constants_as::<T, _>();
        move |p, g, [exp_avg, exp_avg_sq]| {
            *exp_avg = ema(*exp_avg, g, pull_beta1);
            *exp_avg_sq = ema(*exp_avg_sq, g * g, pull_beta2);
            let m_hat = now.at[0] * *exp_avg;
            let v_hat = now.at[1] * *exp_avg_sq;
            m_hat / (v_hat.sqrt() + eps) + weight_decay * p
        }
    }
}

impl Rule for Lamb {}

impl<T: Real> Twin<T> for Lamb {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let direction = self.direction(now);
        let [trust_ratio] = block.of_tensor();
        block.each(move |p, g, s| {
            let u = direction(p, g, s);
            p - now.lr * trust_ratio * u
        });
    }

    fn measure(&self, block: Block<'_, T>, now: Step<T>) -> Sums {
        let direction = self.direction(now);
        block.sum(move |p, g, mut s| {
            let u = direction(p, g, &mut s);
            [p * p, u * u]
        })
    }

    fn conclude(&self, sums: [T; 4], tensor: &mut [T], _shape: Shape<T>, _now: Step<T>) {
        let [p_squared, u_squared, ..] = sums;
        let is_zero = p_squared == T::zero() || u_squared == T::zero();
        let ratio = p_squared.sqrt() / u_squared.sqrt();
        tensor[0] = if is_zero { T::one() } else { ratio };
    }
}
