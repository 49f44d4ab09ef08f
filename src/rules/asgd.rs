use super::prelude::{Block, Bound, Interval, Real, Rule, Step, Twin, ema, pull, rule};

rule! {
    /// ASGD: descent at a rate that falls by itself, and the average of where it has been in `ax`.
    ///
    /// `p ← p − lambd·η·p − η·g`, `ax ← ax + μ(p − ax)`; then, for the step after,
    /// `η = lr/(1 + lambd·lr·t)^alpha` and `μ = 1/max(1, t − t0)`. A changed `lr` so acts one step late.
    pub struct Asgd("asgd") {
        pub lr: f64 in NON_NEGATIVE = 1e-2,
        /// Decay of the parameter and, through `alpha`, of the rate.
        pub lambd: f64 in NON_NEGATIVE = 1e-4,
        /// How fast the rate falls.
        pub alpha: f64 in NON_NEGATIVE = 0.75,
        /// The step at which averaging starts; until then `ax` is the parameter.
        pub t0: f64 in NON_NEGATIVE = 1e6,
        /// L2: added to the gradient.
        pub weight_decay: f64 in NON_NEGATIVE = 0.0,
    }
    source: "Polyak & Juditsky 1992, as in `torch.optim.ASGD`.";
    constants: weight_decay;
    squares_gradients: false;
    // The product with lambd fits into an f32 too.
    slots: ax.sensitive(), eta.per_group().starting_at(-1.0)
        .within(Interval::new(0.0, f64::from(f32::MAX) / lambd.max(1.0), true));
    wgsl: include_str!("../../shaders/rules/asgd.wgsl");
}

impl Rule for Asgd {
    /// η, what it decays the parameter by, and what 1 − μ pulls.
    fn advance(&self, t: u64, lr: f64, history: &mut [f64]) -> [f64; 4] {
        let t = t as f64;
        let falling = |t: f64| lr / (1.0 + self.lambd * lr * t).powf(self.alpha);
        let eta = match history[0] {
            // As if the rate had always been this one.
            unknown if unknown < 0.0 => falling(t - 1.0),
            known => known,
        };
        history[0] = falling(t);
        let mu = 1.0 / (t - 1.0 - self.t0).max(1.0);
        [eta, self.lambd * eta, pull(1.0 - mu), 0.0]
    }
}

impl<T: Real> Twin<T> for Asgd {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let [weight_decay] = self.constants_as::<T, _>();
        let bound = Bound::of(self);
        block.each(move |p, grad, [ax]| {
            let g = grad + weight_decay * p;
            let updated = p - (now.at[1] * p + now.at[0] * g);
            *ax = ema(*ax, bound.held(updated), now.at[2]);
            updated
        });
    }
}
