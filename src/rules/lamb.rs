use crate::{
    Over, Rule, Slot, Stages, Sum,
    cpu::{Block, Real, Shape, Step, Sums, Twin},
    hyperparameter::Hyperparameter,
    rules::bias_correction,
};

/// LAMB: Adam whose step is scaled, tensor by tensor, to the size of the parameters.
///
/// `u = m̂/(√v̂ + eps) + wd·p`, `ratio = ‖p‖/‖u‖`, 1 where a norm is 0; `p ← p − lr·ratio·u`.
///
/// Source: You et al. 2020, arXiv:1904.00962, as in `optax.lamb`.
#[derive(Debug, Clone, PartialEq)]
pub struct Lamb {
    /// Learning rate; a group starts with it.
    pub lr: f64,
    /// β1 in `[0, 1)`.
    pub beta1: f64,
    /// β2 in `[0, 1)`.
    pub beta2: f64,
    /// Keeps the division from blowing up; at least 1.18e-38.
    pub eps: f64,
    /// Part of the step that is scaled.
    pub weight_decay: f64,
    /// Climb in place of descending.
    pub maximize: bool,
}

impl Default for Lamb {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-6,
            weight_decay: 0.0,
            maximize: false,
        }
    }
}

impl Lamb {
    /// `Hyper` in shaders/rules/lamb.wgsl.
    fn hyper(&self) -> [f64; 4] {
        [
            1.0 - self.beta1,
            1.0 - self.beta2,
            self.eps,
            self.weight_decay,
        ]
    }

    /// The step before it is scaled.
    fn direction<T: Real>(&self, now: Step<T>) -> impl Fn(T, T, &mut [T; 2]) -> T + Copy + use<T> {
        let [one_minus_beta1, one_minus_beta2, eps, weight_decay] = self.hyper().map(T::from_f64);
        move |p, g, [exp_avg, exp_avg_sq]| {
            *exp_avg = *exp_avg + one_minus_beta1 * (g - *exp_avg);
            *exp_avg_sq = *exp_avg_sq + one_minus_beta2 * (g * g - *exp_avg_sq);
            let m_hat = now.at[0] * *exp_avg;
            let v_hat = now.at[1] * *exp_avg_sq;
            m_hat / (v_hat.sqrt() + eps) + weight_decay * p
        }
    }
}

impl Rule for Lamb {
    fn name(&self) -> &str {
        "lamb"
    }

    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![
            Hyperparameter::non_negative("lr", &mut self.lr),
            Hyperparameter::below_one("beta1", &mut self.beta1),
            Hyperparameter::below_one("beta2", &mut self.beta2),
            Hyperparameter::eps("eps", &mut self.eps),
            Hyperparameter::non_negative("weight_decay", &mut self.weight_decay),
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
            Slot::element("exp_avg_sq"),
            Slot::tensor("trust_ratio"),
        ]
    }

    fn stages(&self) -> Stages {
        Stages::sum(Sum {
            names: &["p_squared", "u_squared"],
            over: Over::Tensor,
            reads: &["exp_avg", "exp_avg_sq"],
        })
    }

    fn constants(&self) -> Vec<f64> {
        self.hyper().to_vec()
    }

    /// The corrections of m and of v.
    fn at(&self, t: u64) -> [f64; 4] {
        let correction = |beta| 1.0 / bias_correction(beta, t);
        [correction(self.beta1), correction(self.beta2), 0.0, 0.0]
    }

    fn wgsl(&self) -> &str {
        include_str!("../../shaders/rules/lamb.wgsl")
    }
}

impl<T: Real> Twin<T> for Lamb {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let direction = self.direction(now);
        let [trust_ratio] = block.of_tensor();
        block.each(move |p, g, s| {
            let u = direction(p, g, s);
            p - now.lr * trust_ratio * u
        });
    }

    fn measure(&self, block: Block<'_, T>, now: Step<T>) -> Sums {
        let direction = self.direction(now);
        block.sum(move |p, g, mut s| {
            let u = direction(p, g, &mut s);
            [p * p, u * u]
        })
    }

    fn conclude(&self, sums: [T; 4], tensor: &mut [T], _shape: Shape<T>, _now: Step<T>) {
        let [p_squared, u_squared, ..] = sums;
        let is_zero = p_squared == T::zero() || u_squared == T::zero();
        let ratio = p_squared.sqrt() / u_squared.sqrt();
        tensor[0] = if is_zero { T::one() } else { ratio };
    }
}
