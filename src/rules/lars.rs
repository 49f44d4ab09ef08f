use super::prelude::{Block, Real, Rule, Shape, Stages, Step, Sums, Twin, ema, pull, rule};

rule! {
    /// LARS: momentum whose gradient is scaled, tensor by tensor, to the size of the parameters.
    ///
    /// `g' = g + wd·p`, `ratio = trust_coefficient·‖p‖/(‖g'‖ + eps)`, 1 where a norm is 0;
    /// `b ← μb + lr·ratio·g'`, `p ← p − b`. The learning rate is inside the buffer.
    pub struct Lars("lars") {
        pub lr: f64 in NON_NEGATIVE = 1e-3,
        /// μ.
        pub momentum: f64 in BELOW_ONE = 0.9,
        /// `p ← p − (lr·ratio·g' + μb)`.
        pub nesterov: bool = false,
        /// L2: goes through the gradient.
        pub weight_decay: f64 in NON_NEGATIVE = 0.0,
        /// How far a step may go, as a part of the parameters.
        pub trust_coefficient: f64 in NON_NEGATIVE = 1e-3,
        /// Added to the norm of the gradient.
        pub eps: f64 in NON_NEGATIVE = 0.0,
    }
    source: "You et al. 2017, arXiv:1708.03888, as in `optax.lars`.";
    constants: weight_decay, trust_coefficient, eps, momentum,
        pull_momentum = pull(momentum);
    flags: NESTEROV = nesterov;
    slots: momentum_buffer, trust_ratio.per_tensor();
    stages: Stages::sums_of_tensors(&["p_squared", "g_squared"], &[]);
    wgsl: include_str!("../../shaders/rules/lars.wgsl");
}

impl Rule for Lars {}

impl<T: Real> Twin<T> for Lars {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let [weight_decay, _, _, momentum, pull_momentum] = self.constants_as::<T, _>();
        let nesterov = self.nesterov;
        let [trust_ratio] = block.of_tensor();
        block.each(move |p, g, [momentum_buffer]| {
            let u = now.lr * trust_ratio * (g + weight_decay * p);
            let b = ema(*momentum_buffer, T::zero(), pull_momentum) + u;
            *momentum_buffer = b;
            if nesterov {
                return p - (u + momentum * b);
            }
            p - b
        });
    }

    fn measure(&self, block: Block<'_, T>, _now: Step<T>) -> Sums {
        let [weight_decay] = self.constants_as::<T, _>();
        block.sum(move |p, g, [_]| {
            let decayed = g + weight_decay * p;
            [p * p, decayed * decayed]
        })
    }

    fn conclude(&self, sums: [T; 4], tensor: &mut [T], _shape: Shape<T>, _now: Step<T>) {
        let [_, trust_coefficient, eps] = self.constants_as::<T, _>();
        let [p_squared, g_squared, ..] = sums;
        let is_zero = p_squared == T::zero() || g_squared == T::zero();
        let ratio = trust_coefficient * p_squared.sqrt() / (g_squared.sqrt() + eps);
        tensor[0] = if is_zero { T::one() } else { ratio };
    }
}
