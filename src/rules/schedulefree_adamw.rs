use crate::{
    Rule, Slot,
    cpu::{Block, Real, Step, Twin},
    hyperparameter::Hyperparameter,
    rules::{bias_correction, schedule_free::ScheduleFree},
};

/// Schedule-free AdamW: no schedule to choose, since it evaluates at a running average x of where
/// it has been, and takes its gradients at y between that and the newest point z.
///
/// `v ← v + (1−β2)(g² − v)`, `d = g/(√v̂ + eps) + wd·y`, `y ← y + c(z−y) − l(1−β1(1−c))·d`,
/// `z ← z − l·d`, with `l` the warmed-up rate and `c` its share of all `tʳ·lᵖ` so far.
///
/// Parameters are y. [`evaluate`](crate::Optimizer::evaluate) puts x in their place,
/// [`train`](crate::Optimizer::train) y again. State z is a copy of the parameters from the first
/// step on.
///
/// Source: Defazio et al. 2024, arXiv:2405.15682, as in `schedulefree.AdamWScheduleFree`.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleFreeAdamW {
    /// Learning rate; a group starts with it.
    pub lr: f64,
    /// How far y lies towards x; in `[0.001, 1)`.
    pub beta1: f64,
    /// β2 in `[0, 1)`.
    pub beta2: f64,
    /// Keeps the division from blowing up; at least 1.18e-38.
    pub eps: f64,
    /// Decays y by acting on d, and so z too.
    pub weight_decay: f64,
    /// Steps over which the rate rises from zero.
    pub warmup_steps: f64,
    /// A step weighs `tʳ` in the average.
    pub r: f64,
    /// And its rate's power of this.
    pub weight_lr_power: f64,
    /// Climb in place of descending.
    pub maximize: bool,
}

impl Default for ScheduleFreeAdamW {
    fn default() -> Self {
        Self {
            lr: 2.5e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
            warmup_steps: 0.0,
            r: 0.0,
            weight_lr_power: 2.0,
            maximize: false,
        }
    }
}

impl ScheduleFreeAdamW {
    fn schedule_free(&self) -> ScheduleFree {
        ScheduleFree {
            beta: self.beta1,
            warmup_steps: self.warmup_steps,
            r: self.r,
            weight_lr_power: self.weight_lr_power,
        }
    }

    /// `Hyper` in shaders/rules/schedulefree_adamw.wgsl.
    fn hyper(&self) -> [f64; 5] {
        let [to_x, to_y] = self.schedule_free().towards_z();
        let one_minus_beta2 = 1.0 - self.beta2;
        [self.weight_decay, one_minus_beta2, self.eps, to_x, to_y]
    }
}

impl Rule for ScheduleFreeAdamW {
    fn name(&self) -> &str {
        "schedulefree_adamw"
    }

    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![
            Hyperparameter::non_negative("lr", &mut self.lr),
            Hyperparameter::number("beta1", &mut self.beta1, ScheduleFree::BETA),
            Hyperparameter::below_one("beta2", &mut self.beta2),
            Hyperparameter::eps("eps", &mut self.eps),
            Hyperparameter::non_negative("weight_decay", &mut self.weight_decay),
            Hyperparameter::non_negative("warmup_steps", &mut self.warmup_steps),
            Hyperparameter::non_negative("r", &mut self.r),
            Hyperparameter::non_negative("weight_lr_power", &mut self.weight_lr_power),
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
        let [weight_sum, lr_max] = ScheduleFree::HISTORY;
        vec![
            Slot::element("z"),
            Slot::element("exp_avg_sq"),
            weight_sum,
            lr_max,
        ]
    }

    fn constants(&self) -> Vec<f64> {
        self.hyper().to_vec()
    }

    /// c, the multiples of the rate for y and for z, the correction of v.
    fn advance(&self, t: u64, lr: f64, history: &mut [f64]) -> [f64; 4] {
        let [c, of_y, of_z] = self.schedule_free().advance(t, lr, history);
        [c, of_y, of_z, 1.0 / bias_correction(self.beta2, t)]
    }

    fn evaluates_elsewhere(&self) -> bool {
        true
    }

    fn wgsl(&self) -> &str {
        include_str!("../../shaders/rules/schedulefree_adamw.wgsl")
    }
}

impl<T: Real> Twin<T> for ScheduleFreeAdamW {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let [weight_decay, one_minus_beta2, eps, ..] = self.hyper().map(T::from_f64);
        let is_first = now.t == 1;
        block.each(move |y, g, [z, exp_avg_sq]| {
            if is_first {
                *z = y;
            }
            let [c, of_y, of_z, correction] = now.at;
            *exp_avg_sq = *exp_avg_sq + one_minus_beta2 * (g * g - *exp_avg_sq);
            let v_hat = correction * *exp_avg_sq;
            let d = g / (v_hat.sqrt() + eps) + weight_decay * y;
            let updated = y + (c * (*z - y) - now.lr * of_y * d);
            *z = *z - now.lr * of_z * d;
            updated
        });
    }

    fn evaluate(&self, block: Block<'_, T>) {
        let [.., to_x, _] = self.hyper().map(T::from_f64);
        block.each(move |y, _, [z, _]| y + to_x * (*z - y));
    }

    fn train(&self, block: Block<'_, T>) {
        let [.., to_y] = self.hyper().map(T::from_f64);
        block.each(move |x, _, [z, _]| x + to_y * (*z - x));
    }
}
