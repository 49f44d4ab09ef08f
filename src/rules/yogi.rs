use crate::{
    Rule, Slot, Stages,
    cpu::{Block, Real, Shape, Step, Sums, Twin},
    hyperparameter::Hyperparameter,
    rules::{bias_correction, cautious},
};

/// Yogi: Adam whose second moment moves by the gradient's size, not by its distance.
///
/// `v ← v − (1−β2)·sign(v − g²)·g²`, `p ← p − lr·m̂/(√v̂ + eps)`.
///
/// Source: Zaheer et al. 2018, as in `optax.yogi`.
#[derive(Debug, Clone, PartialEq)]
pub struct Yogi {
    /// Learning rate; a group starts with it.
    pub lr: f64,
    /// β1 in `[0, 1)`.
    pub beta1: f64,
    /// β2 in `[0, 1)`.
    pub beta2: f64,
    /// Keeps the division from blowing up; at least 1.18e-38.
    pub eps: f64,
    /// What both moments start at.
    pub initial_accumulator_value: f64,
    /// Leave out elements whose update and gradient point different ways, and scale the others up for
    /// them. Liang et al. 2024, arXiv:2411.16085.
    pub cautious: bool,
    /// Climb in place of descending.
    pub maximize: bool,
}

impl Default for Yogi {
    fn default() -> Self {
        Self {
            lr: 1e-2,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-3,
            initial_accumulator_value: 1e-6,
            cautious: false,
            maximize: false,
        }
    }
}

impl Yogi {
    /// `Hyper` in shaders/rules/yogi.wgsl.
    fn hyper(&self) -> [f64; 3] {
        [1.0 - self.beta1, 1.0 - self.beta2, self.eps]
    }

    /// What the learning rate multiplies.
    fn direction<T: Real>(&self, now: Step<T>) -> impl Fn(T, &mut [T; 2]) -> T + Copy + use<T> {
        let [one_minus_beta1, one_minus_beta2, eps] = self.hyper().map(T::from_f64);
        move |g, [exp_avg, exp_avg_sq]| {
            *exp_avg = *exp_avg + one_minus_beta1 * (g - *exp_avg);
            let towards = (*exp_avg_sq - g * g).sign();
            *exp_avg_sq = *exp_avg_sq - one_minus_beta2 * towards * (g * g);
            let m_hat = now.at[0] * *exp_avg;
            let v_hat = now.at[1] * *exp_avg_sq;
            m_hat / (v_hat.sqrt() + eps)
        }
    }
}

impl Rule for Yogi {
    fn name(&self) -> &str {
        "yogi"
    }

    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![
            Hyperparameter::non_negative("lr", &mut self.lr),
            Hyperparameter::below_one("beta1", &mut self.beta1),
            Hyperparameter::below_one("beta2", &mut self.beta2),
            Hyperparameter::eps("eps", &mut self.eps),
            Hyperparameter::non_negative(
                "initial_accumulator_value",
                &mut self.initial_accumulator_value,
            ),
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
            Slot::element("exp_avg").starting_at(self.initial_accumulator_value),
            Slot::element("exp_avg_sq").starting_at(self.initial_accumulator_value),
            cautious::slot(self.cautious),
        ]
    }

    fn stages(&self) -> Stages {
        cautious::stages(self.cautious, &["exp_avg", "exp_avg_sq"])
    }

    fn constants(&self) -> Vec<f64> {
        self.hyper().to_vec()
    }

    /// The corrections of m and of v.
    fn at(&self, t: u64) -> [f64; 4] {
        [
            1.0 / bias_correction(self.beta1, t),
            1.0 / bias_correction(self.beta2, t),
            0.0,
            0.0,
        ]
    }

    fn wgsl(&self) -> &str {
        cautious::wgsl!("yogi", false, self.cautious)
    }
}

impl<T: Real> Twin<T> for Yogi {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let decayed = cautious::plain();
        let stepped = move |p, u| p - now.lr * u;
        cautious::each(block, self.cautious, decayed, self.direction(now), stepped);
    }

    fn measure(&self, block: Block<'_, T>, now: Step<T>) -> Sums {
        cautious::measure(block, cautious::plain(), self.direction(now))
    }

    fn conclude(&self, sums: [T; 4], tensor: &mut [T], shape: Shape<T>, _now: Step<T>) {
        cautious::conclude(sums, tensor, shape);
    }
}
