use crate::{
    Rule, Slot, Stages,
    cpu::{Block, Real, Shape, Step, Sums, Twin},
    hyperparameter::{Hyperparameter, Interval},
    rules::{bias_correction, cautious, decay_terms},
};

/// AdaBound: Adam whose learning rates are held within bounds that close in on SGD's.
///
/// `η = clip(lr·√(1−β2ᵗ)/(1−β1ᵗ)/(√v + eps), F(1 − 1/(γt+1)), F(1 + 1/(γt)))` with
/// `F = final_lr·lr/lr₁`, lr₁ being the `lr` of this struct; `p ← p − η·m`.
///
/// Source: Luo et al. 2019, arXiv:1902.09843, as in pytorch-optimizer.
#[derive(Debug, Clone, PartialEq)]
pub struct AdaBound {
    /// Learning rate; a group starts with it. Not zero, since `final_lr` is relative to it.
    pub lr: f64,
    /// β1 in `[0, 1)`.
    pub beta1: f64,
    /// β2 in `[0, 1)`.
    pub beta2: f64,
    /// Keeps the division from blowing up; at least 1.18e-38.
    pub eps: f64,
    /// SGD's learning rate, at the end.
    pub final_lr: f64,
    /// γ: how fast the bounds close.
    pub gamma: f64,
    /// AMSBound: the maximum of v in place of v.
    pub amsbound: bool,
    /// Decoupled, or L2 without the flag below.
    pub weight_decay: f64,
    /// Whether the decay acts beside the update, not through the gradient.
    pub decoupled_weight_decay: bool,
    /// Leave out elements whose update and gradient point different ways, and scale the others up for
    /// them. Liang et al. 2024, arXiv:2411.16085.
    pub cautious: bool,
    /// Climb in place of descending.
    pub maximize: bool,
}

impl Default for AdaBound {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            final_lr: 0.1,
            gamma: 1e-3,
            amsbound: false,
            weight_decay: 0.0,
            decoupled_weight_decay: true,
            cautious: false,
            maximize: false,
        }
    }
}

impl AdaBound {
    fn decay_terms(&self) -> (f64, f64) {
        decay_terms(self.weight_decay, self.decoupled_weight_decay)
    }

    /// `Hyper` in shaders/rules/adabound.wgsl.
    fn hyper(&self) -> [f64; 5] {
        [
            self.decay_terms().0,
            1.0 - self.beta1,
            1.0 - self.beta2,
            self.eps,
            self.final_lr / self.lr,
        ]
    }

    /// What the parameter moves by, the learning rate in it.
    fn direction<T: Real>(&self, now: Step<T>) -> impl Fn(T, &mut [T; 3]) -> T + Copy + use<T> {
        let [_, one_minus_beta1, one_minus_beta2, eps, final_ratio] = self.hyper().map(T::from_f64);
        let amsbound = self.amsbound;
        move |g, [exp_avg, exp_avg_sq, max_exp_avg_sq]| {
            *exp_avg = *exp_avg + one_minus_beta1 * (g - *exp_avg);
            *exp_avg_sq = *exp_avg_sq + one_minus_beta2 * (g * g - *exp_avg_sq);
            let mut v = *exp_avg_sq;
            if amsbound {
                v = max_exp_avg_sq.max(v);
                *max_exp_avg_sq = v;
            }
            let final_lr = final_ratio * now.lr;
            let eta = (now.lr * now.at[0] / (v.sqrt() + eps))
                .max(final_lr * now.at[1])
                .min(final_lr * now.at[2]);
            eta * *exp_avg
        }
    }
}

impl Rule for AdaBound {
    fn name(&self) -> &str {
        "adabound"
    }

    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![
            Hyperparameter::number(
                "lr",
                &mut self.lr,
                Interval::at_least(f32::MIN_POSITIVE as f64),
            ),
            Hyperparameter::below_one("beta1", &mut self.beta1),
            Hyperparameter::below_one("beta2", &mut self.beta2),
            Hyperparameter::eps("eps", &mut self.eps),
            Hyperparameter::non_negative("final_lr", &mut self.final_lr),
            Hyperparameter::number(
                "gamma",
                &mut self.gamma,
                Interval::at_least(f32::MIN_POSITIVE as f64),
            ),
            Hyperparameter::flag("amsbound", &mut self.amsbound),
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
            Slot::element("max_exp_avg_sq").used_if(self.amsbound),
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
        vec![("AMSBOUND", self.amsbound)]
    }

    /// The correction of the learning rate, and both bounds over F.
    fn at(&self, t: u64) -> [f64; 4] {
        let correction = bias_correction(self.beta2, t).sqrt() / bias_correction(self.beta1, t);
        let progress = self.gamma * t as f64;
        [
            correction,
            1.0 - 1.0 / (progress + 1.0),
            1.0 + 1.0 / progress,
            0.0,
        ]
    }

    fn wgsl(&self) -> &str {
        cautious::wgsl!("adabound", self.decay_terms().0 > 0.0, self.cautious)
    }
}

impl<T: Real> Twin<T> for AdaBound {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let decayed = cautious::l2(self.decay_terms().0);
        let stepped = move |p, u| p - (now.decay * p + u);
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
