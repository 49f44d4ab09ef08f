use crate::{
    Rule, Slot,
    cpu::{Block, Real, Step, Twin},
    hyperparameter::Hyperparameter,
    rules::eps_terms,
};

/// RMSprop: the gradient over a running root mean square of itself.
///
/// `s ← s + (1−α)(g² − s)`, `u = g/(√s + eps)`, `p ← p − lr·u`; with momentum `b ← μb + u`,
/// `p ← p − lr·b`. Centered: `√max(s − ḡ², 0)` in place of `√s`, ḡ being the running mean; PyTorch
/// lacks that maximum and gives NaN on constant gradients.
///
/// Source: Hinton 2012 (lecture 6e), Graves 2013 (centered), as in `torch.optim.RMSprop`.
#[derive(Debug, Clone, PartialEq)]
pub struct RmsProp {
    /// Learning rate; a group starts with it.
    pub lr: f64,
    /// α in `[0, 1)`: how slowly the mean square moves.
    pub alpha: f64,
    /// Keeps the division from blowing up; at least 1.18e-38.
    pub eps: f64,
    /// `√(s + eps)` in place of `√s + eps`.
    pub eps_inside_root: bool,
    /// μ in `[0, 1)`; 0 keeps no momentum_buffer.
    pub momentum: f64,
    /// Divide by the standard deviation, not the root mean square.
    pub centered: bool,
    /// L2: added to the gradient.
    pub weight_decay: f64,
    /// Climb in place of descending.
    pub maximize: bool,
}

impl Default for RmsProp {
    fn default() -> Self {
        Self {
            lr: 1e-2,
            alpha: 0.99,
            eps: 1e-8,
            eps_inside_root: false,
            momentum: 0.0,
            centered: false,
            weight_decay: 0.0,
            maximize: false,
        }
    }
}

impl RmsProp {
    /// `Hyper` in shaders/rules/rmsprop.wgsl.
    fn hyper(&self) -> [f64; 5] {
        let (eps_inside, eps) = eps_terms(self.eps, self.eps_inside_root);
        let one_minus_alpha = 1.0 - self.alpha;
        [
            self.weight_decay,
            one_minus_alpha,
            eps_inside,
            eps,
            self.momentum,
        ]
    }
}

impl Rule for RmsProp {
    fn name(&self) -> &str {
        "rmsprop"
    }

    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![
            Hyperparameter::non_negative("lr", &mut self.lr),
            Hyperparameter::below_one("alpha", &mut self.alpha),
            Hyperparameter::eps("eps", &mut self.eps),
            Hyperparameter::flag("eps_inside_root", &mut self.eps_inside_root),
            Hyperparameter::below_one("momentum", &mut self.momentum),
            Hyperparameter::flag("centered", &mut self.centered),
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
        vec![
            Slot::element("square_avg"),
            Slot::element("grad_avg").used_if(self.centered),
            Slot::element("momentum_buffer").used_if(self.momentum > 0.0),
        ]
    }

    fn constants(&self) -> Vec<f64> {
        self.hyper().to_vec()
    }

    fn flags(&self) -> Vec<(&'static str, bool)> {
        vec![("CENTERED", self.centered)]
    }

    fn wgsl(&self) -> &str {
        include_str!("../../shaders/rules/rmsprop.wgsl")
    }
}

impl<T: Real> Twin<T> for RmsProp {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let [weight_decay, one_minus_alpha, eps_inside, eps, momentum] =
            self.hyper().map(T::from_f64);
        let centered = self.centered;
        block.each(move |p, grad, [square_avg, grad_avg, momentum_buffer]| {
            let g = grad + weight_decay * p;
            *square_avg = *square_avg + one_minus_alpha * (g * g - *square_avg);
            let mut variance = *square_avg;
            if centered {
                *grad_avg = *grad_avg + one_minus_alpha * (g - *grad_avg);
                variance = (variance - *grad_avg * *grad_avg).max(T::zero());
            }
            let u = g / ((variance + eps_inside).sqrt() + eps);
            let b = momentum * *momentum_buffer + u;
            *momentum_buffer = b;
            p - now.lr * b
        });
    }
}
