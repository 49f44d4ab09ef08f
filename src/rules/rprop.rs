use super::prelude::{Block, Error, Real, Rule, Step, Twin, rule};

rule! {
    /// Rprop: a step size per parameter that grows while its gradient keeps its sign.
    ///
    /// `step_size` times `etaplus` or `etaminus` by the sign of `g·prev`, within `[step_size_min,
    /// step_size_max]`; where the sign changed, `g ← 0`; `p ← p − sign(g)·step_size`, `prev ← g`.
    ///
    /// For whole-batch gradients. Source: Riedmiller & Braun 1993, as in `torch.optim.Rprop`.
    pub struct Rprop("rprop") {
        /// What every step size starts at; not looked at afterwards.
        pub lr: f64 in NON_NEGATIVE = 1e-2,
        /// Factor where the sign changes.
        pub etaminus: f64 in (f32::MIN_POSITIVE as f64..1.0) = 0.5,
        /// Factor where the sign stays.
        pub etaplus: f64 in (1.0..) = 1.2,
        /// The smallest step.
        pub step_size_min: f64 in NON_NEGATIVE = 1e-6,
        /// The largest step; at least `step_size_min`.
        pub step_size_max: f64 in NON_NEGATIVE = 50.0,
    }
    constants: etaminus, etaplus, step_size_min, step_size_max;
    is_sign_based: true;
    squares_gradients: false;
    slots: prev.sensitive(), step_size.sensitive().starting_at(lr);
    wgsl: include_str!("../../shaders/rules/rprop.wgsl");
}

impl Rule for Rprop {
    fn check_combination(&self) -> Result<(), Error> {
        if self.step_size_min <= self.step_size_max {
            return Ok(());
        }
        Err(Error::Hyperparameter {
            rule: "rprop".to_owned(),
            name: "step_size_max".to_owned(),
            value: self.step_size_max.to_string(),
            allowed: format!("at least step_size_min = {}", self.step_size_min),
        })
    }
}

impl<T: Real> Twin<T> for Rprop {
    fn update(&self, block: Block<'_, T>, _: Step<T>) {
        let [etaminus, etaplus, step_size_min, step_size_max] = self.constants_as::<T, _>();
        block.each(move |p, grad, [prev, step_size]| {
            // Of the signs, since the product of small gradients underflows.
            let agreement = grad.sign() * prev.sign();
            let mut factor = T::one();
            if agreement > T::zero() {
                factor = etaplus;
            }
            if agreement < T::zero() {
                factor = etaminus;
            }
            *step_size = (*step_size * factor).max(step_size_min).min(step_size_max);
            let g = if agreement < T::zero() {
                T::zero()
            } else {
                grad
            };
            *prev = g;
            p - g.sign() * *step_size
        });
    }
}
