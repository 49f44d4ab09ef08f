use super::prelude::{Direction, Real, Rule, Step, direction, ema, pull, root};

direction! {
    /// RMSprop: the gradient over a running root mean square of itself.
    ///
    /// `s ← s + (1−α)(g² − s)`, `u = g/(√s + eps)`, `p ← p − lr·u`; with momentum `b ← μb + u`,
    /// `p ← p − lr·b`. Centered: `√max(s − ḡ², 0)` in place of `√s`, ḡ being the running mean; PyTorch
    /// lacks that maximum and gives NaN on constant gradients.
    pub struct RmsProp("rmsprop") {
        pub lr: f64 in NON_NEGATIVE = 1e-2,
        /// α: how slowly the mean square moves.
        pub alpha: f64 in BELOW_ONE = 0.99,
        pub eps: f64 in EPS = 1e-8,
        /// `√(s + eps)` in place of `√s + eps`.
        pub eps_inside_root: bool = false,
        /// μ; 0 keeps no momentum_buffer.
        pub momentum: f64 in BELOW_ONE = 0.0,
        /// Divide by the standard deviation, not the root mean square.
        pub centered: bool = false,
        /// L2: added to the gradient.
        pub weight_decay: f64 in NON_NEGATIVE = 0.0,
    }
    source: "Hinton 2012 (lecture 6e), Graves 2013 (centered), as in `torch.optim.RMSprop`.";
    constants: weight_decay, pull_alpha = pull(alpha), eps,
        pull_momentum = pull(momentum);
    flags: CENTERED = centered, EPS_INSIDE_ROOT = eps_inside_root;
    slots: square_avg.non_negative().exact_if(centered), grad_avg.exact().used_if(centered), momentum_buffer.used_if(momentum > 0.0);
    wgsl: "rules/rmsprop", "root", "direction/step";
}

impl Rule for RmsProp {
    fn combinations(&self) -> &'static [&'static [(&'static str, &'static str)]] {
        &[&[("momentum", "0.9"), ("centered", "true"), ("eps", "0.01")]]
    }
}

impl Direction<3> for RmsProp {
    fn direction<T: Real>(&self, _now: Step<T>) -> impl Fn(T, &mut [T; 3]) -> T + Copy {
        let [_, pull_alpha, eps, pull_momentum] = self.constants_as::<T, _>();
        let eps_inside_root = self.eps_inside_root;
        let centered = self.centered;
        move |g, [square_avg, grad_avg, momentum_buffer]| {
            *square_avg = ema(*square_avg, g * g, pull_alpha);
            let mut variance = *square_avg;
            if centered {
                *grad_avg = ema(*grad_avg, g, pull_alpha);
                variance = (variance - *grad_avg * *grad_avg).max(T::zero());
            }
            let u = g / root(variance, eps, eps_inside_root);
            let b = ema(*momentum_buffer, T::zero(), pull_momentum) + u;
            *momentum_buffer = b;
            b
        }
    }
}
