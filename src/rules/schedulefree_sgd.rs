use crate::{
    Rule, Slot,
    cpu::{Block, Real, Step, Twin},
    hyperparameter::Hyperparameter,
    rules::schedule_free::ScheduleFree,
};

/// Schedule-free SGD: descent that evaluates at a running average x of where it has been, and takes
/// its gradients at y between that and the newest point z.
///
/// `d = g + wd·y`, `y ← y + c(z−y) − l(1−β(1−c))·d`, `z ← z − l·d`, with `β` the momentum, `l` the
/// warmed-up rate and `c` its share of all `tʳ·lᵖ` so far.
///
/// Parameters are y. [`evaluate`](crate::Optimizer::evaluate) puts x in their place,
/// [`train`](crate::Optimizer::train) y again. State z is a copy of the parameters from the first
/// step on.
///
/// Source: Defazio et al. 2024, arXiv:2405.15682, as in `schedulefree.SGDScheduleFree`.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleFreeSgd {
    /// Learning rate; a group starts with it.
    pub lr: f64,
    /// How far y lies towards x; in `[0.001, 1)`.
    pub momentum: f64,
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

impl Default for ScheduleFreeSgd {
    fn default() -> Self {
        Self {
            lr: 1.0,
            momentum: 0.9,
            weight_decay: 0.0,
            warmup_steps: 0.0,
            r: 0.0,
            weight_lr_power: 2.0,
            maximize: false,
        }
    }
}

impl ScheduleFreeSgd {
    fn schedule_free(&self) -> ScheduleFree {
        ScheduleFree {
            beta: self.momentum,
            warmup_steps: self.warmup_steps,
            r: self.r,
            weight_lr_power: self.weight_lr_power,
        }
    }

    /// `Hyper` in shaders/rules/schedulefree_sgd.wgsl.
    fn hyper(&self) -> [f64; 3] {
        let [to_x, to_y] = self.schedule_free().towards_z();
        [self.weight_decay, to_x, to_y]
    }
}

impl Rule for ScheduleFreeSgd {
    fn name(&self) -> &str {
        "schedulefree_sgd"
    }

    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![
            Hyperparameter::non_negative("lr", &mut self.lr),
            Hyperparameter::number("momentum", &mut self.momentum, ScheduleFree::BETA),
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
        vec![Slot::element("z"), weight_sum, lr_max]
    }

    fn constants(&self) -> Vec<f64> {
        self.hyper().to_vec()
    }

    /// c, the multiples of the rate for y and for z.
    fn advance(&self, t: u64, lr: f64, history: &mut [f64]) -> [f64; 4] {
        let [c, of_y, of_z] = self.schedule_free().advance(t, lr, history);
        [c, of_y, of_z, 0.0]
    }

    fn evaluates_elsewhere(&self) -> bool {
        true
    }

    fn wgsl(&self) -> &str {
        include_str!("../../shaders/rules/schedulefree_sgd.wgsl")
    }
}

impl<T: Real> Twin<T> for ScheduleFreeSgd {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let [weight_decay, ..] = self.hyper().map(T::from_f64);
        let is_first = now.t == 1;
        block.each(move |y, g, [z]| {
            if is_first {
                *z = y;
            }
            let [c, of_y, of_z, _] = now.at;
            let d = g + weight_decay * y;
            let updated = y + (c * (*z - y) - now.lr * of_y * d);
            *z = *z - now.lr * of_z * d;
            updated
        });
    }

    fn evaluate(&self, block: Block<'_, T>) {
        let [.., to_x, _] = self.hyper().map(T::from_f64);
        block.each(move |y, _, [z]| y + to_x * (*z - y));
    }

    fn train(&self, block: Block<'_, T>) {
        let [.., to_y] = self.hyper().map(T::from_f64);
        block.each(move |x, _, [z]| x + to_y * (*z - x));
    }
}
