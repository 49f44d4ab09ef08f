use super::prelude::{Block, Interval, Real, Rule, Step, Twin, bias_correction, ema, pull, rule};
use super::schedule_free::{ScheduleFree, WEIGHT_SUM, towards_x, towards_y};

rule! {
    /// Schedule-free AdamW: no schedule to choose, since it evaluates at a running average x of where
    /// it has been, and takes its gradients at y between that and the newest point z.
    ///
    /// `v ← v + (1−β2)(g² − v)`, `d = g/(√v̂ + eps) + wd·y`, `y ← y + c(z−y) − l(1−β1(1−c))·d`,
    /// `z ← z − l·d`, with `l` the warmed-up rate and `c` its share of all `tʳ·lᵖ` so far.
    ///
    /// Parameters are y. [`evaluate`](crate::Optimizer::evaluate) puts x in their place,
    /// [`train`](crate::Optimizer::train) y again. State z is a copy of the parameters from the first
    /// step on.
    pub struct ScheduleFreeAdamW("schedulefree_adamw") {
        pub lr: f64 in NON_NEGATIVE = 2.5e-3,
        /// How far y lies towards x; at zero x could not be had from y and z.
        pub beta1: f64 in (1e-3..1.0) = 0.9,
        pub beta2: f64 in BELOW_ONE = 0.999,
        pub eps: f64 in EPS = 1e-8,
        /// Decays y by acting on d, and so z too.
        pub weight_decay: f64 in NON_NEGATIVE = 0.0,
        /// Steps over which the rate rises from zero.
        pub warmup_steps: f64 in NON_NEGATIVE = 0.0,
        /// A step weighs `tʳ` in the average.
        pub r: f64 in NON_NEGATIVE = 0.0,
        /// And its rate's power of this.
        pub weight_lr_power: f64 in NON_NEGATIVE = 2.0,
    }
    source: "Defazio et al. 2024, arXiv:2405.15682, as in `schedulefree.AdamWScheduleFree`.";
    constants: weight_decay, pull_beta2 = pull(beta2), eps, to_x = towards_x(beta1),
        to_y = towards_y(beta1);
    slots: z.sensitive(), exp_avg_sq.non_negative(), weight_sum.per_group().within(WEIGHT_SUM),
        lr_max.per_group().within(Interval::NON_NEGATIVE);
    evaluates_elsewhere: true;
    wgsl: include_str!("../../shaders/rules/schedulefree_adamw.wgsl");
}

impl Rule for ScheduleFreeAdamW {
    /// c, the multiples of the rate for y and for z, the correction of v.
    fn advance(&self, t: u64, lr: f64, history: &mut [f64]) -> [f64; 4] {
        let schedule_free = ScheduleFree {
            beta: self.beta1,
            warmup_steps: self.warmup_steps,
            r: self.r,
            weight_lr_power: self.weight_lr_power,
        };
        let [c, of_y, of_z] = schedule_free.advance(t, lr, history);
        [c, of_y, of_z, 1.0 / bias_correction(self.beta2, t)]
    }
}

impl<T: Real> Twin<T> for ScheduleFreeAdamW {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let [weight_decay, pull_beta2, eps] = self.constants_as::<T, _>();
        let is_first = now.t == 1;
        block.each(move |y, g, [z, exp_avg_sq]| {
            if is_first {
                *z = y;
            }
            let [c, of_y, of_z, correction] = now.at;
            *exp_avg_sq = ema(*exp_avg_sq, g * g, pull_beta2);
            let v_hat = correction * *exp_avg_sq;
            let d = g / (v_hat.sqrt() + eps) + weight_decay * y;
            let updated = y + (c * (*z - y) - now.lr * of_y * d);
            *z = *z - now.lr * of_z * d;
            updated
        });
    }

    fn evaluate(&self, block: Block<'_, T>) {
        let [_, _, _, to_x] = self.constants_as::<T, _>();
        block.each(move |y, _, [z, _]| y + to_x * (*z - y));
    }

    fn train(&self, block: Block<'_, T>) {
        let [_, _, _, _, to_y] = self.constants_as::<T, _>();
        block.each(move |x, _, [z, _]| x + to_y * (*z - x));
    }
}
