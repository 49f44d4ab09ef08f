use crate::{
    Rule, Slot, Stages,
    cpu::{Block, Real, Shape, Step, Sums, Twin},
    hyperparameter::Hyperparameter,
    rules::{bias_correction, cautious},
};

/// AdEMAMix: Adam with a second, much slower mean of the gradient.
///
/// `m_slow ← ema(m_slow, g, β3)`, not corrected; `p ← p − lr·(m̂ + α·m_slow)/(√v̂ + eps)`. Over the
/// first `t_alpha_beta3` steps α and β3 rise to their values.
///
/// Source: Pagliardini et al. 2024, arXiv:2409.03137, as in `optax.contrib.ademamix` and
/// pytorch-optimizer.
#[derive(Debug, Clone, PartialEq)]
pub struct AdEmaMix {
    /// Learning rate; a group starts with it.
    pub lr: f64,
    /// β1 in `[0, 1)`.
    pub beta1: f64,
    /// β2 in `[0, 1)`.
    pub beta2: f64,
    /// β3 in `[0, 1)`.
    pub beta3: f64,
    /// α: the weight of the slow mean.
    pub alpha: f64,
    /// Steps in which α and β3 rise; 0 for none.
    pub t_alpha_beta3: f64,
    /// Keeps the division from blowing up; at least 1.18e-38.
    pub eps: f64,
    /// Decoupled.
    pub weight_decay: f64,
    /// Leave out elements whose update and gradient point different ways, and scale the others up for
    /// them. Liang et al. 2024, arXiv:2411.16085.
    pub cautious: bool,
    /// Climb in place of descending.
    pub maximize: bool,
}

impl Default for AdEmaMix {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            beta3: 0.9999,
            alpha: 5.0,
            t_alpha_beta3: 0.0,
            eps: 1e-8,
            weight_decay: 0.0,
            cautious: false,
            maximize: false,
        }
    }
}

impl AdEmaMix {
    /// `Hyper` in shaders/rules/ademamix.wgsl.
    fn hyper(&self) -> [f64; 3] {
        [1.0 - self.beta1, 1.0 - self.beta2, self.eps]
    }

    /// α and β3 of step `t`: linear in t, and linear in the half-life.
    fn warmed_up(&self, t: u64) -> (f64, f64) {
        let progress = t as f64 / self.t_alpha_beta3;
        if progress >= 1.0 || self.beta3 == 0.0 {
            return (self.alpha * progress.min(1.0), self.beta3);
        }
        let (fast, slow) = (self.beta1.ln(), self.beta3.ln());
        let beta3 = (slow / ((1.0 - progress) * slow / fast + progress)).exp();
        (self.alpha * progress, beta3.min(self.beta3))
    }

    /// What the learning rate multiplies.
    fn direction<T: Real>(&self, now: Step<T>) -> impl Fn(T, &mut [T; 3]) -> T + Copy + use<T> {
        let [one_minus_beta1, one_minus_beta2, eps] = self.hyper().map(T::from_f64);
        move |g, [exp_avg, exp_avg_slow, exp_avg_sq]| {
            *exp_avg = *exp_avg + one_minus_beta1 * (g - *exp_avg);
            *exp_avg_slow = *exp_avg_slow + now.at[2] * (g - *exp_avg_slow);
            *exp_avg_sq = *exp_avg_sq + one_minus_beta2 * (g * g - *exp_avg_sq);
            let m_hat = now.at[0] * *exp_avg + now.at[1] * *exp_avg_slow;
            let v_hat = now.at[3] * *exp_avg_sq;
            m_hat / (v_hat.sqrt() + eps)
        }
    }
}

impl Rule for AdEmaMix {
    fn name(&self) -> &str {
        "ademamix"
    }

    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![
            Hyperparameter::non_negative("lr", &mut self.lr),
            Hyperparameter::below_one("beta1", &mut self.beta1),
            Hyperparameter::below_one("beta2", &mut self.beta2),
            Hyperparameter::below_one("beta3", &mut self.beta3),
            Hyperparameter::non_negative("alpha", &mut self.alpha),
            Hyperparameter::non_negative("t_alpha_beta3", &mut self.t_alpha_beta3),
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
            Slot::element("exp_avg_slow"),
            Slot::element("exp_avg_sq"),
            cautious::slot(self.cautious),
        ]
    }

    fn stages(&self) -> Stages {
        cautious::stages(self.cautious, &["exp_avg", "exp_avg_slow", "exp_avg_sq"])
    }

    fn constants(&self) -> Vec<f64> {
        self.hyper().to_vec()
    }

    /// The correction of m, α, how far the slow mean moves, the correction of v.
    fn at(&self, t: u64) -> [f64; 4] {
        let (alpha, beta3) = self.warmed_up(t);
        [
            1.0 / bias_correction(self.beta1, t),
            alpha,
            1.0 - beta3,
            1.0 / bias_correction(self.beta2, t),
        ]
    }

    fn wgsl(&self) -> &str {
        cautious::wgsl!("ademamix", false, self.cautious)
    }
}

impl<T: Real> Twin<T> for AdEmaMix {
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
