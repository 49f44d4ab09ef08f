use crate::{
    Over, Rule, Slot, Stages, Sum,
    cpu::{Block, Real, Shape, Step, Sums, Twin},
    hyperparameter::Hyperparameter,
};

/// Momentum with a learning rate for each tensor, which grows while gradients agree with those before
/// and shrinks while they do not.
///
/// `s ← s·(1 ± factor)` by the sign of `⟨g, g_prev⟩`, but `lr·s` stays at least `min_lr` at the rule's own lr;
/// `v ← μv − lr·s·g`; `p ← p + v`. The first step, which has no gradient before it, shrinks.
///
/// Source: a textbook's custom optimizer; the same idea per weight is Jacobs 1988, the delta-bar-delta
/// rule.
#[derive(Debug, Clone, PartialEq)]
pub struct GradientAgreement {
    /// Learning rate; a group starts with it.
    pub lr: f64,
    /// μ in `[0, 1)`.
    pub momentum: f64,
    /// How fast rates change; in `[0, 1)`. The textbook's 0.1 is for gradients of all data: those of
    /// small batches agree by chance, and want 0.01 or less.
    pub factor: f64,
    /// The least that a tensor's rate shrinks to.
    pub min_lr: f64,
    /// Climb in place of descending.
    pub maximize: bool,
}

impl Default for GradientAgreement {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            momentum: 0.9,
            factor: 0.1,
            min_lr: 1e-6,
            maximize: false,
        }
    }
}

impl GradientAgreement {
    /// `Hyper` in shaders/rules/gradient_agreement.wgsl.
    fn hyper(&self) -> [f64; 3] {
        // Over the rule's own lr, lest a schedule that ends in zero leave a large scale behind.
        let least = if self.lr > 0.0 {
            self.min_lr / self.lr
        } else {
            0.0
        };
        [self.momentum, self.factor, least]
    }
}

impl Rule for GradientAgreement {
    fn name(&self) -> &str {
        "gradient_agreement"
    }

    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![
            Hyperparameter::non_negative("lr", &mut self.lr),
            Hyperparameter::below_one("momentum", &mut self.momentum),
            Hyperparameter::below_one("factor", &mut self.factor),
            Hyperparameter::non_negative("min_lr", &mut self.min_lr),
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
            Slot::element("prev_grad"),
            Slot::tensor("lr_scale").starting_at(1.0),
        ]
    }

    fn stages(&self) -> Stages {
        Stages::sum(Sum {
            names: &["agreement"],
            over: Over::Tensor,
            reads: &["prev_grad"],
        })
    }

    fn constants(&self) -> Vec<f64> {
        self.hyper().to_vec()
    }

    fn wgsl(&self) -> &str {
        include_str!("../../shaders/rules/gradient_agreement.wgsl")
    }
}

impl<T: Real> Twin<T> for GradientAgreement {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let [momentum, ..] = self.hyper().map(T::from_f64);
        let [lr_scale] = block.of_tensor();
        block.each(move |p, g, [momentum_buffer, prev_grad]| {
            *prev_grad = g;
            *momentum_buffer = momentum * *momentum_buffer - now.lr * lr_scale * g;
            p + *momentum_buffer
        });
    }

    fn measure(&self, block: Block<'_, T>, _now: Step<T>) -> Sums {
        block.sum(|_, g, [_, prev_grad]| [g * prev_grad])
    }

    fn conclude(&self, sums: [T; 4], tensor: &mut [T], _shape: Shape<T>, _now: Step<T>) {
        let [_, factor, least] = self.hyper().map(T::from_f64);
        let [agreement, ..] = sums;
        let factor = if agreement > T::zero() {
            factor
        } else {
            -factor
        };
        let scale = tensor[0] + factor * tensor[0];
        tensor[0] = scale.max(least);
    }
}
