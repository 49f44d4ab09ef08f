use super::prelude::{Block, Real, Rule, Step, Twin, root, rule};

rule! {
    /// Adagrad: each parameter's learning rate falls with the sum of its squared gradients.
    ///
    /// `s ← s + g²`, `p ← p − lr/(1 + (t−1)·lr_decay) · g/(√s + eps)`.
    pub struct Adagrad("adagrad") {
        pub lr: f64 in NON_NEGATIVE = 1e-2,
        /// How fast the learning rate falls with the step count.
        pub lr_decay: f64 in NON_NEGATIVE = 0.0,
        /// What `sum` starts at.
        pub initial_accumulator_value: f64 in NON_NEGATIVE = 0.0,
        pub eps: f64 in EPS = 1e-10,
        /// `√(s + eps)` in place of `√s + eps`.
        pub eps_inside_root: bool = false,
        /// L2: added to the gradient.
        pub weight_decay: f64 in NON_NEGATIVE = 0.0,
    }
    source: "Duchi et al. 2011, as in `torch.optim.Adagrad`.";
    constants: weight_decay, eps;
    flags: WEIGHT_DECAY = weight_decay > 0.0, EPS_INSIDE_ROOT = eps_inside_root;
    // The decay of the learning rate.
    at(t): [1.0 / (1.0 + t.saturating_sub(1) as f64 * lr_decay)];
    slots: sum.non_negative().starting_at(initial_accumulator_value);
    wgsl: concat!(
        include_str!("../../shaders/rules/adagrad.wgsl"),
        "\n",
        include_str!("../../shaders/root.wgsl"),
    );
}

impl Rule for Adagrad {}

impl<T: Real> Twin<T> for Adagrad {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let [weight_decay, eps] = self.constants_as::<T, _>();
        let eps_inside_root = self.eps_inside_root;
        let decays = self.weight_decay > 0.0;
        block.each(move |p, grad, [sum]| {
            let mut g = grad;
            if decays {
                g = g + weight_decay * p;
            }
            *sum = (*sum + g * g).min(T::max_value());
            let lr = now.lr * now.at[0];
            p - lr * g / root(*sum, eps, eps_inside_root)
        });
    }
}
