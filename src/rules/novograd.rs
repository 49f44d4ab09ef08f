use crate::{
    Over, Rule, Slot, Stages, Sum,
    cpu::{Block, Real, Shape, Step, Sums, Twin},
    hyperparameter::Hyperparameter,
};

/// NovoGrad: momentum of gradients that are normalized tensor by tensor.
///
/// `V ← V + (1−β2)(‖g‖² − V)`, one number per tensor, at first `‖g‖²`; `a = g/(√V + eps) + wd·p`;
/// `m ← β1·m + a`; `p ← p − lr·m`.
///
/// Source: Ginsburg et al. 2019, arXiv:1905.11286, as in `optax.novograd`.
#[derive(Debug, Clone, PartialEq)]
pub struct NovoGrad {
    /// Learning rate; a group starts with it.
    pub lr: f64,
    /// β1 in `[0, 1)`.
    pub beta1: f64,
    /// β2 in `[0, 1)`.
    pub beta2: f64,
    /// Keeps the division from blowing up; at least 1.18e-38.
    pub eps: f64,
    /// Added to the normalized gradient.
    pub weight_decay: f64,
    /// Climb in place of descending.
    pub maximize: bool,
}

impl Default for NovoGrad {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.25,
            eps: 1e-6,
            weight_decay: 0.0,
            maximize: false,
        }
    }
}

impl NovoGrad {
    /// `Hyper` in shaders/rules/novograd.wgsl.
    fn hyper(&self) -> [f64; 2] {
        [self.eps, self.weight_decay]
    }
}

impl Rule for NovoGrad {
    fn name(&self) -> &str {
        "novograd"
    }

    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![
            Hyperparameter::non_negative("lr", &mut self.lr),
            Hyperparameter::below_one("beta1", &mut self.beta1),
            Hyperparameter::below_one("beta2", &mut self.beta2),
            Hyperparameter::eps("eps", &mut self.eps),
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
        vec![Slot::element("exp_avg"), Slot::tensor("exp_avg_sq")]
    }

    fn stages(&self) -> Stages {
        Stages::sum(Sum {
            names: &["g_squared"],
            over: Over::Tensor,
            reads: &[],
        })
    }

    fn constants(&self) -> Vec<f64> {
        self.hyper().to_vec()
    }

    /// The weight of the new norm, and that of the momentum so far.
    fn at(&self, t: u64) -> [f64; 4] {
        match t {
            1 => [1.0, 0.0, 0.0, 0.0],
            _ => [1.0 - self.beta2, self.beta1, 0.0, 0.0],
        }
    }

    fn wgsl(&self) -> &str {
        include_str!("../../shaders/rules/novograd.wgsl")
    }
}

impl<T: Real> Twin<T> for NovoGrad {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let [eps, weight_decay] = self.hyper().map(T::from_f64);
        let [exp_avg_sq] = block.of_tensor::<1>();
        let denominator = exp_avg_sq.sqrt() + eps;
        block.each(move |p, g, [exp_avg]| {
            let a = g / denominator + weight_decay * p;
            *exp_avg = now.at[1] * *exp_avg + a;
            p - now.lr * *exp_avg
        });
    }

    fn measure(&self, block: Block<'_, T>, _now: Step<T>) -> Sums {
        block.sum(|_, g, [_]| [g * g])
    }

    fn conclude(&self, sums: [T; 4], tensor: &mut [T], _shape: Shape<T>, now: Step<T>) {
        let [g_squared, ..] = sums;
        tensor[0] = tensor[0] + now.at[0] * (g_squared - tensor[0]);
    }
}
