//! A rule that looks at each parameter by itself: one WGSL function and its twin.
//!
//! It is AdaHB, "heavy ball by agreement": momentum whose rate per parameter grows while the gradient
//! keeps its sign. It is no published optimizer; it shows what a rule can have.

use wgpu_optim::{
    Rule,
    cpu::{Block, Real, Step, Twin},
    rule,
};

// The rule as users write it: numbers in f64, each with its range and its default, and switches. What
// follows from them sees the fields by their names.
rule! {
    /// Heavy ball by agreement.
    pub struct AdaHb("adahb") {
        pub lr: f64 in NON_NEGATIVE = 0.03,
        /// How much of the last step is taken again.
        pub momentum: f64 in BELOW_ONE = 0.9,
        /// Decoupled.
        pub weight_decay: f64 in NON_NEGATIVE = 0.0,
        /// How fast the rate follows the agreement of signs.
        pub rate: f64 in (0.0..=1.0) = 0.1,
        /// Classic heavy ball: no rate per parameter.
        pub plain: bool = false,
    }
    decoupled_weight_decay: weight_decay;
    constants: momentum, rate;
    flags: PLAIN = plain;
    // What depends on the step count alone is computed here, in f64: a warm-up over ten steps.
    at(t): [(t as f64 / 10.0).min(1.0)];
    // One number per parameter each. The second takes no memory if the flag leaves it unused.
    slots: momentum_buffer, agreement.used_if(!plain);
    wgsl: WGSL;
}

impl Rule for AdaHb {}

/// Four parameters at a time. `Hyper` has the constants and `State` the slots, by their names; `Step`
/// is the crate's: lr, decay (lr times the decoupled weight decay), t, at.
const WGSL: &str = "
fn update(p: vec4<f32>, g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    var u = g;
    if !PLAIN {
        let same = sign(g) * sign((*s).momentum_buffer);
        (*s).agreement += h.rate * (same - (*s).agreement);
        u = (1.0 + (*s).agreement) * g;
    }
    (*s).momentum_buffer = h.momentum * (*s).momentum_buffer + u;
    // at: the warm-up.
    return p - (now.decay * p + now.lr * now.at.x * (*s).momentum_buffer);
}
";

/// The same update on the CPU, once for f32 and f64, line for line as in WGSL.
impl<T: Real> Twin<T> for AdaHb {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let [momentum, rate] = self.constants_as::<T, _>();
        let (plain, one) = (self.plain, T::one());
        block.each(move |p, g, [momentum_buffer, agreement]| {
            let mut u = g;
            if !plain {
                let same = Real::sign(g) * Real::sign(*momentum_buffer);
                *agreement = *agreement + rate * (same - *agreement);
                u = (one + *agreement) * g;
            }
            *momentum_buffer = momentum * *momentum_buffer + u;
            p - (now.decay * p + now.lr * now.at[0] * *momentum_buffer)
        });
    }
}
