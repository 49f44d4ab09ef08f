use crate::{
    Over, Rule, Slot, Stages, Sum,
    cpu::{Block, Real, Shape, Step, Sums, Twin},
    hyperparameter::Hyperparameter,
};

/// LARS: momentum whose gradient is scaled, tensor by tensor, to the size of the parameters.
///
/// `g' = g + wd·p`, `ratio = trust_coefficient·‖p‖/(‖g'‖ + eps)`, 1 where a norm is 0;
/// `b ← μb + lr·ratio·g'`, `p ← p − b`. The learning rate is inside the buffer.
///
/// Source: You et al. 2017, arXiv:1708.03888, as in `optax.lars`.
#[derive(Debug, Clone, PartialEq)]
pub struct Lars {
    /// Learning rate; a group starts with it.
    pub lr: f64,
    /// μ in `[0, 1)`.
    pub momentum: f64,
    /// `p ← p − (lr·ratio·g' + μb)`.
    pub nesterov: bool,
    /// L2: goes through the gradient.
    pub weight_decay: f64,
    /// How far a step may go, as a part of the parameters.
    pub trust_coefficient: f64,
    /// Added to the norm of the gradient.
    pub eps: f64,
    /// Climb in place of descending.
    pub maximize: bool,
}

impl Default for Lars {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            momentum: 0.9,
            nesterov: false,
            weight_decay: 0.0,
            trust_coefficient: 1e-3,
            eps: 0.0,
            maximize: false,
        }
    }
}

impl Lars {
    /// `Hyper` in shaders/rules/lars.wgsl.
    fn hyper(&self) -> [f64; 4] {
        [
            self.weight_decay,
            self.trust_coefficient,
            self.eps,
            self.momentum,
        ]
    }
}

impl Rule for Lars {
    fn name(&self) -> &str {
        "lars"
    }

    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![
            Hyperparameter::non_negative("lr", &mut self.lr),
            Hyperparameter::below_one("momentum", &mut self.momentum),
            Hyperparameter::flag("nesterov", &mut self.nesterov),
            Hyperparameter::non_negative("weight_decay", &mut self.weight_decay),
            Hyperparameter::non_negative("trust_coefficient", &mut self.trust_coefficient),
            Hyperparameter::non_negative("eps", &mut self.eps),
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
            Slot::element("momentum_buffer"),
            Slot::tensor("trust_ratio"),
        ]
    }

    fn stages(&self) -> Stages {
        Stages::sum(Sum {
            names: &["p_squared", "g_squared"],
            over: Over::Tensor,
            reads: &[],
        })
    }

    fn constants(&self) -> Vec<f64> {
        self.hyper().to_vec()
    }

    fn flags(&self) -> Vec<(&'static str, bool)> {
        vec![("NESTEROV", self.nesterov)]
    }

    fn wgsl(&self) -> &str {
        include_str!("../../shaders/rules/lars.wgsl")
    }
}

impl<T: Real> Twin<T> for Lars {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let [weight_decay, _, _, momentum] = self.hyper().map(T::from_f64);
        let nesterov = self.nesterov;
        let [trust_ratio] = block.of_tensor();
        block.each(move |p, g, [momentum_buffer]| {
            let u = now.lr * trust_ratio * (g + weight_decay * p);
            let b = momentum * *momentum_buffer + u;
            *momentum_buffer = b;
            if nesterov {
                return p - (u + momentum * b);
            }
            p - b
        });
    }

    fn measure(&self, block: Block<'_, T>, _now: Step<T>) -> Sums {
        let [weight_decay, ..] = self.hyper().map(T::from_f64);
        block.sum(move |p, g, [_]| {
            let decayed = g + weight_decay * p;
            [p * p, decayed * decayed]
        })
    }

    fn conclude(&self, sums: [T; 4], tensor: &mut [T], _shape: Shape<T>, _now: Step<T>) {
        let [_, trust_coefficient, eps, _] = self.hyper().map(T::from_f64);
        let [p_squared, g_squared, ..] = sums;
        let is_zero = p_squared == T::zero() || g_squared == T::zero();
        let ratio = trust_coefficient * p_squared.sqrt() / (g_squared.sqrt() + eps);
        tensor[0] = if is_zero { T::one() } else { ratio };
    }
}
