use super::prelude::{
    Bound, Choice, Direction, Error, Real, Rule, Step, choice, direction, ema, pull,
};

direction! {
    /// Stochastic gradient descent with momentum.
    ///
    /// `b ← μb + (1−d)g` with `b = g` at the first step, `p ← p − lr·b`; Nesterov: `p ← p − lr·(g + μb)`.
    /// With [`MomentumForm::Ema`]: `b ← b + (1−μ)(g − b)` from zero.
    pub struct Sgd("sgd") {
        pub lr: f64 in NON_NEGATIVE = 1e-3,
        /// μ; 0 keeps no state.
        pub momentum: f64 in BELOW_ONE = 0.0,
        /// d; of the classic form only.
        pub dampening: f64 in UP_TO_ONE = 0.0,
        /// Needs `momentum > 0`, `dampening = 0` and the classic form.
        pub nesterov: bool = false,
        /// What kind of average gathers the momentum.
        pub momentum_form: MomentumForm = MomentumForm::Classic,
        /// L2: added to the gradient.
        pub weight_decay: f64 in NON_NEGATIVE = 0.0,
    }
    source: "Sutskever et al. 2013, as in `torch.optim.SGD`.";
    constants: weight_decay, momentum;
    flags: NESTEROV = nesterov;
    // What b is pulled towards zero by, and how much of g comes.
    at(t): match momentum_form {
        MomentumForm::Ema => [pull(momentum), 1.0 - momentum],
        MomentumForm::Classic if t == 1 || momentum == 0.0 => [pull(0.0), 1.0],
        MomentumForm::Classic => [pull(momentum), 1.0 - dampening],
    };
    squares_gradients: false;
    slots: momentum_buffer.used_if(momentum > 0.0);
    wgsl: "rules/sgd", "direction/step";
}

choice! {
    /// How [`Sgd`] gathers momentum.
    pub enum MomentumForm {
        /// A decaying sum, as in PyTorch.
        Classic = "classic",
        /// An exponential moving average, as in textbooks.
        Ema = "ema",
    }
}

impl Rule for Sgd {
    fn combinations(&self) -> &'static [&'static [(&'static str, &'static str)]] {
        &[
            &[("momentum", "0.9")],
            &[
                ("momentum", "0.9"),
                ("nesterov", "true"),
                ("weight_decay", "0.1"),
            ],
        ]
    }

    fn check_combination(&self) -> Result<(), Error> {
        let classic = self.momentum_form == MomentumForm::Classic;
        if self.nesterov && !(self.momentum > 0.0 && self.dampening == 0.0 && classic) {
            return Err(Error::Hyperparameter {
                rule: "sgd".to_owned(),
                name: "nesterov".to_owned(),
                value: "true".to_owned(),
                allowed: format!(
                    "momentum > 0, dampening = 0 and momentum_form = classic with it, not {}, {} and {}",
                    self.momentum,
                    self.dampening,
                    self.momentum_form.names()[self.momentum_form.position()],
                ),
            });
        }
        Ok(())
    }
}

impl Direction<1> for Sgd {
    fn direction<T: Real>(&self, now: Step<T>) -> impl Fn(T, &mut [T; 1]) -> T + Copy {
        let [_, momentum] = self.constants_as::<T, _>();
        let [fade, take, ..] = now.at;
        let bound = Bound::of(self);
        let nesterov = self.nesterov;
        move |g, [momentum_buffer]| {
            let b = bound.held(ema(*momentum_buffer, T::zero(), fade) + take * g);
            *momentum_buffer = b;
            if nesterov {
                return g + momentum * b;
            }
            b
        }
    }
}
