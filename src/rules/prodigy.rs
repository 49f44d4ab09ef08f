use crate::{
    Over, Rule, Slot, Stages, Sum,
    cpu::{Block, Real, Shape, Step, Sums, Twin},
    hyperparameter::{Hyperparameter, Interval},
    rules::bias_correction,
};

/// Prodigy: Adam that finds its own learning rate: `lr` stays 1, `d` estimates the distance to go.
///
/// `N ← β3·N + (d/d0)·dlr·Σ⟨g, p0−p⟩` and `s ← β3·s + (d/d0)·dlr·g` with `dlr = d·lr`, over all tensors of
/// all groups of this rule; `d₊ = max(d, d_coef·N/Σ|s|)`; m and v are those of `d·g`;
/// `p ← p − (wd·dlr·p + dlr·m/(√v + d₊·eps))`. State p0 is a copy of the first parameters.
///
/// Groups of this rule in one layout should differ in nothing but the weight decay, so that they come
/// to the same d.
///
/// Source: Mishchenko & Defazio 2024, arXiv:2306.06101, as in `optax.contrib.prodigy`; the options are
/// those of `prodigyopt.Prodigy`.
#[derive(Debug, Clone, PartialEq)]
pub struct Prodigy {
    /// What the estimate is multiplied by; a group starts with it, and a schedule changes it.
    pub lr: f64,
    /// β1 in `[0, 1)`.
    pub beta1: f64,
    /// β2 in `[0, 1)`.
    pub beta2: f64,
    /// β3 in `[0, 1)`; 0 is √β2.
    pub beta3: f64,
    /// Keeps the division from blowing up; at least 1.18e-38.
    pub eps: f64,
    /// Decoupled.
    pub weight_decay: f64,
    /// The first estimate; from 1e-20 to 1e20.
    pub d0: f64,
    /// What the estimate is multiplied by.
    pub d_coef: f64,
    /// The most that d grows by in a step; 0 is without a limit.
    pub growth_rate: f64,
    /// `dlr = d·lr·√(1−β2ᵗ)/(1−β1ᵗ)`.
    pub use_bias_correction: bool,
    /// d in place of dlr in s, for schedules that warm up.
    pub safeguard_warmup: bool,
    /// Climb in place of descending.
    pub maximize: bool,
}

impl Default for Prodigy {
    fn default() -> Self {
        Self {
            lr: 1.0,
            beta1: 0.9,
            beta2: 0.999,
            beta3: 0.0,
            eps: 1e-8,
            weight_decay: 0.0,
            d0: 1e-6,
            d_coef: 1.0,
            growth_rate: 0.0,
            use_bias_correction: false,
            safeguard_warmup: false,
            maximize: false,
        }
    }
}

impl Prodigy {
    /// `Hyper` in shaders/rules/prodigy.wgsl.
    fn hyper(&self) -> [f64; 8] {
        let beta3 = match self.beta3 {
            0.0 => self.beta2.sqrt(),
            beta3 => beta3,
        };
        [
            1.0 - self.beta1,
            1.0 - self.beta2,
            1.0 - beta3,
            self.eps,
            self.weight_decay,
            self.d0,
            self.d_coef,
            self.growth_rate,
        ]
    }

    /// What becomes of s with a gradient, given d.
    fn s_moved<T: Real>(&self, now: Step<T>) -> impl Fn(T, T, T) -> T + Copy + use<T> {
        let [_, _, one_minus_beta3, _, _, d0, ..] = self.hyper().map(T::from_f64);
        let rate = if self.safeguard_warmup {
            T::one()
        } else {
            now.lr * now.at[0]
        };
        move |s, g, d| s + (d / d0 * (d * rate) * g - one_minus_beta3 * s)
    }
}

