use crate::{
    Error, MatrixStage, MatrixWork, Over, Rule, Slot, Stages, Sum,
    cpu::{Block, Real, Shape, Step, Sums, Twin},
    hyperparameter::{Choice, Hyperparameter, Interval},
};

/// Muon: momentum whose matrices are made nearly orthogonal, for matrices alone.
///
/// `b ← b + (1−μ)(g − b)`; `u = g + μ(b − g)` with Nesterov, else b; `X = u/max(‖u‖, eps)`, then ns_steps
/// times `A = XXᵀ; X ← aX + (bA + cA²)X`, transposed where there are more rows than columns;
/// `p ← p − (lr·weight_decay·p + lr·scale·X)`.
///
/// Every tensor has two dimensions; others, and embeddings and the last layer too, belong to a group
/// of another rule.
///
/// Source: Jordan et al. 2024, <https://kellerjordan.github.io/posts/muon>, as in `torch.optim.Muon`,
/// which takes its steps in bf16.
#[derive(Debug, Clone, PartialEq)]
pub struct Muon {
    /// Learning rate; a group starts with it.
    pub lr: f64,
    /// μ in `[0, 1)`.
    pub momentum: f64,
    /// Nesterov momentum.
    pub nesterov: bool,
    /// Decoupled.
    pub weight_decay: f64,
    /// The least norm that u is divided by; at least 1.18e-38.
    pub eps: f64,
    /// Newton–Schulz steps: a whole number from 1 to 20.
    pub ns_steps: f64,
    /// a of a step; in `[-10, 10]`, as are b and c.
    pub ns_a: f64,
    /// b.
    pub ns_b: f64,
    /// c.
    pub ns_c: f64,
    /// How the step depends on the shape.
    pub adjust_lr_fn: AdjustLr,
    /// Climb in place of descending.
    pub maximize: bool,
}

/// How Muon's step depends on the shape of a matrix of A rows and B columns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AdjustLr {
    /// `√max(1, A/B)`.
    #[default]
    Original,
    /// `0.2·√max(A, B)`: an AdamW's learning rate and weight decay do for it too.
    MatchRmsAdamW,
    /// `√(A/B)`.
    SpectralUnclamped,
}

const ADJUST_LR: [AdjustLr; 3] = [
    AdjustLr::Original,
    AdjustLr::MatchRmsAdamW,
    AdjustLr::SpectralUnclamped,
];

impl Choice for AdjustLr {
    fn names(&self) -> &'static [&'static str] {
        &["original", "match_rms_adamw", "spectral_unclamped"]
    }

    fn position(&self) -> usize {
        *self as usize
    }

    fn choose(&mut self, position: usize) {
        *self = ADJUST_LR[position];
    }
}

impl Default for Muon {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            momentum: 0.95,
            nesterov: true,
            weight_decay: 0.1,
            eps: 1e-7,
            ns_steps: 5.0,
            ns_a: 3.4445,
            ns_b: -4.775,
            ns_c: 2.0315,
            adjust_lr_fn: AdjustLr::Original,
            maximize: false,
        }
    }
}

impl Muon {
    /// `Hyper` in shaders/rules/muon.wgsl.
    fn hyper(&self) -> [f64; 3] {
        [1.0 - self.momentum, self.momentum, self.eps]
    }

    /// What is made orthogonal.
    fn direction<T: Real>(&self) -> impl Fn(T, &mut T) -> T + Copy + use<T> {
        let [one_minus_momentum, momentum, _] = self.hyper().map(T::from_f64);
        let nesterov = self.nesterov;
        move |g, momentum_buffer| {
            let b = *momentum_buffer + one_minus_momentum * (g - *momentum_buffer);
            *momentum_buffer = b;
            if nesterov {
                return g + momentum * (b - g);
            }
            b
        }
    }
}

