use super::prelude::{Block, Real, Rule, Step, Twin, ema, pull, rule};

rule! {
    /// Sign SGD, with momentum also called Signum: every parameter moves by lr.
    ///
    /// `b ← ema(b, g, μ)`, `p ← p − lr·sign(b)`.
    pub struct SignSgd("signsgd") {
        pub lr: f64 in NON_NEGATIVE = 1e-3,
        /// μ; 0 keeps no state.
        pub momentum: f64 in BELOW_ONE = 0.9,
    }
    source: "Bernstein et al. 2018, arXiv:1802.04434, as in `optax.signum`.";
    constants: pull_momentum = pull(momentum);
    is_sign_based: true;
    squares_gradients: false;
    slots: momentum_buffer.used_if(momentum > 0.0);
    wgsl: include_str!("../../shaders/rules/signsgd.wgsl");
}

impl Rule for SignSgd {}

impl<T: Real> Twin<T> for SignSgd {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let [pull_momentum] = self.constants_as::<T, _>();
        block.each(move |p, g, [momentum_buffer]| {
            let b = ema(*momentum_buffer, g, pull_momentum);
            *momentum_buffer = b;
            p - now.lr * b.sign()
        });
    }
}