impl Rule for Prodigy {
    fn name(&self) -> &str {
        "prodigy"
    }

    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![
            Hyperparameter::non_negative("lr", &mut self.lr),
            Hyperparameter::below_one("beta1", &mut self.beta1),
            Hyperparameter::below_one("beta2", &mut self.beta2),
            Hyperparameter::below_one("beta3", &mut self.beta3),
            Hyperparameter::eps("eps", &mut self.eps),
            Hyperparameter::non_negative("weight_decay", &mut self.weight_decay),
            Hyperparameter::number("d0", &mut self.d0, Interval::new(1e-20, 1e20, true)),
            Hyperparameter::non_negative("d_coef", &mut self.d_coef),
            Hyperparameter::non_negative("growth_rate", &mut self.growth_rate),
            Hyperparameter::flag("use_bias_correction", &mut self.use_bias_correction),
            Hyperparameter::flag("safeguard_warmup", &mut self.safeguard_warmup),
            Hyperparameter::flag("maximize", &mut self.maximize),
        ]
    }

    fn lr(&self) -> f64 {
        self.lr
    }

    fn maximize(&self) -> bool {
        self.maximize
    }

    fn slots(&self) -> Vec<Slot> {
        vec![
            Slot::element("exp_avg"),
            Slot::element("exp_avg_sq"),
            Slot::element("s"),
            Slot::element("p0"),
            Slot::tensor("d").starting_at(self.d0),
            Slot::tensor("d_max").starting_at(self.d0),
            Slot::tensor("d_numerator"),
            Slot::tensor("d_before").as_scratch(),
            Slot::tensor("dlr").as_scratch(),
        ]
    }

    fn stages(&self) -> Stages {
        Stages::sum(Sum {
            names: &["correlation", "s_magnitude"],
            over: Over::Everything,
            reads: &["s", "p0", "d"],
        })
    }

    fn constants(&self) -> Vec<f64> {
        self.hyper().to_vec()
    }

    fn flags(&self) -> Vec<(&'static str, bool)> {
        vec![
            ("LIMITED", self.growth_rate > 0.0),
            ("SAFEGUARD_WARMUP", self.safeguard_warmup),
        ]
    }

    /// What dlr is d·lr times.
    fn at(&self, t: u64) -> [f64; 4] {
        if self.use_bias_correction {
            let correction = bias_correction(self.beta2, t).sqrt() / bias_correction(self.beta1, t);
            return [correction, 0.0, 0.0, 0.0];
        }
        [1.0, 0.0, 0.0, 0.0]
    }

    fn wgsl(&self) -> &str {
        include_str!("../../shaders/rules/prodigy.wgsl")
    }
}

impl<T: Real> Twin<T> for Prodigy {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let [one_minus_beta1, one_minus_beta2, _, eps, weight_decay, ..] =
            self.hyper().map(T::from_f64);
        let s_moved = self.s_moved(now);
        let [d, _, _, d_before, dlr] = block.of_tensor();
        // A normal number, or padding would divide zero by zero.
        let eps = (d * eps).max(T::from_f64(f32::MIN_POSITIVE.into()));
        block.each(move |p, grad, [exp_avg, exp_avg_sq, s, p0]| {
            if now.t == 1 {
                *p0 = p;
            }
            let g = d_before * grad;
            *exp_avg = *exp_avg + one_minus_beta1 * (g - *exp_avg);
            *exp_avg_sq = *exp_avg_sq + one_minus_beta2 * (g * g - *exp_avg_sq);
            *s = s_moved(*s, grad, d_before);
            p - (weight_decay * dlr * p + dlr * *exp_avg / (exp_avg_sq.sqrt() + eps))
        });
    }

    fn measure(&self, block: Block<'_, T>, now: Step<T>) -> Sums {
        let s_moved = self.s_moved(now);
        let [d, ..] = block.of_tensor::<5>();
        block.sum(move |p, g, [_, _, s, p0]| {
            let p0 = if now.t == 1 { p } else { p0 };
            [g * (p0 - p), s_moved(s, g, d).abs()]
        })
    }

    fn conclude(&self, sums: [T; 4], tensor: &mut [T], _shape: Shape<T>, now: Step<T>) {
        let [_, _, one_minus_beta3, _, _, d0, d_coef, growth_rate] = self.hyper().map(T::from_f64);
        let [correlation, s_magnitude, ..] = sums;
        let [d, d_max, d_numerator, d_before, dlr] = tensor else {
            return;
        };
        *dlr = *d * now.lr * now.at[0];
        *d_numerator =
            *d_numerator + (*d / d0 * *dlr * correlation - one_minus_beta3 * *d_numerator);
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
