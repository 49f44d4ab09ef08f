use crate::{
    Extent, MatrixStage, MatrixWork, Rule, Slot, Stages,
    cpu::{Block, Real, Step, Twin},
    hyperparameter::Hyperparameter,
};

/// Newton's method with the whole Hessian of each tensor, for at most 256 unknowns in one.
///
/// `p ← p − lr·d`, where `(H + λI)d = g`, by Cholesky. λ is `damping`; where the factorisation fails it
/// becomes `max(10λ, 1e-8)` until it holds. A Hessian with a NaN or an infinity moves nothing.
///
/// The caller fills the input `hessian`, row-major, of which the lower triangle is read, before each
/// step that needs another one. [`GroupStats`](crate::GroupStats) has the λ used.
///
/// Source: Nocedal & Wright 2006, Numerical Optimization, section 3.4: a multiple of the identity is
/// added.
#[derive(Debug, Clone, PartialEq)]
pub struct NewtonDense {
    /// 1 is the whole Newton step; a group starts with it.
    pub lr: f64,
    /// The first λ.
    pub damping: f64,
    /// Climb in place of descending; the Hessian is that of minus the function then.
    pub maximize: bool,
}

impl Default for NewtonDense {
    fn default() -> Self {
        Self {
            lr: 1.0,
            damping: 0.0,
            maximize: false,
        }
    }
}

impl NewtonDense {
    /// `Hyper` in shaders/rules/newton_dense.wgsl.
    fn hyper(&self) -> [f64; 1] {
        [self.damping]
    }
}

impl Rule for NewtonDense {
    fn name(&self) -> &str {
        "newton_dense"
    }

    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![
            Hyperparameter::non_negative("lr", &mut self.lr),
            Hyperparameter::non_negative("damping", &mut self.damping),
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
            Slot::element("direction").as_scratch(),
            Slot::input("hessian").of(Extent::Pair),
        ]
    }

    fn stages(&self) -> Stages {
        Stages {
            lines: None,
            sum: None,
            matrix: Some(MatrixStage {
                slot: "direction",
                work: MatrixWork::Solve {
                    hessian: "hessian",
                    damping: self.damping,
                },
                reads: &["direction"],
            }),
        }
    }

    fn constants(&self) -> Vec<f64> {
        self.hyper().to_vec()
    }

    fn wgsl(&self) -> &str {
        include_str!("../../shaders/rules/newton_dense.wgsl")
    }
}

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
