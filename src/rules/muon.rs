use super::prelude::{
    Block, Error, MatrixStage, MatrixWork, Over, Real, Rule, Shape, Stages, Step, Sum, Sums, Twin,
    choice, ema, pull, rule,
};

rule! {
    /// Muon: momentum whose matrices are made nearly orthogonal, for matrices alone.
    ///
    /// `b ← b + (1−μ)(g − b)`; `u = g + μ(b − g)` with Nesterov, else b; `X = u/max(‖u‖, eps)`, then ns_steps
    /// times `A = XXᵀ; X ← aX + (bA + cA²)X`, transposed where there are more rows than columns;
    /// `p ← p − (lr·weight_decay·p + lr·scale·X)`.
    ///
    /// Every tensor has two dimensions; others, and embeddings and the last layer too, belong to a group
    /// of another rule.
    pub struct Muon("muon") {
        pub lr: f64 in NON_NEGATIVE = 1e-3,
        /// μ.
        pub momentum: f64 in BELOW_ONE = 0.95,
        /// Nesterov momentum.
        pub nesterov: bool = true,
        /// Decoupled.
        pub weight_decay: f64 in NON_NEGATIVE = 0.1,
        /// The least norm that u is divided by.
        pub eps: f64 in EPS = 1e-7,
        /// Newton–Schulz steps: a whole number.
        pub ns_steps: f64 in (1.0..=20.0) = 5.0,
        /// a of a step.
        pub ns_a: f64 in (-10.0..=10.0) = 3.4445,
        /// b.
        pub ns_b: f64 in (-10.0..=10.0) = -4.775,
        /// c.
        pub ns_c: f64 in (-10.0..=10.0) = 2.0315,
        /// How the step depends on the shape.
        pub adjust_lr_fn: AdjustLr = AdjustLr::Original,
    }
    source: "Jordan et al. 2024, <https://kellerjordan.github.io/posts/muon>, as in `torch.optim.Muon`, \
        which takes its steps in bf16.";
    decoupled_weight_decay: weight_decay;
    constants: pull_momentum = pull(momentum), eps;
    flags: NESTEROV = nesterov, MATCH_RMS_ADAMW = adjust_lr_fn == AdjustLr::MatchRmsAdamW,
        SPECTRAL_UNCLAMPED = adjust_lr_fn == AdjustLr::SpectralUnclamped;
    slots: momentum_buffer, orthogonal.as_scratch(), inverse_norm.per_tensor().as_scratch(),
        scale.per_tensor().as_scratch();
    stages: Stages {
        lines: None,
        sum: Some(Sum {
            names: &["u_squared"],
            over: Over::Tensor,
            reads: &["momentum_buffer"],
        }),
        matrix: Some(MatrixStage {
            slot: "orthogonal",
            work: MatrixWork::Orthogonalize {
                steps: ns_steps as u32,
                coefficients: [ns_a, ns_b, ns_c],
            },
            reads: &["orthogonal", "scale"],
        }),
    };
    wgsl: include_str!("../../shaders/rules/muon.wgsl");
}

choice! {
    /// How Muon's step depends on the shape of a matrix of A rows and B columns.
    #[derive(Default)]
    pub enum AdjustLr {
        /// `√max(1, A/B)`.
        #[default]
        Original = "original",
        /// `0.2·√max(A, B)`: an AdamW's learning rate and weight decay do for it too.
        MatchRmsAdamW = "match_rms_adamw",
        /// `√(A/B)`.
        SpectralUnclamped = "spectral_unclamped",
    }
}

impl Muon {
    /// What is made orthogonal.
    fn direction<T: Real>(&self) -> impl Fn(T, &mut T) -> T + Copy + use<T> {
        let [pull_momentum] = self.constants_as::<T, _>();
        let nesterov = self.nesterov;
        move |g, momentum_buffer| {
            let b = ema(*momentum_buffer, g, pull_momentum);
            *momentum_buffer = b;
            if nesterov {
                return ema(b, g, pull_momentum);
            }
            b
        }
    }
}

impl Rule for Muon {
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
        let [_, eps] = self.constants_as::<T, _>();
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
