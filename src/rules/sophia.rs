use crate::{
    Rule, Slot, Stages,
    cpu::{Block, Real, Shape, Step, Sums, Twin},
    hyperparameter::Hyperparameter,
    rules::cautious,
};

/// Sophia: momentum over a running curvature, each element of the update clipped to ±1.
///
/// Where the caller [refreshed](crate::Optimizer::refresh) the estimate ĥ:
/// `h ← h + (1−β2)(ĥ − h)`. Always: `m ← m + (1−β1)(g − m)`,
/// `p ← p − lr·clip(m/max(ρ·h, eps), ±1)`. Neither m nor h is bias-corrected.
///
/// The caller fills the input `hessian_estimate` with an estimate of the Hessian's diagonal every
/// ten steps or so: Hutchinson's `u ⊙ (H·u)`, or Gauss–Newton–Bartlett's `batch·ĝ²` with labels
/// drawn from the model.
///
/// Source: Liu et al. 2023, arXiv:2305.14342.
#[derive(Debug, Clone, PartialEq)]
pub struct Sophia {
    /// Learning rate; a group starts with it.
    pub lr: f64,
    /// β1 in `[0, 1)`.
    pub beta1: f64,
    /// β2 in `[0, 1)`.
    pub beta2: f64,
    /// ρ: the larger, the fewer elements are clipped.
    pub rho: f64,
    /// Stands in for curvatures below it; at least 1.18e-38.
    pub eps: f64,
    /// Decoupled.
    pub weight_decay: f64,
    /// Leave out elements whose update and gradient point different ways, and scale the others up for
    /// them. Liang et al. 2024, arXiv:2411.16085.
    pub cautious: bool,
    /// Climb in place of descending.
    pub maximize: bool,
}

impl Default for Sophia {
    fn default() -> Self {
        Self {
            lr: 1e-4,
            beta1: 0.965,
            beta2: 0.99,
            rho: 0.04,
            eps: 1e-12,
            weight_decay: 0.0,
            cautious: false,
            maximize: false,
        }
    }
}

impl Sophia {
    /// `Hyper` in shaders/rules/sophia.wgsl.
    fn hyper(&self) -> [f64; 4] {
        [1.0 - self.beta1, 1.0 - self.beta2, self.rho, self.eps]
    }

    /// What the learning rate multiplies.
    fn direction<T: Real>(&self, now: Step<T>) -> impl Fn(T, &mut [T; 3]) -> T + Copy + use<T> {
        let [one_minus_beta1, one_minus_beta2, rho, eps] = self.hyper().map(T::from_f64);
        let one = T::one();
        let refreshed = now.refreshed > T::zero();
        move |g, [exp_avg, hessian, hessian_estimate]| {
            if refreshed {
                *hessian = *hessian + one_minus_beta2 * (*hessian_estimate - *hessian);
            }
            *exp_avg = *exp_avg + one_minus_beta1 * (g - *exp_avg);
            (*exp_avg / (rho * *hessian).max(eps)).max(-one).min(one)
        }
    }
}

impl Rule for Sophia {
    fn name(&self) -> &str {
        "sophia"
    }

    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![
            Hyperparameter::non_negative("lr", &mut self.lr),
            Hyperparameter::below_one("beta1", &mut self.beta1),
            Hyperparameter::below_one("beta2", &mut self.beta2),
            Hyperparameter::non_negative("rho", &mut self.rho),
            Hyperparameter::eps("eps", &mut self.eps),
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
        vec![
            Slot::element("exp_avg"),
            Slot::element("hessian"),
            Slot::input("hessian_estimate"),
            cautious::slot(self.cautious),
        ]
    }

    fn stages(&self) -> Stages {
        cautious::stages(self.cautious, &["exp_avg", "hessian", "hessian_estimate"])
    }

    fn constants(&self) -> Vec<f64> {
        self.hyper().to_vec()
    }

    fn wgsl(&self) -> &str {
        cautious::wgsl!("sophia", false, self.cautious)
    }
}

impl<T: Real> Twin<T> for Sophia {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let decayed = cautious::plain();
        let stepped = move |p, u| p - (now.decay * p + now.lr * u);
        cautious::each(block, self.cautious, decayed, self.direction(now), stepped);
    }

    fn measure(&self, block: Block<'_, T>, now: Step<T>) -> Sums {
        cautious::measure(block, cautious::plain(), self.direction(now))
    }

    fn conclude(&self, sums: [T; 4], tensor: &mut [T], shape: Shape<T>, _now: Step<T>) {
        cautious::conclude(sums, tensor, shape);
    }
}
