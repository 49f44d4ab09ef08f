use crate::{
    Rule, Slot, Stages,
    cpu::{Block, Real, Shape, Step, Sums, Twin},
    hyperparameter::Hyperparameter,
    rules::{cautious, root},
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
    /// Leave out elements whose update and gradient point different ways, and scale the others up for
    /// them. Liang et al. 2024, arXiv:2411.16085.
    pub cautious: bool,
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
            cautious: false,
            maximize: false,
        }
    }
}

impl RmsProp {
    /// `Hyper` in shaders/rules/rmsprop.wgsl.
    fn hyper(&self) -> [f64; 4] {
        let one_minus_alpha = 1.0 - self.alpha;
        [self.weight_decay, one_minus_alpha, self.eps, self.momentum]
    }

    /// What the learning rate multiplies.
    fn direction<T: Real>(&self) -> impl Fn(T, &mut [T; 3]) -> T + Copy + use<T> {
        let [_, one_minus_alpha, eps, momentum] = self.hyper().map(T::from_f64);
        let eps_inside_root = self.eps_inside_root;
        let centered = self.centered;
        move |g, [square_avg, grad_avg, momentum_buffer]| {
            *square_avg = *square_avg + one_minus_alpha * (g * g - *square_avg);
            let mut variance = *square_avg;
            if centered {
                *grad_avg = *grad_avg + one_minus_alpha * (g - *grad_avg);
                variance = (variance - *grad_avg * *grad_avg).max(T::zero());
            }
            let u = g / root(variance, eps, eps_inside_root);
            let b = momentum * *momentum_buffer + u;
            *momentum_buffer = b;
            b
        }
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
            Hyperparameter::flag("cautious", &mut self.cautious),
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
            cautious::slot(self.cautious),
        ]
    }

    fn stages(&self) -> Stages {
        cautious::stages(
            self.cautious,
            &["square_avg", "grad_avg", "momentum_buffer"],
        )
    }

    fn constants(&self) -> Vec<f64> {
        self.hyper().to_vec()
    }

    fn flags(&self) -> Vec<(&'static str, bool)> {
        vec![
            ("CENTERED", self.centered),
            ("EPS_INSIDE_ROOT", self.eps_inside_root),
        ]
    }

    fn wgsl(&self) -> &str {
        cautious::wgsl!("rmsprop" with "root", self.weight_decay > 0.0, self.cautious)
    }
}

impl<T: Real> Twin<T> for RmsProp {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let decayed = cautious::l2(self.weight_decay);
        let stepped = move |p, u| p - now.lr * u;
        cautious::each(block, self.cautious, decayed, self.direction(), stepped);
    }

    fn measure(&self, block: Block<'_, T>, _now: Step<T>) -> Sums {
        cautious::measure(block, cautious::l2(self.weight_decay), self.direction())
    }

    fn conclude(&self, sums: [T; 4], tensor: &mut [T], shape: Shape<T>, _now: Step<T>) {
        cautious::conclude(sums, tensor, shape);
    }
}
