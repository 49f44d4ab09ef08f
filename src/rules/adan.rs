use crate::{
    Rule, Slot, Stages,
    cpu::{Block, Real, Shape, Step, Sums, Twin},
    hyperparameter::Hyperparameter,
    rules::{bias_correction, cautious},
};

/// Adan: Adam with Nesterov momentum by the difference of gradients.
///
/// `d = g − g_prev` (0 at first), `m ← ema(m, g, β1)`, `δ ← ema(δ, d, β2)`,
/// `n ← ema(n, (g + β2·d)², β3)`, `u = (m̂ + β2·δ̂)/(√n̂ + eps)`,
/// `p ← (p − lr·u)/(1 + lr·weight_decay)`.
///
/// Source: Xie et al. 2022, arXiv:2208.06677, as in pytorch-optimizer. (`optax.adan` is another
/// rule.)
#[derive(Debug, Clone, PartialEq)]
pub struct Adan {
    /// Learning rate; a group starts with it.
    pub lr: f64,
    /// β1 in `[0, 1)`.
    pub beta1: f64,
    /// β2 in `[0, 1)`.
    pub beta2: f64,
    /// β3 in `[0, 1)`.
    pub beta3: f64,
    /// Keeps the division from blowing up; at least 1.18e-38.
    pub eps: f64,
    /// Proximal, or decoupled with the flag below.
    pub weight_decay: f64,
    /// `p·(1 − lr·weight_decay) − lr·u` in place of the division.
    pub decoupled_weight_decay: bool,
    /// Leave out elements whose update and gradient point different ways, and scale the others up for
    /// them. Liang et al. 2024, arXiv:2411.16085.
    pub cautious: bool,
    /// Climb in place of descending.
    pub maximize: bool,
}

impl Default for Adan {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.98,
            beta2: 0.92,
            beta3: 0.99,
            eps: 1e-8,
            weight_decay: 0.0,
            decoupled_weight_decay: false,
            cautious: false,
            maximize: false,
        }
    }
}

impl Adan {
    /// `Hyper` in shaders/rules/adan.wgsl.
    fn hyper(&self) -> [f64; 5] {
        [
            1.0 - self.beta1,
            1.0 - self.beta2,
            1.0 - self.beta3,
            self.beta2,
            self.eps,
        ]
    }

    /// What the learning rate multiplies.
    fn direction<T: Real>(&self, now: Step<T>) -> impl Fn(T, &mut [T; 4]) -> T + Copy + use<T> {
        let [
            one_minus_beta1,
            one_minus_beta2,
            one_minus_beta3,
            beta2,
            eps,
        ] = self.hyper().map(T::from_f64);
        move |g, [exp_avg, exp_avg_diff, exp_avg_sq, prev_grad]| {
            let d = now.at[3] * (g - *prev_grad);
            *prev_grad = g;
            *exp_avg = *exp_avg + one_minus_beta1 * (g - *exp_avg);
            *exp_avg_diff = *exp_avg_diff + one_minus_beta2 * (d - *exp_avg_diff);
            let ahead = g + beta2 * d;
            *exp_avg_sq = *exp_avg_sq + one_minus_beta3 * (ahead * ahead - *exp_avg_sq);
            let m_hat = now.at[0] * *exp_avg + now.at[1] * *exp_avg_diff;
            m_hat / ((now.at[2] * *exp_avg_sq).sqrt() + eps)
        }
    }
}

impl Rule for Adan {
    fn name(&self) -> &str {
        "adan"
    }

    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![
            Hyperparameter::non_negative("lr", &mut self.lr),
            Hyperparameter::below_one("beta1", &mut self.beta1),
            Hyperparameter::below_one("beta2", &mut self.beta2),
            Hyperparameter::below_one("beta3", &mut self.beta3),
            Hyperparameter::eps("eps", &mut self.eps),
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
        self.weight_decay
    }

    fn maximize(&self) -> bool {
        self.maximize
    }

    fn slots(&self) -> Vec<Slot> {
        vec![
            Slot::element("exp_avg"),
            Slot::element("exp_avg_diff"),
            Slot::element("exp_avg_sq"),
            Slot::element("prev_grad"),
            cautious::slot(self.cautious),
        ]
    }

    fn stages(&self) -> Stages {
        cautious::stages(
            self.cautious,
            &["exp_avg", "exp_avg_diff", "exp_avg_sq", "prev_grad"],
        )
    }

    fn constants(&self) -> Vec<f64> {
        self.hyper().to_vec()
    }

    fn flags(&self) -> Vec<(&'static str, bool)> {
        vec![("DECOUPLED", self.decoupled_weight_decay)]
    }

    /// What m, δ and n are multiplied by; whether there is a gradient before.
    fn at(&self, t: u64) -> [f64; 4] {
        [
            1.0 / bias_correction(self.beta1, t),
            self.beta2 / bias_correction(self.beta2, t),
            1.0 / bias_correction(self.beta3, t),
            if t == 1 { 0.0 } else { 1.0 },
        ]
    }

    fn wgsl(&self) -> &str {
        cautious::wgsl!("adan", false, self.cautious)
    }
}

impl<T: Real> Twin<T> for Adan {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let decayed = cautious::plain();
        let decoupled = self.decoupled_weight_decay;
        let stepped = move |p, u| {
            let change = now.decay * p + now.lr * u;
            if decoupled {
                return p - change;
            }
            p - change / (T::one() + now.decay)
        };
        cautious::each(block, self.cautious, decayed, self.direction(now), stepped);
    }

    fn measure(&self, block: Block<'_, T>, now: Step<T>) -> Sums {
        cautious::measure(block, cautious::plain(), self.direction(now))
    }

    fn conclude(&self, sums: [T; 4], tensor: &mut [T], shape: Shape<T>, _now: Step<T>) {
        cautious::conclude(sums, tensor, shape);
    }
}
