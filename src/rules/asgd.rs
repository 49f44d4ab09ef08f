use crate::{
    Rule, Slot,
    cpu::{Block, Real, Step, Twin},
    hyperparameter::Hyperparameter,
};

/// ASGD: descent at a rate that falls by itself, and the average of where it has been in `ax`.
///
/// `p ← p − lambd·η·p − η·g`, `ax ← ax + μ(p − ax)`; then, for the step after,
/// `η = lr/(1 + lambd·lr·t)^alpha` and `μ = 1/max(1, t − t0)`. A changed `lr` so acts one step late.
///
/// Source: Polyak & Juditsky 1992, as in `torch.optim.ASGD`.
#[derive(Debug, Clone, PartialEq)]
pub struct Asgd {
    /// Learning rate; a group starts with it.
    pub lr: f64,
    /// Decay of the parameter and, through `alpha`, of the rate.
    pub lambd: f64,
    /// How fast the rate falls.
    pub alpha: f64,
    /// The step at which averaging starts; until then `ax` is the parameter.
    pub t0: f64,
    /// L2: added to the gradient.
    pub weight_decay: f64,
    /// Climb in place of descending.
    pub maximize: bool,
}

impl Default for Asgd {
    fn default() -> Self {
        Self {
            lr: 1e-2,
            lambd: 1e-4,
            alpha: 0.75,
            t0: 1e6,
            weight_decay: 0.0,
            maximize: false,
        }
    }
}

impl Asgd {
    /// `Hyper` in shaders/rules/asgd.wgsl.
    fn hyper(&self) -> [f64; 1] {
        [self.weight_decay]
    }
}

impl Rule for Asgd {
    fn name(&self) -> &str {
        "asgd"
    }

    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![
            Hyperparameter::non_negative("lr", &mut self.lr),
            Hyperparameter::non_negative("lambd", &mut self.lambd),
            Hyperparameter::non_negative("alpha", &mut self.alpha),
            Hyperparameter::non_negative("t0", &mut self.t0),
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
            Slot::element("ax"),
            // None yet.
            Slot::group("eta").starting_at(-1.0),
        ]
    }

    fn constants(&self) -> Vec<f64> {
        self.hyper().to_vec()
    }

    /// η, what it decays the parameter by, and μ.
    fn advance(&self, t: u64, lr: f64, history: &mut [f64]) -> [f64; 4] {
        let t = t as f64;
        let falling = |t: f64| lr / (1.0 + self.lambd * lr * t).powf(self.alpha);
        let eta = match history[0] {
            // As if the rate had always been this one.
            unknown if unknown < 0.0 => falling(t - 1.0),
            known => known,
        };
        history[0] = falling(t);
        let mu = 1.0 / (t - 1.0 - self.t0).max(1.0);
        [eta, self.lambd * eta, mu, 0.0]
    }

    fn wgsl(&self) -> &str {
        include_str!("../../shaders/rules/asgd.wgsl")
    }
}

impl<T: Real> Twin<T> for Asgd {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let [weight_decay] = self.hyper().map(T::from_f64);
        block.each(move |p, grad, [ax]| {
            let g = grad + weight_decay * p;
            let updated = p - (now.at[1] * p + now.at[0] * g);
            *ax = *ax + now.at[2] * (updated - *ax);
            updated
        });
    }
}
