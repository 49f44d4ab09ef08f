use crate::{
    Rule, Slot, Stages,
    cpu::{Block, Real, Shape, Step, Sums, Twin},
    hyperparameter::Hyperparameter,
    rules::{bias_correction, cautious, decay_terms, root},
};

/// NAdam: Adam with Nesterov momentum whose weight warms up.
///
/// `μt = β1(1 − ½·0.96^(tψ))`, `P = μ1·…·μt`,
/// `p ← p − lr·[(1−μt)/(1−P)·g + μ₊/(1−Pμ₊)·m]/(√v̂ + eps)` with `μ₊` the μ of step t+1.
///
/// Source: Dozat 2016, as in `torch.optim.NAdam`. (`optax.nadam` is [`Adam`](crate::rules::Adam)
/// with `nesterov`.)
#[derive(Debug, Clone, PartialEq)]
pub struct NAdam {
    /// Learning rate; a group starts with it.
    pub lr: f64,
    /// β1 in `[0, 1)`.
    pub beta1: f64,
    /// β2 in `[0, 1)`.
    pub beta2: f64,
    /// Keeps the division from blowing up; at least 1.18e-38.
    pub eps: f64,
    /// `√(v̂ + eps)` in place of `√v̂ + eps`.
    pub eps_inside_root: bool,
    /// ψ: how fast μ warms up.
    pub momentum_decay: f64,
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

impl Default for NAdam {
    fn default() -> Self {
        Self {
            lr: 2e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            eps_inside_root: false,
            momentum_decay: 4e-3,
            weight_decay: 0.0,
            decoupled_weight_decay: false,
            cautious: false,
            maximize: false,
        }
    }
}

impl NAdam {
    fn decay_terms(&self) -> (f64, f64) {
        decay_terms(self.weight_decay, self.decoupled_weight_decay)
    }

    /// `Hyper` in shaders/rules/nadam.wgsl.
    fn hyper(&self) -> [f64; 4] {
        let (l2, _) = self.decay_terms();
        [l2, 1.0 - self.beta1, 1.0 - self.beta2, self.eps]
    }

    fn mu(&self, t: f64) -> f64 {
        self.beta1 * (1.0 - 0.5 * 0.96f64.powf(t * self.momentum_decay))
    }

    /// `μ1·…·μt`, PyTorch's mu_product, at a cost that does not depend on t.
    fn mu_product(&self, t: u64) -> f64 {
        // ln ∏ (1 − ½rᵏ) for k = 1…t, as the series of the logarithm: its jth term sums (½rᵏ)ʲ/j
        // over k, a geometric sum. The terms halve, so 60 are more than f64 holds.
        let t = t as f64;
        let ln_r = self.momentum_decay * 0.96f64.ln();
        let mut warm_up = 0.0;
        for j in 1..=60 {
            let ln_r = f64::from(j) * ln_r;
            let sum = if ln_r == 0.0 {
                t
            } else {
                ln_r.exp() * (t * ln_r).exp_m1() / ln_r.exp_m1()
            };
            warm_up -= 0.5f64.powi(j) / f64::from(j) * sum;
        }
        self.beta1.powf(t) * warm_up.exp()
    }

    /// What the learning rate multiplies.
    fn direction<T: Real>(&self, now: Step<T>) -> impl Fn(T, &mut [T; 2]) -> T + Copy + use<T> {
        let [_, one_minus_beta1, one_minus_beta2, eps] = self.hyper().map(T::from_f64);
        let eps_inside_root = self.eps_inside_root;
        move |g, [exp_avg, exp_avg_sq]| {
            *exp_avg = *exp_avg + one_minus_beta1 * (g - *exp_avg);
            *exp_avg_sq = *exp_avg_sq + one_minus_beta2 * (g * g - *exp_avg_sq);
            let m_hat = now.at[0] * *exp_avg + now.at[1] * g;
            let v_hat = now.at[2] * *exp_avg_sq;
            m_hat / root(v_hat, eps, eps_inside_root)
        }
    }
}

impl Rule for NAdam {
    fn name(&self) -> &str {
        "nadam"
    }

    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![
            Hyperparameter::non_negative("lr", &mut self.lr),
            Hyperparameter::below_one("beta1", &mut self.beta1),
            Hyperparameter::below_one("beta2", &mut self.beta2),
            Hyperparameter::eps("eps", &mut self.eps),
            Hyperparameter::flag("eps_inside_root", &mut self.eps_inside_root),
            Hyperparameter::non_negative("momentum_decay", &mut self.momentum_decay),
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

    /// The weights of m and of g in m̂, the correction of v.
    fn at(&self, t: u64) -> [f64; 4] {
        let mu = self.mu(t as f64);
        let next_mu = self.mu(t as f64 + 1.0);
        let product = self.mu_product(t);
        [
            next_mu / (1.0 - product * next_mu),
            (1.0 - mu) / (1.0 - product),
            1.0 / bias_correction(self.beta2, t),
            0.0,
        ]
    }

    fn wgsl(&self) -> &str {
        cautious::wgsl!("nadam" with "root", self.decay_terms().0 > 0.0, self.cautious)
    }
}

impl<T: Real> Twin<T> for NAdam {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_product_is_that_of_its_factors() {
        for beta1 in [0.0, 0.5, 0.9, 0.9999] {
            for momentum_decay in [0.0, 1e-6, 4e-3, 0.3, 100.0] {
                let rule = NAdam {
                    beta1,
                    momentum_decay,
                    ..Default::default()
                };
                let mut product = 1.0;
                for t in 1..=2000 {
                    product *= rule.mu(t as f64);
                    let error = (rule.mu_product(t) - product).abs();
                    // Where the product is a denormal it has few digits.
                    assert!(error <= 1e-12 * product + 1e-300, "{rule:?} at {t}");
                }
                assert!(rule.at(1 << 52).iter().all(|value| value.is_finite()));
            }
        }
    }
}
