use super::prelude::{
    Block, Extent, MatrixStage, MatrixWork, Real, Rule, Stages, Step, Twin, rule,
};

rule! {
    /// Newton's method with the whole Hessian of each tensor, for at most 256 unknowns in one.
    ///
    /// `p ← p − lr·d`, where `(H + λI)d = g`, by Cholesky. λ is `damping`; where the factorisation fails it
    /// becomes `max(10λ, 1e-8)` until it holds. A Hessian with a NaN or an infinity moves nothing.
    ///
    /// The caller fills the input `hessian`, row-major, of which the lower triangle is read, before each
    /// step that needs another one. [`GroupStats`](crate::GroupStats) has the λ used.
    pub struct NewtonDense("newton_dense") {
        /// 1 is the whole Newton step; a group starts with it.
        pub lr: f64 in NON_NEGATIVE = 1.0,
        /// The first λ.
        pub damping: f64 in NON_NEGATIVE = 0.0,
    }
    source: "Nocedal & Wright 2006, Numerical Optimization, section 3.4: a multiple of the identity is \
        added.";
    constants: damping;
    squares_gradients: false;
    slots: direction.as_scratch(), hessian.as_input().of(Extent::Pair);
    stages: Stages {
        lines: None,
        sum: None,
        matrix: Some(MatrixStage {
            slot: "direction",
            work: MatrixWork::Solve {
                hessian: "hessian",
                damping,
            },
            reads: &["direction"],
        }),
    };
    wgsl: include_str!("../../shaders/rules/newton_dense.wgsl");
}

impl Rule for NewtonDense {}

impl<T: Real> Twin<T> for NewtonDense {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        block.each(move |p, _, [direction]| p - now.lr * *direction);
    }

    fn prepare(&self, block: Block<'_, T>, _now: Step<T>) {
        block.each(|p, g, [direction]| {
            *direction = g;
            p
        });
    }
}
