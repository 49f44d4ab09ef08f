use super::prelude::{
    Block, Extent, Lines, Over, Real, Rule, Shape, Stages, Step, Sum, Sums, Twin, ema, pull, rule,
};

rule! {
    /// Adafactor: a second moment that is kept of the rows and columns of matrices alone, and a step in
    /// proportion to the size of the parameters.
    ///
    /// With `w = t^beta2_decay`: `R ← R + w(mean of g² over each row − R)`, C alike over columns,
    /// `V = R·C/max(mean of R, eps1)`; a tensor with fewer than two dimensions has `V ← V + w(g² − V)`.
    /// `u = g/√max(V, eps1²)`, `α = max(eps2, RMS(p))·min(lr, 1/√t)`,
    /// `p ← p − (lr·weight_decay·p + α/max(1, RMS(u)/d)·u)`.
    ///
    /// Rows and columns are those of the last two dimensions; the others count matrices.
    pub struct Adafactor("adafactor") {
        /// The largest relative step; a group starts with it.
        pub lr: f64 in NON_NEGATIVE = 1e-2,
        /// How fast the weight of a new square falls.
        pub beta2_decay: f64 in (-10.0..=0.0) = -0.8,
        /// The least of a root of V, and of the mean of R.
        pub eps1: f64 in (1e-18..1.0) = f64::from(f32::EPSILON),
        /// The least RMS of the parameters that counts.
        pub eps2: f64 in NON_NEGATIVE = 1e-3,
        /// The RMS that steps are clipped to.
        pub d: f64 in EPS = 1.0,
        /// Decoupled.
        pub weight_decay: f64 in NON_NEGATIVE = 0.0,
    }
    source: "Shazeer & Stern 2018, arXiv:1804.04235, as in `torch.optim.Adafactor`.";
    decoupled_weight_decay: weight_decay;
    constants: eps1, eps1_squared = eps1 * eps1, eps2, d;
    // What V is pulled by, and the most that lr may be.
    at(t): [pull(1.0 - (t as f64).powf(beta2_decay)), 1.0 / (t as f64).sqrt()];
    slots: alpha.per_tensor().as_scratch(), row_var.of(Extent::Row),
        col_var.of(Extent::Column), variance.of(Extent::Vector),
        row_factor.of(Extent::Row).as_scratch();
    stages: Stages {
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
    };
    wgsl: include_str!("../../shaders/rules/adafactor.wgsl");
}

impl Adafactor {
    /// The step before it is scaled.
    fn direction<T: Real>(&self) -> impl Fn(T, [T; 2]) -> T + Copy + use<T> {
        let [_, eps1_squared] = self.constants_as::<T, _>();
        move |g, [row_factor, col_var]| {
            let variance = row_factor * col_var;
            g / variance.max(eps1_squared).sqrt()
        }
    }
}

impl Rule for Adafactor {}

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
        let [_, _, eps2, d] = self.constants_as::<T, _>();
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
        ema(kept, mean, now.at[0])
    }

    fn row_factor(&self, row: T, mean: T) -> T {
        row / mean.max(T::from_f64(self.eps1))
    }
}
