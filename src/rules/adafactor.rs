use crate::{
    Extent, Lines, Over, Rule, Slot, Stages, Sum,
    cpu::{Block, Real, Shape, Step, Sums, Twin},
    hyperparameter::{Hyperparameter, Interval},
};

/// Adafactor: a second moment that is kept of the rows and columns of matrices alone, and a step in
/// proportion to the size of the parameters.
///
/// With `w = t^beta2_decay`: `R ← R + w(mean of g² over each row − R)`, C alike over columns,
/// `V = R·C/max(mean of R, eps1)`; a tensor with fewer than two dimensions has `V ← V + w(g² − V)`.
/// `u = g/√max(V, eps1²)`, `α = max(eps2, RMS(p))·min(lr, 1/√t)`,
/// `p ← p − (lr·weight_decay·p + α/max(1, RMS(u)/d)·u)`.
///
/// Rows and columns are those of the last two dimensions; the others count matrices.
///
/// Source: Shazeer & Stern 2018, arXiv:1804.04235, as in `torch.optim.Adafactor`.
#[derive(Debug, Clone, PartialEq)]
pub struct Adafactor {
    /// The largest relative step; a group starts with it.
    pub lr: f64,
    /// How fast the weight of a new square falls; in `[-10, 0]`.
    pub beta2_decay: f64,
    /// The least of a root of V, and of the mean of R; in `[1e-18, 1)`.
    pub eps1: f64,
    /// The least RMS of the parameters that counts.
    pub eps2: f64,
    /// The RMS that steps are clipped to; at least 1.18e-38.
    pub d: f64,
    /// Decoupled.
    pub weight_decay: f64,
    /// Climb in place of descending.
    pub maximize: bool,
}

impl Default for Adafactor {
    fn default() -> Self {
        Self {
            lr: 1e-2,
            beta2_decay: -0.8,
            eps1: f64::from(f32::EPSILON),
            eps2: 1e-3,
            d: 1.0,
            weight_decay: 0.0,
            maximize: false,
        }
    }
}

impl Adafactor {
    /// `Hyper` in shaders/rules/adafactor.wgsl.
    fn hyper(&self) -> [f64; 4] {
        [self.eps1, self.eps1 * self.eps1, self.eps2, self.d]
    }

    /// The step before it is scaled.
    fn direction<T: Real>(&self) -> impl Fn(T, [T; 2]) -> T + Copy + use<T> {
        let [_, eps1_squared, ..] = self.hyper().map(T::from_f64);
        move |g, [row_factor, col_var]| {
            let variance = row_factor * col_var;
            g / variance.max(eps1_squared).sqrt()
        }
    }
}

impl Rule for Adafactor {
    fn name(&self) -> &str {
        "adafactor"
    }

    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![
            Hyperparameter::non_negative("lr", &mut self.lr),
            Hyperparameter::number(
                "beta2_decay",
                &mut self.beta2_decay,
                Interval::new(-10.0, 0.0, true),
            ),
            Hyperparameter::number("eps1", &mut self.eps1, Interval::new(1e-18, 1.0, false)),
            Hyperparameter::non_negative("eps2", &mut self.eps2),
            Hyperparameter::eps("d", &mut self.d),
            Hyperparameter::non_negative("weight_decay", &mut self.weight_decay),
            Hyperparameter::flag("maximize", &mut self.maximize),
        ]
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
            Slot::tensor("alpha").as_scratch(),
            Slot::element("row_var").of(Extent::Row),
            Slot::element("col_var").of(Extent::Column),
            Slot::element("variance").of(Extent::Vector),
            Slot::element("row_factor").of(Extent::Row).as_scratch(),
        ]
    }

    fn stages(&self) -> Stages {
        Stages {
            lines: Some(Lines {
                row: "row_var",
                column: "col_var",
                vector: "variance",
                factor: "row_factor",
            }),
            sum: Some(Sum {
                names: &["p_squared", "u_squared"],
                over: Over::Tensor,
                reads: &["row_factor", "col_var"],
            }),
            matrix: None,
        }
    }

    fn constants(&self) -> Vec<f64> {
        self.hyper().to_vec()
    }

    /// How far V moves, and the most that lr may be.
    fn at(&self, t: u64) -> [f64; 4] {
        let t = t as f64;
        [t.powf(self.beta2_decay), 1.0 / t.sqrt(), 0.0, 0.0]
    }

    fn wgsl(&self) -> &str {
        include_str!("../../shaders/rules/adafactor.wgsl")
    }
}

impl<T: Real> Twin<T> for Adafactor {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let direction = self.direction();
        let [alpha] = block.of_tensor();
        block.each(move |p, g, s| p - (now.decay * p + alpha * direction(g, *s)));
    }

    fn measure(&self, block: Block<'_, T>, _now: Step<T>) -> Sums {
        let direction = self.direction();
        block.sum(move |p, g, s| {
            let u = direction(g, s);
            [p * p, u * u]
        })
    }

    fn conclude(&self, sums: [T; 4], tensor: &mut [T], shape: Shape<T>, now: Step<T>) {
        let [_, _, eps2, d] = self.hyper().map(T::from_f64);
        let [p_squared, u_squared, ..] = sums;
        let p_rms = (p_squared / shape.count).sqrt();
        let u_rms = (u_squared / shape.count).sqrt();
        let alpha = eps2.max(p_rms) * now.lr.min(now.at[1]);
        tensor[0] = alpha / (u_rms / d).max(T::one());
    }

    fn line(&self, g: T) -> T {
        g * g
    }

    fn move_line(&self, kept: T, mean: T, now: Step<T>) -> T {
        kept + now.at[0] * (mean - kept)
    }

    fn row_factor(&self, row: T, mean: T) -> T {
        let [eps1, ..] = self.hyper().map(T::from_f64);
        row / mean.max(eps1)
    }
}
