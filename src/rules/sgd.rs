use crate::{
    Error, Rule, Slot, Stages,
    cpu::{Block, Real, Shape, Step, Sums, Twin},
    hyperparameter::{Choice, Hyperparameter},
    rules::cautious,
};

/// Stochastic gradient descent with momentum.
///
/// `b ← μb + (1−d)g` with `b = g` at the first step, `p ← p − lr·b`; Nesterov: `p ← p − lr·(g + μb)`.
/// With [`MomentumForm::Ema`]: `b ← b + (1−μ)(g − b)` from zero.
///
/// Source: Sutskever et al. 2013, as in `torch.optim.SGD`.
#[derive(Debug, Clone, PartialEq)]
pub struct Sgd {
    /// Learning rate; a group starts with it.
    pub lr: f64,
    /// μ in `[0, 1)`; 0 keeps no state.
    pub momentum: f64,
    /// d in `[0, 1]`; of the classic form only.
    pub dampening: f64,
    /// Needs `momentum > 0`, `dampening = 0` and the classic form.
    pub nesterov: bool,
    /// What kind of average gathers the momentum.
    pub momentum_form: MomentumForm,
    /// L2: added to the gradient.
    pub weight_decay: f64,
    /// Leave out elements whose update and gradient point different ways, and scale the others up for
    /// them. Liang et al. 2024, arXiv:2411.16085.
    pub cautious: bool,
    /// Climb in place of descending.
    pub maximize: bool,
}

/// How [`Sgd`] gathers momentum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MomentumForm {
    /// A decaying sum, as in PyTorch.
    Classic,
    /// An exponential moving average, as in textbooks.
    Ema,
}

impl Choice for MomentumForm {
    fn names(&self) -> &'static [&'static str] {
        &["classic", "ema"]
    }
    fn position(&self) -> usize {
        *self as usize
    }
    fn choose(&mut self, position: usize) {
        *self = [Self::Classic, Self::Ema][position];
    }
}

impl Default for Sgd {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            momentum: 0.0,
            dampening: 0.0,
            nesterov: false,
            momentum_form: MomentumForm::Classic,
            weight_decay: 0.0,
            cautious: false,
            maximize: false,
        }
    }
}

impl Sgd {
    /// `Hyper` in shaders/rules/sgd.wgsl.
    fn hyper(&self) -> [f64; 2] {
        [self.weight_decay, self.momentum]
    }

    /// What the learning rate multiplies.
    fn direction<T: Real>(&self, now: Step<T>) -> impl Fn(T, &mut [T; 1]) -> T + Copy + use<T> {
        let [_, momentum] = self.hyper().map(T::from_f64);
        let [forget, take, ..] = now.at;
        let nesterov = self.nesterov;
        move |g, [momentum_buffer]| {
            let b = *momentum_buffer + (take * g - forget * *momentum_buffer);
            *momentum_buffer = b;
            if nesterov {
                return g + momentum * b;
            }
            b
        }
    }
}

impl Rule for Sgd {
    fn name(&self) -> &str {
        "sgd"
    }

    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![
            Hyperparameter::non_negative("lr", &mut self.lr),
            Hyperparameter::below_one("momentum", &mut self.momentum),
            Hyperparameter::up_to_one("dampening", &mut self.dampening),
            Hyperparameter::flag("nesterov", &mut self.nesterov),
            Hyperparameter::choice("momentum_form", &mut self.momentum_form),
            Hyperparameter::non_negative("weight_decay", &mut self.weight_decay),
            Hyperparameter::flag("cautious", &mut self.cautious),
            Hyperparameter::flag("maximize", &mut self.maximize),
        ]
    }

    fn check_combination(&self) -> Result<(), Error> {
        let classic = self.momentum_form == MomentumForm::Classic;
        if self.nesterov && !(self.momentum > 0.0 && self.dampening == 0.0 && classic) {
            return Err(Error::Hyperparameter {
                rule: self.name().to_owned(),
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

    fn lr(&self) -> f64 {
        self.lr
    }

    fn maximize(&self) -> bool {
        self.maximize
    }

    fn slots(&self) -> Vec<Slot> {
        vec![
            Slot::element("momentum_buffer").used_if(self.momentum > 0.0),
            cautious::slot(self.cautious),
        ]
    }

    fn stages(&self) -> Stages {
        cautious::stages(self.cautious, &["momentum_buffer"])
    }

    fn constants(&self) -> Vec<f64> {
        self.hyper().to_vec()
    }

    fn flags(&self) -> Vec<(&'static str, bool)> {
        vec![("NESTEROV", self.nesterov)]
    }

    /// How much of b goes, how much of g comes.
    fn at(&self, t: u64) -> [f64; 4] {
        let forget = 1.0 - self.momentum;
        match self.momentum_form {
            MomentumForm::Ema => [forget, forget, 0.0, 0.0],
            MomentumForm::Classic if t == 1 || self.momentum == 0.0 => [1.0, 1.0, 0.0, 0.0],
            MomentumForm::Classic => [forget, 1.0 - self.dampening, 0.0, 0.0],
        }
    }

    fn wgsl(&self) -> &str {
        cautious::wgsl!("sgd", self.weight_decay > 0.0, self.cautious)
    }
}

impl<T: Real> Twin<T> for Sgd {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let decayed = cautious::l2(self.weight_decay);
        let stepped = move |p, u| p - now.lr * u;
        cautious::each(block, self.cautious, decayed, self.direction(now), stepped);
    }

    fn measure(&self, block: Block<'_, T>, now: Step<T>) -> Sums {
        cautious::measure(block, cautious::l2(self.weight_decay), self.direction(now))
    }

    fn conclude(&self, sums: [T; 4], tensor: &mut [T], shape: Shape<T>, _now: Step<T>) {
        cautious::conclude(sums, tensor, shape);
    }
}
