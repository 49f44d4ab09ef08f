use crate::{
    Rule, Slot,
    cpu::{Block, Real, Step, Twin},
    hyperparameter::Hyperparameter,
};

/// Adadelta: steps as large as the recent ones, over gradients as large as the recent ones.
///
/// `s ← ema(s, g², ρ)`, `Δ = √(u+eps)/√(s+eps)·g`, `u ← ema(u, Δ², ρ)`, `p ← p − lr·Δ`.
///
/// Source: Zeiler 2012, arXiv:1212.5701, as in `torch.optim.Adadelta`.
#[derive(Debug, Clone, PartialEq)]
pub struct Adadelta {
    /// Learning rate; a group starts with it.
    pub lr: f64,
    /// ρ in `[0, 1)`: how slowly both means move.
    pub rho: f64,
    /// Inside both roots; at least 1.18e-38.
    pub eps: f64,
    /// L2: added to the gradient.
    pub weight_decay: f64,
    /// Climb in place of descending.
    pub maximize: bool,
}

impl Default for Adadelta {
    fn default() -> Self {
        Self {
            lr: 1.0,
            rho: 0.9,
            eps: 1e-6,
            weight_decay: 0.0,
            maximize: false,
        }
    }
}

impl Adadelta {
    /// `Hyper` in shaders/rules/adadelta.wgsl.
    fn hyper(&self) -> [f64; 3] {
        [self.weight_decay, 1.0 - self.rho, self.eps]
    }
}

impl Rule for Adadelta {
    fn name(&self) -> &str {
        "adadelta"
    }

    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![
            Hyperparameter::non_negative("lr", &mut self.lr),
            Hyperparameter::below_one("rho", &mut self.rho),
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
        vec![Slot::element("square_avg"), Slot::element("acc_delta")]
    }

    fn constants(&self) -> Vec<f64> {
        self.hyper().to_vec()
    }

    fn wgsl(&self) -> &str {
        include_str!("../../shaders/rules/adadelta.wgsl")
    }
}

impl<T: Real> Twin<T> for Adadelta {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let [weight_decay, one_minus_rho, eps] = self.hyper().map(T::from_f64);
        block.each(move |p, grad, [square_avg, acc_delta]| {
            let g = grad + weight_decay * p;
            *square_avg = *square_avg + one_minus_rho * (g * g - *square_avg);
            let delta = (*acc_delta + eps).sqrt() / (*square_avg + eps).sqrt() * g;
            *acc_delta = *acc_delta + one_minus_rho * (delta * delta - *acc_delta);
            p - now.lr * delta
        });
    }
}
