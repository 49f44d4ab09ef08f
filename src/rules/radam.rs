use crate::{
    Rule, Slot, Stages,
    cpu::{Block, Real, Shape, Step, Sums, Twin},
    hyperparameter::{Hyperparameter, Interval},
    rules::{bias_correction, cautious, decay_terms, root},
};

/// RAdam: Adam that steps by momentum alone until the variance of its learning rate is tractable,
/// and rectifies it from then on.
///
/// `ρ∞ = 2/(1−β2) − 1`, `ρt = ρ∞ − 2tβ2ᵗ/(1−β2ᵗ)`; where `ρt > rho_threshold`:
/// `p ← p − lr·m̂·rt·√(1−β2ᵗ)/(√v + eps)` with
/// `rt = √((ρt−4)(ρt−2)ρ∞ / ((ρ∞−4)(ρ∞−2)ρt))`; elsewhere `p ← p − lr·m̂`.
///
/// Source: Liu et al. 2020, arXiv:1908.03265, as in `torch.optim.RAdam`.
#[derive(Debug, Clone, PartialEq)]
pub struct RAdam {
    /// Learning rate; a group starts with it.
    pub lr: f64,
    /// β1 in `[0, 1)`.
    pub beta1: f64,
    /// β2 in `[0, 1)`.
    pub beta2: f64,
    /// Keeps the division from blowing up; at least 1.18e-38.
    pub eps: f64,
    /// `rt/√(v̂ + eps)` in place of `rt·√(1−β2ᵗ)/(√v + eps)`.
    pub eps_inside_root: bool,
    /// `rt·√(1−β2ᵗ)/(√v + eps)` as in PyTorch; without it `rt/(√v̂ + eps)` as in optax. No matter
    /// where eps is inside the root.
    pub eps_before_correction: bool,
    /// 5 in PyTorch, 4 in the paper; at least 4, below which rt has no real value.
    pub rho_threshold: f64,
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

impl Default for RAdam {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            eps_inside_root: false,
            eps_before_correction: true,
            rho_threshold: 5.0,
            weight_decay: 0.0,
            decoupled_weight_decay: false,
            cautious: false,
            maximize: false,
        }
    }
}

impl RAdam {
    fn decay_terms(&self) -> (f64, f64) {
        decay_terms(self.weight_decay, self.decoupled_weight_decay)
    }

    /// `Hyper` in shaders/rules/radam.wgsl.
    fn hyper(&self) -> [f64; 4] {
        let (l2, _) = self.decay_terms();
        [l2, 1.0 - self.beta1, 1.0 - self.beta2, self.eps]
    }

    /// rt, if the variance is tractable at step `t`.
    fn rectification(&self, t: u64) -> Option<f64> {
        let limit = 2.0 / (1.0 - self.beta2) - 1.0;
        let correction = bias_correction(self.beta2, t);
        let rho = limit - 2.0 * t as f64 * (1.0 - correction) / correction;
        (rho > self.rho_threshold).then(|| {
            let at_t = (rho - 4.0) * (rho - 2.0) / rho;
            let at_limit = (limit - 4.0) * (limit - 2.0) / limit;
            (at_t / at_limit).sqrt()
        })
    }

    /// What the learning rate multiplies.
    fn direction<T: Real>(&self, now: Step<T>) -> impl Fn(T, &mut [T; 2]) -> T + Copy + use<T> {
        let [_, one_minus_beta1, one_minus_beta2, eps] = self.hyper().map(T::from_f64);
        let eps_inside_root = self.eps_inside_root;
        move |g, [exp_avg, exp_avg_sq]| {
            *exp_avg = *exp_avg + one_minus_beta1 * (g - *exp_avg);
            *exp_avg_sq = *exp_avg_sq + one_minus_beta2 * (g * g - *exp_avg_sq);
            let m_hat = now.at[0] * *exp_avg;
            let v_hat = now.at[1] * *exp_avg_sq;
            m_hat * (now.at[2] / root(v_hat, eps, eps_inside_root) + now.at[3])
        }
    }
}

impl Rule for RAdam {
    fn name(&self) -> &str {
        "radam"
    }

    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![
            Hyperparameter::non_negative("lr", &mut self.lr),
            Hyperparameter::below_one("beta1", &mut self.beta1),
            Hyperparameter::below_one("beta2", &mut self.beta2),
            Hyperparameter::eps("eps", &mut self.eps),
            Hyperparameter::flag("eps_inside_root", &mut self.eps_inside_root),
            Hyperparameter::flag("eps_before_correction", &mut self.eps_before_correction),
            Hyperparameter::number(
                "rho_threshold",
                &mut self.rho_threshold,
                Interval::at_least(4.0),
            ),
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

    fn flags(&self) -> Vec<(&'static str, bool)> {
        vec![("EPS_INSIDE_ROOT", self.eps_inside_root)]
    }

    /// The corrections of m and of v, the rectification, and 1 where there is none.
    fn at(&self, t: u64) -> [f64; 4] {
        let of_m = 1.0 / bias_correction(self.beta1, t);
        let correction = bias_correction(self.beta2, t);
        match self.rectification(t) {
            None => [of_m, 1.0, 0.0, 1.0],
            Some(r) if self.eps_before_correction && !self.eps_inside_root => {
                [of_m, 1.0, r * correction.sqrt(), 0.0]
            }
            Some(r) => [of_m, 1.0 / correction, r, 0.0],
        }
    }

    fn wgsl(&self) -> &str {
        cautious::wgsl!("radam" with "root", self.decay_terms().0 > 0.0, self.cautious)
    }
}

impl<T: Real> Twin<T> for RAdam {
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
