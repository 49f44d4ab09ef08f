use crate::{
    Rule, Slot,
    cpu::{Block, Real, Step, Twin},
    hyperparameter::Hyperparameter,
};

/// Sign SGD, with momentum also called Signum: every parameter moves by lr.
///
/// `b ← ema(b, g, μ)`, `p ← p − lr·sign(b)`.
///
/// Source: Bernstein et al. 2018, arXiv:1802.04434, as in `optax.signum`.
#[derive(Debug, Clone, PartialEq)]
pub struct SignSgd {
    /// Learning rate; a group starts with it.
    pub lr: f64,
    /// μ in `[0, 1)`; 0 keeps no state.
    pub momentum: f64,
    /// Climb in place of descending.
    pub maximize: bool,
}

impl Default for SignSgd {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            momentum: 0.9,
            maximize: false,
        }
    }
}

impl SignSgd {
    /// `Hyper` in shaders/rules/signsgd.wgsl.
    fn hyper(&self) -> [f64; 1] {
        [1.0 - self.momentum]
    }
}

impl Rule for SignSgd {
    fn name(&self) -> &str {
        "signsgd"
    }

    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![
            Hyperparameter::non_negative("lr", &mut self.lr),
            Hyperparameter::below_one("momentum", &mut self.momentum),
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
        vec![Slot::element("momentum_buffer").used_if(self.momentum > 0.0)]
    }

    fn constants(&self) -> Vec<f64> {
        self.hyper().to_vec()
    }

    fn wgsl(&self) -> &str {
        include_str!("../../shaders/rules/signsgd.wgsl")
    }
}

impl<T: Real> Twin<T> for SignSgd {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let [one_minus_momentum] = self.hyper().map(T::from_f64);
        block.each(move |p, g, [momentum_buffer]| {
            let b = *momentum_buffer + one_minus_momentum * (g - *momentum_buffer);
            *momentum_buffer = b;
            p - now.lr * b.sign()
        });
    }
}
