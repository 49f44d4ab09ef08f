use crate::{
    Rule, Slot,
    cpu::{Block, Real, Step, Twin},
    hyperparameter::Hyperparameter,
    rules::bias_correction,
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
            maximize: false,
        }
    }
}

impl Yogi {
    /// `Hyper` in shaders/rules/yogi.wgsl.
    fn hyper(&self) -> [f64; 3] {
        [1.0 - self.beta1, 1.0 - self.beta2, self.eps]
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
        ]
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
        include_str!("../../shaders/rules/yogi.wgsl")
    }
}

impl<T: Real> Twin<T> for Yogi {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let [one_minus_beta1, one_minus_beta2, eps] = self.hyper().map(T::from_f64);
        block.each(move |p, g, [exp_avg, exp_avg_sq]| {
            *exp_avg = *exp_avg + one_minus_beta1 * (g - *exp_avg);
            let towards = (*exp_avg_sq - g * g).sign();
            *exp_avg_sq = *exp_avg_sq - one_minus_beta2 * towards * (g * g);
            let m_hat = now.at[0] * *exp_avg;
            let v_hat = now.at[1] * *exp_avg_sq;
            p - now.lr * m_hat / (v_hat.sqrt() + eps)
        });
    }
}
