use crate::{
    Rule, Slot,
    cpu::{Block, Real, Step, Twin},
    hyperparameter::Hyperparameter,
    rules::root,
};

/// Adagrad: each parameter's learning rate falls with the sum of its squared gradients.
///
/// `s ← s + g²`, `p ← p − lr/(1 + (t−1)·lr_decay) · g/(√s + eps)`.
///
/// Source: Duchi et al. 2011, as in `torch.optim.Adagrad`.
#[derive(Debug, Clone, PartialEq)]
pub struct Adagrad {
    /// Learning rate; a group starts with it.
    pub lr: f64,
    /// How fast the learning rate falls with the step count.
    pub lr_decay: f64,
    /// What `sum` starts at.
    pub initial_accumulator_value: f64,
    /// Keeps the division from blowing up; at least 1.18e-38.
    pub eps: f64,
    /// `√(s + eps)` in place of `√s + eps`.
    pub eps_inside_root: bool,
    /// L2: added to the gradient.
    pub weight_decay: f64,
    /// Climb in place of descending.
    pub maximize: bool,
}

impl Default for Adagrad {
    fn default() -> Self {
        Self {
            lr: 1e-2,
            lr_decay: 0.0,
            initial_accumulator_value: 0.0,
            eps: 1e-10,
            eps_inside_root: false,
            weight_decay: 0.0,
            maximize: false,
        }
    }
}

impl Adagrad {
    /// `Hyper` in shaders/rules/adagrad.wgsl.
    fn hyper(&self) -> [f64; 2] {
        [self.weight_decay, self.eps]
    }
}

impl Rule for Adagrad {
    fn name(&self) -> &str {
        "adagrad"
    }

    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![
            Hyperparameter::non_negative("lr", &mut self.lr),
            Hyperparameter::non_negative("lr_decay", &mut self.lr_decay),
            Hyperparameter::non_negative(
                "initial_accumulator_value",
                &mut self.initial_accumulator_value,
            ),
            Hyperparameter::eps("eps", &mut self.eps),
            Hyperparameter::flag("eps_inside_root", &mut self.eps_inside_root),
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
        vec![Slot::element("sum").starting_at(self.initial_accumulator_value)]
    }

    fn constants(&self) -> Vec<f64> {
        self.hyper().to_vec()
    }

    fn flags(&self) -> Vec<(&'static str, bool)> {
        vec![
            ("WEIGHT_DECAY", self.weight_decay > 0.0),
            ("EPS_INSIDE_ROOT", self.eps_inside_root),
        ]
    }

    /// The decay of the learning rate.
    fn at(&self, t: u64) -> [f64; 4] {
        let decay = 1.0 / (1.0 + t.saturating_sub(1) as f64 * self.lr_decay);
        [decay, 0.0, 0.0, 0.0]
    }

    fn wgsl(&self) -> &str {
        concat!(
            include_str!("../../shaders/rules/adagrad.wgsl"),
            "\n",
            include_str!("../../shaders/root.wgsl"),
        )
    }
}

impl<T: Real> Twin<T> for Adagrad {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let [weight_decay, eps] = self.hyper().map(T::from_f64);
        let eps_inside_root = self.eps_inside_root;
        let decays = self.weight_decay > 0.0;
        block.each(move |p, grad, [sum]| {
            let mut g = grad;
            if decays {
                g = g + weight_decay * p;
            }
            *sum = *sum + g * g;
            let lr = now.lr * now.at[0];
            p - lr * g / root(*sum, eps, eps_inside_root)
        });
    }
}
