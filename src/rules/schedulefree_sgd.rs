use super::prelude::{Block, Bound, Interval, Real, Rule, Step, Twin, rule};
use super::schedule_free::{ScheduleFree, WEIGHT_SUM, towards_x, towards_y};

rule! {
    /// Schedule-free SGD: descent that evaluates at a running average x of where it has been, and takes
    /// its gradients at y between that and the newest point z.
    ///
    /// `d = g + wd·y`, `y ← y + c(z−y) − l(1−β(1−c))·d`, `z ← z − l·d`, with `β` the momentum, `l` the
    /// warmed-up rate and `c` its share of all `tʳ·lᵖ` so far.
    ///
    /// Parameters are y. [`evaluate`](crate::Optimizer::evaluate) puts x in their place,
    /// [`train`](crate::Optimizer::train) y again. State z is a copy of the parameters from the first
    /// step on.
    pub struct ScheduleFreeSgd("schedulefree_sgd") {
        pub lr: f64 in NON_NEGATIVE = 1.0,
        /// How far y lies towards x; at zero x could not be had from y and z.
        pub momentum: f64 in (1e-3..1.0) = 0.9,
        /// Decays y by acting on d, and so z too.
        pub weight_decay: f64 in NON_NEGATIVE = 0.0,
        /// Steps over which the rate rises from zero.
        pub warmup_steps: f64 in NON_NEGATIVE = 0.0,
        /// A step weighs `tʳ` in the average.
        pub r: f64 in NON_NEGATIVE = 0.0,
        /// And its rate's power of this.
        pub weight_lr_power: f64 in NON_NEGATIVE = 2.0,
    }
    source: "Defazio et al. 2024, arXiv:2405.15682, as in `schedulefree.SGDScheduleFree`.";
    constants: weight_decay, to_x = towards_x(momentum), to_y = towards_y(momentum);
    squares_gradients: false;
    slots: z.sensitive(), weight_sum.per_group().within(WEIGHT_SUM),
        lr_max.per_group().within(Interval::NON_NEGATIVE);
    evaluates_elsewhere: true;
    wgsl: include_str!("../../shaders/rules/schedulefree_sgd.wgsl");
}

impl Rule for ScheduleFreeSgd {
    /// c, the multiples of the rate for y and for z.
    fn advance(&self, t: u64, lr: f64, history: &mut [f64]) -> [f64; 4] {
        let schedule_free = ScheduleFree {
            beta: self.momentum,
            warmup_steps: self.warmup_steps,
            r: self.r,
            weight_lr_power: self.weight_lr_power,
        };
        let [c, of_y, of_z] = schedule_free.advance(t, lr, history);
        [c, of_y, of_z, 0.0]
    }
}

impl<T: Real> Twin<T> for ScheduleFreeSgd {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let [weight_decay] = self.constants_as::<T, _>();
        let bound = Bound::of(self);
        let is_first = now.t == 1;
        block.each(move |y, g, [z]| {
            if is_first {
                *z = y;
            }
            let [c, of_y, of_z, _] = now.at;
            let d = g + weight_decay * y;
            let updated = y + (c * (*z - y) - now.lr * of_y * d);
            *z = bound.held(*z - now.lr * of_z * d);
            updated
        });
    }

    fn evaluate(&self, block: Block<'_, T>) {
        let [_, to_x] = self.constants_as::<T, _>();
        block.each(move |y, _, [z]| y + to_x * (*z - y));
    }

    fn train(&self, block: Block<'_, T>) {
        let [_, _, to_y] = self.constants_as::<T, _>();
        block.each(move |x, _, [z]| x + to_y * (*z - x));
    }
}
