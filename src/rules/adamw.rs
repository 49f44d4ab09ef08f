use crate::{
    Rule, Slot, Stages,
    cpu::{Block, Real, Shape, Step, Sums, Twin},
    hyperparameter::Hyperparameter,
    rules::{
        adam::{Amsgrad, Correction},
        cautious, root,
    },
};

/// AdamW: [`Adam`](crate::rules::Adam) with weight decay that acts beside the update, not through
/// the gradient.
///
/// `p ← p − (lr·weight_decay·p + lr·m̂/(√v̂ + eps))`.
///
/// Source: Loshchilov & Hutter 2019, arXiv:1711.05101, as in `torch.optim.AdamW`.
#[derive(Debug, Clone, PartialEq)]
pub struct AdamW {
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
    /// `lr·m̂·√(1−β2ᵗ)/(√v + eps)` in place of `lr·m̂/(√v̂ + eps)`, as in Keras; no matter where eps is
    /// inside the root or v stays uncorrected.
    pub eps_before_correction: bool,
    /// Whether the second moment may fall.
    pub amsgrad: Amsgrad,
    /// Dozat's simple form (`optax.nadamw`), as in [`Adam`](crate::rules::Adam).
    pub nesterov: bool,
    /// Decoupled.
    pub weight_decay: f64,
    /// Leave out elements whose update and gradient point different ways, and scale the others up for
    /// them. Liang et al. 2024, arXiv:2411.16085.
    pub cautious: bool,
    /// Climb in place of descending.
    pub maximize: bool,
}

impl Default for AdamW {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            eps_inside_root: false,
            eps_before_correction: false,
            amsgrad: Amsgrad::Off,
            nesterov: false,
            weight_decay: 1e-2,
            cautious: false,
            maximize: false,
        }
    }
}

impl AdamW {
    /// `Hyper` in shaders/rules/adamw.wgsl.
    fn hyper(&self) -> [f64; 3] {
        [1.0 - self.beta1, 1.0 - self.beta2, self.eps]
    }

    /// What the learning rate multiplies.
    fn direction<T: Real>(&self, now: Step<T>) -> impl Fn(T, &mut [T; 3]) -> T + Copy + use<T> {
        let [one_minus_beta1, one_minus_beta2, eps] = self.hyper().map(T::from_f64);
        let eps_inside_root = self.eps_inside_root;
        let amsgrad = self.amsgrad != Amsgrad::Off;
        let nesterov = self.nesterov;
        move |g, [exp_avg, exp_avg_sq, max_exp_avg_sq]| {
            *exp_avg = *exp_avg + one_minus_beta1 * (g - *exp_avg);
            *exp_avg_sq = *exp_avg_sq + one_minus_beta2 * (g * g - *exp_avg_sq);
            let mut m_hat = now.at[0] * *exp_avg;
            if nesterov {
                m_hat = m_hat + now.at[1] * g;
            }
            let mut v = *exp_avg_sq;
            if amsgrad {
                v = max_exp_avg_sq.max(now.at[2] * v);
                *max_exp_avg_sq = v;
            }
            let v_hat = now.at[3] * v;
            m_hat / root(v_hat, eps, eps_inside_root)
        }
    }
}

impl Rule for AdamW {
    fn name(&self) -> &str {
        "adamw"
    }

    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![
            Hyperparameter::non_negative("lr", &mut self.lr),
            Hyperparameter::below_one("beta1", &mut self.beta1),
            Hyperparameter::below_one("beta2", &mut self.beta2),
            Hyperparameter::eps("eps", &mut self.eps),
            Hyperparameter::flag("eps_inside_root", &mut self.eps_inside_root),
            Hyperparameter::flag("eps_before_correction", &mut self.eps_before_correction),
            Hyperparameter::choice("amsgrad", &mut self.amsgrad),
            Hyperparameter::flag("nesterov", &mut self.nesterov),
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
            Slot::element("exp_avg_sq"),
            Slot::element("max_exp_avg_sq").used_if(self.amsgrad != Amsgrad::Off),
            cautious::slot(self.cautious),
        ]
    }

    fn stages(&self) -> Stages {
        cautious::stages(self.cautious, &["exp_avg", "exp_avg_sq", "max_exp_avg_sq"])
    }

    fn constants(&self) -> Vec<f64> {
        self.hyper().to_vec()
    }

    fn flags(&self) -> Vec<(&'static str, bool)> {
        vec![
            ("NESTEROV", self.nesterov),
            ("AMSGRAD", self.amsgrad != Amsgrad::Off),
            ("EPS_INSIDE_ROOT", self.eps_inside_root),
        ]
    }

    /// The weights of m and of g in m̂, the correction of v before and after the maximum.
    fn at(&self, t: u64) -> [f64; 4] {
        let correction = Correction {
            beta1: self.beta1,
            beta2: self.beta2,
            amsgrad: self.amsgrad,
            nesterov: self.nesterov,
            eps_before: self.eps_before_correction && !self.eps_inside_root,
        };
        correction.at(t)
    }

    fn wgsl(&self) -> &str {
        cautious::wgsl!("adamw" with "root", false, self.cautious)
    }
}

impl<T: Real> Twin<T> for AdamW {
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
