use crate::{
    Rule, Slot, Stages,
    cpu::{Block, Real, Shape, Step, Sums, Twin},
    hyperparameter::Hyperparameter,
    rules::{cautious, decay_terms},
};

/// ADOPT: Adam that divides by the second moment of the step before, so that it converges for any
/// β2.
///
/// At first only `v = g²`; then `u = clip(g/max(√v, eps), ±t^clip_exponent)`, `m ← ema(m, u, β1)`,
/// `p ← p − lr·m`, and only now `v ← ema(v, g², β2)`.
///
/// Source: Taniguchi et al. 2024, arXiv:2411.02853, as in pytorch-optimizer.
#[derive(Debug, Clone, PartialEq)]
pub struct Adopt {
    /// Learning rate; a group starts with it.
    pub lr: f64,
    /// β1 in `[0, 1)`.
    pub beta1: f64,
    /// β2 in `[0, 1)`.
    pub beta2: f64,
    /// Keeps the division from blowing up; at least 1.18e-38.
    pub eps: f64,
    /// How fast the bound on u grows with t.
    pub clip_exponent: f64,
    /// L2, or decoupled with the flag below.
    pub weight_decay: f64,
    /// Whether the decay acts beside the update, not through the gradient.
    pub decoupled_weight_decay: bool,
    /// Leave out elements whose update and gradient point different ways, and scale the others up for
    /// them. Liang et al. 2024, arXiv:2411.16085.
    pub cautious: bool,
    /// Climb in place of descending.
    pub maximize: bool,
}

impl Default for Adopt {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.9999,
            eps: 1e-6,
            clip_exponent: 0.25,
            weight_decay: 0.0,
            decoupled_weight_decay: false,
            cautious: false,
            maximize: false,
        }
    }
}

impl Adopt {
    fn decay_terms(&self) -> (f64, f64) {
        decay_terms(self.weight_decay, self.decoupled_weight_decay)
    }

    /// `Hyper` in shaders/rules/adopt.wgsl.
    fn hyper(&self) -> [f64; 2] {
        [self.decay_terms().0, self.eps]
    }

    /// What the learning rate multiplies.
    fn direction<T: Real>(&self, now: Step<T>) -> impl Fn(T, &mut [T; 2]) -> T + Copy + use<T> {
        let [_, eps] = self.hyper().map(T::from_f64);
        move |g, [exp_avg, exp_avg_sq]| {
            let bound = now.at[2];
            let u = (g / exp_avg_sq.sqrt().max(eps)).max(-bound).min(bound);
            *exp_avg = *exp_avg + now.at[0] * (u - *exp_avg);
            *exp_avg_sq = *exp_avg_sq + now.at[1] * (g * g - *exp_avg_sq);
            *exp_avg
        }
    }
}

impl Rule for Adopt {
    fn name(&self) -> &str {
        "adopt"
    }

    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![
            Hyperparameter::non_negative("lr", &mut self.lr),
            Hyperparameter::below_one("beta1", &mut self.beta1),
            Hyperparameter::below_one("beta2", &mut self.beta2),
            Hyperparameter::eps("eps", &mut self.eps),
            Hyperparameter::non_negative("clip_exponent", &mut self.clip_exponent),
            Hyperparameter::non_negative("weight_decay", &mut self.weight_decay),
            Hyperparameter::flag("decoupled_weight_decay", &mut self.decoupled_weight_decay),
            Hyperparameter::flag("cautious", &mut self.cautious),
            Hyperparameter::flag("maximize", &mut self.maximize),
        ]
    }

    fn lr(&self) -> f64 {
        self.lr
    }

    fn decoupled_weight_decay(&self) -> f64 {
        self.decay_terms().1
    }

    fn maximize(&self) -> bool {
        self.maximize
    }

    fn slots(&self) -> Vec<Slot> {
        vec![
            Slot::element("exp_avg"),
            Slot::element("exp_avg_sq"),
            cautious::slot(self.cautious),
        ]
    }

    fn stages(&self) -> Stages {
        cautious::stages(self.cautious, &["exp_avg", "exp_avg_sq"])
    }

    fn constants(&self) -> Vec<f64> {
        self.hyper().to_vec()
    }

    /// How far m and v move, and the bound on u: the first step moves only v, all the way.
    fn at(&self, t: u64) -> [f64; 4] {
        let bound = (t as f64).powf(self.clip_exponent);
        if t == 1 {
            return [0.0, 1.0, bound, 0.0];
        }
        [1.0 - self.beta1, 1.0 - self.beta2, bound, 0.0]
    }

    fn wgsl(&self) -> &str {
        cautious::wgsl!("adopt", self.decay_terms().0 > 0.0, self.cautious)
    }
}

impl<T: Real> Twin<T> for Adopt {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let decayed = cautious::l2(self.decay_terms().0);
        let stepped = move |p, u| p - (now.decay * p + now.lr * u);
        cautious::each(block, self.cautious, decayed, self.direction(now), stepped);
    }

    fn measure(&self, block: Block<'_, T>, now: Step<T>) -> Sums {
        cautious::measure(
            block,
            cautious::l2(self.decay_terms().0),
            self.direction(now),
        )
    }

    fn conclude(&self, sums: [T; 4], tensor: &mut [T], shape: Shape<T>, _now: Step<T>) {
        cautious::conclude(sums, tensor, shape);
    }
}
