use crate::{
    Rule, Slot, Stages,
    cpu::{Block, Real, Shape, Step, Sums, Twin},
    hyperparameter::Hyperparameter,
    rules::cautious,
};

/// Lion: the sign of an interpolation between momentum and gradient.
///
/// `u = sign(m + (1−β1)(g − m))`, `m ← m + (1−β2)(g − m)`, `p ← p − (lr·weight_decay·p + lr·u)`.
///
/// Source: Chen et al. 2023, arXiv:2302.06675, as in `optax.lion`.
#[derive(Debug, Clone, PartialEq)]
pub struct Lion {
    /// Learning rate; a group starts with it.
    pub lr: f64,
    /// β1 in `[0, 1)`.
    pub beta1: f64,
    /// β2 in `[0, 1)`.
    pub beta2: f64,
    /// Decoupled.
    pub weight_decay: f64,
    /// Leave out elements whose update and gradient point different ways, and scale the others up for
    /// them. Liang et al. 2024, arXiv:2411.16085.
    pub cautious: bool,
    /// Climb in place of descending.
    pub maximize: bool,
}

impl Default for Lion {
    fn default() -> Self {
        Self {
            lr: 1e-4,
            beta1: 0.9,
            beta2: 0.99,
            weight_decay: 0.0,
            cautious: false,
            maximize: false,
        }
    }
}

impl Lion {
    /// `Hyper` in shaders/rules/lion.wgsl.
    fn hyper(&self) -> [f64; 2] {
        [1.0 - self.beta1, 1.0 - self.beta2]
    }

    /// What the learning rate multiplies.
    fn direction<T: Real>(&self) -> impl Fn(T, &mut [T; 1]) -> T + Copy + use<T> {
        let [one_minus_beta1, one_minus_beta2] = self.hyper().map(T::from_f64);
        move |g, [exp_avg]| {
            let u = (*exp_avg + one_minus_beta1 * (g - *exp_avg)).sign();
            *exp_avg = *exp_avg + one_minus_beta2 * (g - *exp_avg);
            u
        }
    }
}

impl Rule for Lion {
    fn name(&self) -> &str {
        "lion"
    }

    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![
            Hyperparameter::non_negative("lr", &mut self.lr),
            Hyperparameter::below_one("beta1", &mut self.beta1),
            Hyperparameter::below_one("beta2", &mut self.beta2),
            Hyperparameter::non_negative("weight_decay", &mut self.weight_decay),
            Hyperparameter::flag("cautious", &mut self.cautious),
            Hyperparameter::flag("maximize", &mut self.maximize),
        ]
    }

    fn lr(&self) -> f64 {
        self.lr
    }

    fn decoupled_weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn maximize(&self) -> bool {
        self.maximize
    }

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::element("exp_avg"), cautious::slot(self.cautious)]
    }

    fn stages(&self) -> Stages {
        cautious::stages(self.cautious, &["exp_avg"])
    }

    fn constants(&self) -> Vec<f64> {
        self.hyper().to_vec()
    }

    fn wgsl(&self) -> &str {
        cautious::wgsl!("lion", false, self.cautious)
    }
}

impl<T: Real> Twin<T> for Lion {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let decayed = cautious::plain();
        let stepped = move |p, u| p - (now.decay * p + now.lr * u);
        cautious::each(block, self.cautious, decayed, self.direction(), stepped);
    }

    fn measure(&self, block: Block<'_, T>, _now: Step<T>) -> Sums {
        cautious::measure(block, cautious::plain(), self.direction())
    }

    fn conclude(&self, sums: [T; 4], tensor: &mut [T], shape: Shape<T>, _now: Step<T>) {
        cautious::conclude(sums, tensor, shape);
    }
}
