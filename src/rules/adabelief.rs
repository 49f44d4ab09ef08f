use crate::{
    Rule, Slot, Stages,
    cpu::{Block, Real, Shape, Step, Sums, Twin},
    hyperparameter::Hyperparameter,
    rules::{bias_correction, cautious, root},
};

/// AdaBelief: Adam that divides by how much the gradient differs from its running mean.
///
/// `m ← m + (1−β1)(g − m)`, `s ← s + (1−β2)((g−m)² − s) + eps`, `p ← p − lr·m̂/(√ŝ + eps)`.
///
/// Source: Zhuang et al. 2020, arXiv:2010.07468, as in `optax.adabelief` with `eps_root = eps`.
#[derive(Debug, Clone, PartialEq)]
pub struct AdaBelief {
    /// Learning rate; a group starts with it.
    pub lr: f64,
    /// β1 in `[0, 1)`.
    pub beta1: f64,
    /// β2 in `[0, 1)`.
    pub beta2: f64,
    /// Keeps the division from blowing up; at least 1.18e-38.
    pub eps: f64,
    /// `√(ŝ + eps)` in place of `√ŝ + eps`.
    pub eps_inside_root: bool,
    /// Whether eps is added to s at every step too; the textbook form (`false`) does not.
    pub eps_in_state: bool,
    /// Decoupled.
    pub weight_decay: f64,
    /// Leave out elements whose update and gradient point different ways, and scale the others up for
    /// them. Liang et al. 2024, arXiv:2411.16085.
    pub cautious: bool,
    /// Climb in place of descending.
    pub maximize: bool,
}

impl Default for AdaBelief {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-16,
            eps_inside_root: false,
            eps_in_state: true,
            weight_decay: 0.0,
            cautious: false,
            maximize: false,
        }
    }
}

impl AdaBelief {
    /// `Hyper` in shaders/rules/adabelief.wgsl.
    fn hyper(&self) -> [f64; 4] {
        let eps_in_state = if self.eps_in_state { self.eps } else { 0.0 };
        [1.0 - self.beta1, 1.0 - self.beta2, eps_in_state, self.eps]
    }

    /// What the learning rate multiplies.
    fn direction<T: Real>(&self, now: Step<T>) -> impl Fn(T, &mut [T; 2]) -> T + Copy + use<T> {
        let [one_minus_beta1, one_minus_beta2, eps_in_state, eps] = self.hyper().map(T::from_f64);
        let eps_inside_root = self.eps_inside_root;
        move |g, [exp_avg, exp_avg_var]| {
            *exp_avg = *exp_avg + one_minus_beta1 * (g - *exp_avg);
            let surprise = g - *exp_avg;
            *exp_avg_var = *exp_avg_var
                + (one_minus_beta2 * (surprise * surprise - *exp_avg_var) + eps_in_state);
            let m_hat = now.at[0] * *exp_avg;
            let s_hat = now.at[1] * *exp_avg_var;
            m_hat / root(s_hat, eps, eps_inside_root)
        }
    }
}

impl Rule for AdaBelief {
    fn name(&self) -> &str {
        "adabelief"
    }

    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![
            Hyperparameter::non_negative("lr", &mut self.lr),
            Hyperparameter::below_one("beta1", &mut self.beta1),
            Hyperparameter::below_one("beta2", &mut self.beta2),
            Hyperparameter::eps("eps", &mut self.eps),
            Hyperparameter::flag("eps_inside_root", &mut self.eps_inside_root),
            Hyperparameter::flag("eps_in_state", &mut self.eps_in_state),
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
            Slot::element("exp_avg_var"),
            cautious::slot(self.cautious),
        ]
    }

    fn stages(&self) -> Stages {
        cautious::stages(self.cautious, &["exp_avg", "exp_avg_var"])
    }

    fn constants(&self) -> Vec<f64> {
        self.hyper().to_vec()
    }

    fn flags(&self) -> Vec<(&'static str, bool)> {
        vec![("EPS_INSIDE_ROOT", self.eps_inside_root)]
    }

    /// The corrections of m and of s.
    fn at(&self, t: u64) -> [f64; 4] {
        [
            1.0 / bias_correction(self.beta1, t),
            1.0 / bias_correction(self.beta2, t),
            0.0,
            0.0,
        ]
    }

    fn wgsl(&self) -> &str {
        cautious::wgsl!("adabelief" with "root", false, self.cautious)
    }
}

impl<T: Real> Twin<T> for AdaBelief {
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
