use crate::{
    Rule, Slot,
    cpu::{Block, Real, Step, Twin},
    hyperparameter::Hyperparameter,
    rules::{bias_correction, eps_terms},
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
            maximize: false,
        }
    }
}

impl NAdam {
    /// `Hyper` in shaders/rules/nadam.wgsl.
    fn hyper(&self) -> [f64; 5] {
        let (eps_inside, eps) = eps_terms(self.eps, self.eps_inside_root);
        let l2 = if self.decoupled_weight_decay {
            0.0
        } else {
            self.weight_decay
        };
        [l2, 1.0 - self.beta1, 1.0 - self.beta2, eps_inside, eps]
    }

    fn mu(&self, t: f64) -> f64 {
        self.beta1 * (1.0 - 0.5 * 0.96f64.powf(t * self.momentum_decay))
    }

    /// `μ1·…·μt`, PyTorch's mu_product.
    fn mu_product(&self, t: u64) -> f64 {
        // Every μ is below β1: once β1ᵗ has vanished beside 1, so has the product.
        if t as f64 * self.beta1.ln() < -45.0 {
            return 0.0;
        }
        let ratio = 0.96f64.powf(self.momentum_decay);
        let mut warm_up = 0.5;
        let mut product = 1.0;
        for _ in 0..t {
            warm_up *= ratio;
            product *= self.beta1 * (1.0 - warm_up);
        }
        product
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
            Hyperparameter::flag("maximize", &mut self.maximize),
        ]
    }

    fn lr(&self) -> f64 {
        self.lr
    }

    fn decoupled_weight_decay(&self) -> f64 {
        if self.decoupled_weight_decay {
            self.weight_decay
        } else {
            0.0
        }
    }

    fn maximize(&self) -> bool {
        self.maximize
    }

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::element("exp_avg"), Slot::element("exp_avg_sq")]
    }

    fn constants(&self) -> Vec<f64> {
        self.hyper().to_vec()
    }

    /// The weights of m and of g in m̂, the correction of v.
    fn at(&self, t: u64) -> [f64; 4] {
        let mu = self.mu(t as f64);
        let next_mu = self.mu((t + 1) as f64);
        let product = self.mu_product(t);
        [
            next_mu / (1.0 - product * next_mu),
            (1.0 - mu) / (1.0 - product),
            1.0 / bias_correction(self.beta2, t),
            0.0,
        ]
    }

    fn wgsl(&self) -> &str {
        include_str!("../../shaders/rules/nadam.wgsl")
    }
}

impl<T: Real> Twin<T> for NAdam {
    fn update(&self, block: Block<'_, T>, now: &Step<T>) {
        let [
            weight_decay,
            one_minus_beta1,
            one_minus_beta2,
            eps_inside,
            eps,
        ] = self.hyper().map(T::from_f64);
        block.each(|p, grad, [exp_avg, exp_avg_sq]| {
            let g = grad + weight_decay * p;
            *exp_avg = *exp_avg + one_minus_beta1 * (g - *exp_avg);
            *exp_avg_sq = *exp_avg_sq + one_minus_beta2 * (g * g - *exp_avg_sq);
            let m_hat = now.at[0] * *exp_avg + now.at[1] * g;
            let v_hat = now.at[2] * *exp_avg_sq;
            p - (now.decay * p + now.lr * m_hat / ((v_hat + eps_inside).sqrt() + eps))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_product_vanishes_where_it_is_cut_off() {
        for beta1 in [0.5, 0.9, 0.99] {
            let rule = NAdam {
                beta1,
                ..Default::default()
            };
            let last = (-45.0 / beta1.ln()).floor() as u64;
            assert!(rule.mu_product(last) < 1e-17 && rule.mu_product(last) > 0.0);
            assert_eq!(rule.mu_product(last + 2), 0.0);
        }
        let zero = NAdam {
            beta1: 0.0,
            ..Default::default()
        };
        assert!(zero.at(1).iter().all(|value| value.is_finite()));
    }
}
