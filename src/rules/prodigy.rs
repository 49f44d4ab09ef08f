use super::prelude::{
    Block, Real, Rule, Shape, Stages, Step, Sums, Twin, bias_correction, ema, pull, rule,
};

rule! {
    /// Prodigy: Adam that finds its own learning rate: `lr` stays 1, `d` estimates the distance to go.
    ///
    /// `N ← β3·N + (d/d0)·dlr·Σ⟨g, p0−p⟩` and `s ← β3·s + (d/d0)·dlr·g` with `dlr = d·lr`, over all tensors of
    /// all groups of this rule; `d₊ = max(d, d_coef·N/Σ|s|)`; m and v are those of `d·g`;
    /// `p ← p − (wd·dlr·p + dlr·m/(√v + d₊·eps))`. State p0 is a copy of the first parameters.
    ///
    /// Groups of this rule in one layout have one d, also those that rest or have a rate of 0. They should
    /// differ in nothing but the rate and the weight decay, so that they come to the same. At a rate of 0 the
    /// moments of a group go on, unlike prodigyopt's; a group that rests keeps them.
    pub struct Prodigy("prodigy") {
        /// What the estimate is multiplied by; a group starts with it, and a schedule changes it.
        pub lr: f64 in NON_NEGATIVE = 1.0,
        pub beta1: f64 in BELOW_ONE = 0.9,
        pub beta2: f64 in BELOW_ONE = 0.999,
        /// β3; 0 is √β2.
        pub beta3: f64 in BELOW_ONE = 0.0,
        pub eps: f64 in EPS = 1e-8,
        /// Decoupled; what it takes is `dlr` times it.
        pub weight_decay: f64 in NON_NEGATIVE = 0.0,
        /// The first estimate.
        pub d0: f64 in (1e-20..=1e20) = 1e-6,
        /// What the estimate is multiplied by.
        pub d_coef: f64 in NON_NEGATIVE = 1.0,
        /// The most that d grows by in a step; 0 is without a limit.
        pub growth_rate: f64 in NON_NEGATIVE = 0.0,
        /// `dlr = d·lr·√(1−β2ᵗ)/(1−β1ᵗ)`.
        pub use_bias_correction: bool = false,
        /// d in place of dlr in s, for schedules that warm up.
        pub safeguard_warmup: bool = false,
    }
    source: "Mishchenko & Defazio 2024, arXiv:2306.06101, as in `optax.contrib.prodigy`; the options are \
        those of `prodigyopt.Prodigy`.";
    constants: pull_beta1 = pull(beta1), pull_beta2 = pull(beta2),
        pull_beta3 = pull(if beta3 == 0.0 { beta2.sqrt() } else { beta3 }), eps, weight_decay,
        d0, d_coef, growth_rate;
    flags: LIMITED = growth_rate > 0.0, SAFEGUARD_WARMUP = safeguard_warmup;
    // What dlr is d·lr times.
    at(t): match use_bias_correction {
        true => [bias_correction(beta2, t).sqrt() / bias_correction(beta1, t)],
        false => [1.0],
    };
    // d follows from p0 - p, which begins at zero. What rounding p0 to bf16 makes of that moves d as far as training.
    slots: exp_avg, exp_avg_sq.non_negative(), s.sensitive(), p0.exact(), d.per_tensor().starting_at(d0),
        d_max.per_tensor().starting_at(d0), d_numerator.per_tensor(),
        d_before.per_tensor().as_scratch(), dlr.per_tensor().as_scratch();
    stages: Stages::sums_of_everything(&["correlation", "s_magnitude"], &["s", "p0", "d"]);
    wgsl: include_str!("../../shaders/rules/prodigy.wgsl");
}

impl Prodigy {
    /// What becomes of s with a gradient, given d.
    fn s_moved<T: Real>(&self, now: Step<T>) -> impl Fn(T, T, T) -> T + Copy + use<T> {
        let [_, _, pull_beta3, _, _, d0] = self.constants_as::<T, _>();
        let rate = if self.safeguard_warmup {
            T::one()
        } else {
            now.lr * now.at[0]
        };
        move |s, g, d| ema(s, T::zero(), pull_beta3) + d / d0 * (d * rate) * g
    }
}

impl Rule for Prodigy {}

impl<T: Real> Twin<T> for Prodigy {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let [pull_beta1, pull_beta2, _, eps, weight_decay] = self.constants_as::<T, _>();
        let s_moved = self.s_moved(now);
        let [d, _, _, d_before, dlr] = block.of_tensor();
        // A normal number, or padding would divide zero by zero.
        let eps = (d * eps).max(T::from_f64(f32::MIN_POSITIVE.into()));
        block.each(move |p, grad, [exp_avg, exp_avg_sq, s, p0]| {
            if now.t == 1 {
                *p0 = p;
            }
            let g = d_before * grad;
            *exp_avg = ema(*exp_avg, g, pull_beta1);
            *exp_avg_sq = ema(*exp_avg_sq, g * g, pull_beta2);
            *s = s_moved(*s, grad, d_before);
            p - (weight_decay * dlr * p + dlr * *exp_avg / (exp_avg_sq.sqrt() + eps))
        });
    }

    fn measure(&self, block: Block<'_, T>, now: Step<T>) -> Sums {
        let s_moved = self.s_moved(now);
        let [d, ..] = block.of_tensor::<5>();
        // By the rate of its own group: d is that of all groups, whatever their rates are.
        let rate = now.lr * now.at[0];
        block.sum(move |p, g, [_, _, s, p0]| {
            let p0 = if now.t == 1 { p } else { p0 };
            [rate * (g * (p0 - p)), s_moved(s, g, d).abs()]
        })
    }

    fn conclude(&self, sums: [T; 4], tensor: &mut [T], _shape: Shape<T>, now: Step<T>) {
        let [_, _, pull_beta3, _, _, d0, d_coef, growth_rate] = self.constants_as::<T, _>();
        let [correlation, s_magnitude, ..] = sums;
        let [d, d_max, d_numerator, d_before, dlr] = tensor else {
            return;
        };
        *dlr = *d * now.lr * now.at[0];
        let faded = ema(*d_numerator, T::zero(), pull_beta3);
        *d_numerator = faded + *d / d0 * (*d * correlation);
        *d_before = *d;
        if s_magnitude > T::zero() {
            let d_hat = d_coef * *d_numerator / s_magnitude;
            *d_max = d_max.max(d_hat);
            if self.growth_rate > 0.0 {
                let first = if *d == d0 { d.max(d_hat) } else { *d };
                *d = d_max.min(first * growth_rate);
            } else {
                *d = *d_max;
            }
        } else {
            // There was no gradient yet: nothing moves.
            *dlr = T::zero();
        }
    }
}
