use super::prelude::{Block, Real, Rule, Shape, Stages, Step, Sums, Twin, ema, pull, rule};

rule! {
    /// NovoGrad: momentum of gradients that are normalized tensor by tensor.
    ///
    /// `V ← V + (1−β2)(‖g‖² − V)`, one number per tensor, at first `‖g‖²`; `a = g/(√V + eps) + wd·p`;
    /// `m ← β1·m + a`; `p ← p − lr·m`.
    pub struct NovoGrad("novograd") {
        pub lr: f64 in NON_NEGATIVE = 1e-3,
        pub beta1: f64 in BELOW_ONE = 0.9,
        pub beta2: f64 in BELOW_ONE = 0.25,
        pub eps: f64 in EPS = 1e-6,
        /// Added to the normalized gradient.
        pub weight_decay: f64 in NON_NEGATIVE = 0.0,
    }
    source: "Ginsburg et al. 2019, arXiv:1905.11286, as in `optax.novograd`.";
    constants: eps, weight_decay;
    // What the norm and the momentum so far are pulled by: the first step keeps nothing.
    at(t): if t == 1 { [pull(0.0); 2] } else { [pull(beta2), pull(beta1)] };
    slots: exp_avg, exp_avg_sq.per_tensor();
    stages: Stages::sums_of_tensors(&["g_squared"], &[]);
    wgsl: include_str!("../../shaders/rules/novograd.wgsl");
}

impl Rule for NovoGrad {}

impl<T: Real> Twin<T> for NovoGrad {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let [eps, weight_decay] = self.constants_as::<T, _>();
        let [exp_avg_sq] = block.of_tensor::<1>();
        let denominator = exp_avg_sq.sqrt() + eps;
        block.each(move |p, g, [exp_avg]| {
            let a = g / denominator + weight_decay * p;
            *exp_avg = ema(*exp_avg, T::zero(), now.at[1]) + a;
            p - now.lr * *exp_avg
        });
    }

    fn measure(&self, block: Block<'_, T>, _now: Step<T>) -> Sums {
        block.sum(|_, g, [_]| [g * g])
    }

    fn conclude(&self, sums: [T; 4], tensor: &mut [T], _shape: Shape<T>, now: Step<T>) {
        let [g_squared, ..] = sums;
        tensor[0] = ema(tensor[0], g_squared, now.at[0]);
    }
}