impl Rule for Muon {
    fn name(&self) -> &str {
        "muon"
    }

    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![
            Hyperparameter::non_negative("lr", &mut self.lr),
            Hyperparameter::below_one("momentum", &mut self.momentum),
            Hyperparameter::flag("nesterov", &mut self.nesterov),
            Hyperparameter::non_negative("weight_decay", &mut self.weight_decay),
            Hyperparameter::eps("eps", &mut self.eps),
            Hyperparameter::number(
                "ns_steps",
                &mut self.ns_steps,
                Interval::new(1.0, 20.0, true),
            ),
            Hyperparameter::number("ns_a", &mut self.ns_a, Interval::new(-10.0, 10.0, true)),
            Hyperparameter::number("ns_b", &mut self.ns_b, Interval::new(-10.0, 10.0, true)),
            Hyperparameter::number("ns_c", &mut self.ns_c, Interval::new(-10.0, 10.0, true)),
            Hyperparameter::choice("adjust_lr_fn", &mut self.adjust_lr_fn),
            Hyperparameter::flag("maximize", &mut self.maximize),
        ]
    }

    fn check_combination(&self) -> Result<(), Error> {
        if self.ns_steps.fract() == 0.0 {
            return Ok(());
        }
        Err(Error::Hyperparameter {
            rule: "muon".to_owned(),
            name: "ns_steps".to_owned(),
            value: self.ns_steps.to_string(),
            allowed: "a whole number".to_owned(),
        })
    }

    fn lr(&self) -> f64 {
        self.lr
    }

    fn decoupled_weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn maximize(&self) -> bool {
        self.maximize
    }

    fn slots(&self) -> Vec<Slot> {
        vec![
            Slot::element("momentum_buffer"),
            Slot::element("orthogonal").as_scratch(),
            Slot::tensor("inverse_norm").as_scratch(),
            Slot::tensor("scale").as_scratch(),
        ]
    }

    fn stages(&self) -> Stages {
        Stages {
            lines: None,
            sum: Some(Sum {
                names: &["u_squared"],
                over: Over::Tensor,
                reads: &["momentum_buffer"],
            }),
            matrix: Some(MatrixStage {
                slot: "orthogonal",
                work: MatrixWork::Orthogonalize {
                    steps: self.ns_steps as u32,
                    coefficients: [self.ns_a, self.ns_b, self.ns_c],
                },
                reads: &["orthogonal", "scale"],
            }),
        }
    }

    fn constants(&self) -> Vec<f64> {
        self.hyper().to_vec()
    }

    fn flags(&self) -> Vec<(&'static str, bool)> {
        vec![
            ("NESTEROV", self.nesterov),
            (
                "MATCH_RMS_ADAMW",
                self.adjust_lr_fn == AdjustLr::MatchRmsAdamW,
            ),
            (
                "SPECTRAL_UNCLAMPED",
                self.adjust_lr_fn == AdjustLr::SpectralUnclamped,
            ),
        ]
    }

    fn wgsl(&self) -> &str {
        include_str!("../../shaders/rules/muon.wgsl")
    }
}

impl<T: Real> Twin<T> for Muon {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let [_, scale] = block.of_tensor();
        block.each(move |p, _, [_, orthogonal]| p - (now.decay * p + now.lr * scale * *orthogonal));
    }

    fn measure(&self, block: Block<'_, T>, _now: Step<T>) -> Sums {
        let direction = self.direction();
        block.sum(move |_, g, [mut b, _]| {
            let u = direction(g, &mut b);
            [u * u]
        })
    }

    fn conclude(&self, sums: [T; 4], tensor: &mut [T], shape: Shape<T>, _now: Step<T>) {
        let [_, _, eps] = self.hyper().map(T::from_f64);
        let [u_squared, ..] = sums;
        tensor[0] = T::one() / u_squared.sqrt().max(eps);
        tensor[1] = match self.adjust_lr_fn {
            AdjustLr::Original => (shape.rows / shape.columns).max(T::one()).sqrt(),
            AdjustLr::MatchRmsAdamW => T::from_f64(0.2) * shape.rows.max(shape.columns).sqrt(),
            AdjustLr::SpectralUnclamped => (shape.rows / shape.columns).sqrt(),
        };
    }

    fn prepare(&self, block: Block<'_, T>, _now: Step<T>) {
        let direction = self.direction();
        let [inverse_norm, _] = block.of_tensor();
        block.each(move |p, g, [momentum_buffer, orthogonal]| {
            *orthogonal = inverse_norm * direction(g, momentum_buffer);
            p
        });
    }
}
