use crate::{
    Rule, Slot, Stages,
    cpu::{Block, Real, Shape, Step, Sums, Twin},
    hyperparameter::Hyperparameter,
    rules::{bias_correction, cautious},
};

/// Adamax: Adam over the largest recent gradient in place of the root of the mean square.
///
/// `m ← ema(m, g, β1)`, `u ← max(β2·u, |g| + eps)`, `p ← p − lr/(1−β1ᵗ)·m/u`.
///
/// Source: Kingma & Ba 2015, arXiv:1412.6980, section 7.1, as in `torch.optim.Adamax`.
#[derive(Debug, Clone, PartialEq)]
pub struct Adamax {
    /// Learning rate; a group starts with it.
    pub lr: f64,
    /// β1 in `[0, 1)`.
    pub beta1: f64,
    /// β2 in `[0, 1)`.
    pub beta2: f64,
    /// Keeps the division from blowing up; at least 1.18e-38.
    pub eps: f64,
    /// Whether eps is added to `|g|` and so kept in u, as in PyTorch; else to u where it divides, as
    /// in Keras.
    pub eps_in_state: bool,
    /// L2: added to the gradient.
    pub weight_decay: f64,
    /// Leave out elements whose update and gradient point different ways, and scale the others up for
    /// them. Liang et al. 2024, arXiv:2411.16085.
    pub cautious: bool,
    /// Climb in place of descending.
    pub maximize: bool,
}

impl Default for Adamax {
    fn default() -> Self {
        Self {
            lr: 2e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            eps_in_state: true,
            weight_decay: 0.0,
            cautious: false,
            maximize: false,
        }
    }
}

impl Adamax {
    /// `Hyper` in shaders/rules/adamax.wgsl.
    fn hyper(&self) -> [f64; 5] {
        let (eps_in_state, eps) = if self.eps_in_state {
            (self.eps, 0.0)
        } else {
            (0.0, self.eps)
        };
        [
            self.weight_decay,
            1.0 - self.beta1,
            1.0 - self.beta2,
            eps_in_state,
            eps,
        ]
    }

    /// What the learning rate multiplies.
    fn direction<T: Real>(&self, now: Step<T>) -> impl Fn(T, &mut [T; 2]) -> T + Copy + use<T> {
        let [_, one_minus_beta1, one_minus_beta2, eps_in_state, eps] =
            self.hyper().map(T::from_f64);
        move |g, [exp_avg, exp_inf]| {
            *exp_avg = *exp_avg + one_minus_beta1 * (g - *exp_avg);
            *exp_inf = (*exp_inf - one_minus_beta2 * *exp_inf).max(g.abs() + eps_in_state);
            let m_hat = now.at[0] * *exp_avg;
            m_hat / (*exp_inf + eps)
        }
    }
}

impl Rule for Adamax {
    fn name(&self) -> &str {
        "adamax"
    }

    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![
            Hyperparameter::non_negative("lr", &mut self.lr),
            Hyperparameter::below_one("beta1", &mut self.beta1),
            Hyperparameter::below_one("beta2", &mut self.beta2),
            Hyperparameter::eps("eps", &mut self.eps),
            Hyperparameter::flag("eps_in_state", &mut self.eps_in_state),
            Hyperparameter::non_negative("weight_decay", &mut self.weight_decay),
            Hyperparameter::flag("cautious", &mut self.cautious),
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
            Slot::element("exp_inf"),
            cautious::slot(self.cautious),
        ]
    }

    fn stages(&self) -> Stages {
        cautious::stages(self.cautious, &["exp_avg", "exp_inf"])
    }

    fn constants(&self) -> Vec<f64> {
        self.hyper().to_vec()
    }

    /// The correction of m.
    fn at(&self, t: u64) -> [f64; 4] {
        [1.0 / bias_correction(self.beta1, t), 0.0, 0.0, 0.0]
    }

    fn wgsl(&self) -> &str {
        cautious::wgsl!("adamax", self.weight_decay > 0.0, self.cautious)
    }
}

impl<T: Real> Twin<T> for Adamax {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let decayed = cautious::l2(self.weight_decay);
        let stepped = move |p, u| p - now.lr * u;
        cautious::each(block, self.cautious, decayed, self.direction(now), stepped);
    }

    fn measure(&self, block: Block<'_, T>, now: Step<T>) -> Sums {
        cautious::measure(block, cautious::l2(self.weight_decay), self.direction(now))
    }

    fn conclude(&self, sums: [T; 4], tensor: &mut [T], shape: Shape<T>, _now: Step<T>) {
        cautious::conclude(sums, tensor, shape);
    }
}
