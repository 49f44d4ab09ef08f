use super::prelude::{Block, Real, Rule, Shape, Stages, Step, Sums, Twin, ema, pull, rule};

rule! {
    /// Momentum with a learning rate for each tensor, which grows while gradients agree with those before
    /// and shrinks while they do not.
    ///
    /// `s ← s·(1 ± factor)` by the sign of `⟨g, g_prev⟩`, but `lr·s` stays at least `min_lr` at the rule's own lr;
    /// `v ← μv − lr·s·g`; `p ← p + v`. The first step, which has no gradient before it, shrinks.
    pub struct GradientAgreement("gradient_agreement") {
        pub lr: f64 in NON_NEGATIVE = 1e-3,
        /// μ.
        pub momentum: f64 in BELOW_ONE = 0.9,
        /// How fast rates change. The textbook's 0.1 is for gradients of all data: those of
        /// small batches agree by chance, and want 0.01 or less.
        pub factor: f64 in BELOW_ONE = 0.1,
        /// The least that a tensor's rate shrinks to.
        pub min_lr: f64 in NON_NEGATIVE = 1e-6,
    }
    source: "a textbook's custom optimizer; the same idea per weight is Jacobs 1988, the delta-bar-delta \
        rule.";
    constants:
        pull_momentum = pull(momentum),
        factor,
        // Over the rule's own lr, lest a schedule that ends in zero leave a large scale behind.
        least = if lr > 0.0 { min_lr / lr } else { 0.0 };
    slots: momentum_buffer, prev_grad.sensitive(), lr_scale.per_tensor().starting_at(1.0);
    stages: Stages::sums_of_tensors(&["agreement"], &["prev_grad"]);
    wgsl: include_str!("../../shaders/rules/gradient_agreement.wgsl");
}

impl Rule for GradientAgreement {}

impl<T: Real> Twin<T> for GradientAgreement {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let [pull_momentum] = self.constants_as::<T, _>();
        let [lr_scale] = block.of_tensor();
        block.each(move |p, g, [momentum_buffer, prev_grad]| {
            *prev_grad = g;
            *momentum_buffer =
                ema(*momentum_buffer, T::zero(), pull_momentum) - now.lr * lr_scale * g;
            p + *momentum_buffer
        });
    }

    fn measure(&self, block: Block<'_, T>, _now: Step<T>) -> Sums {
        block.sum(|_, g, [_, prev_grad]| [g * prev_grad])
    }

    fn conclude(&self, sums: [T; 4], tensor: &mut [T], _shape: Shape<T>, _now: Step<T>) {
        let [_, factor, least] = self.constants_as::<T, _>();
        let [agreement, ..] = sums;
        let factor = if agreement > T::zero() {
            factor
        } else {
            -factor
        };
        let scale = tensor[0] + factor * tensor[0];
        tensor[0] = scale.max(least).min(T::from_f64(1e18));
    }
}
