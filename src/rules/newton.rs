use crate::{
    Rule, Slot,
    cpu::{Block, Real, Step, Twin},
    hyperparameter::Hyperparameter,
};

/// Newton's method with a diagonal Hessian that the caller fills into the input `hessian`.
///
/// `p ← p − lr·g/(|h| + damping)`. The absolute value keeps it from climbing where h is negative.
///
/// Closed form; see Becker & LeCun 1989 for the diagonal.
#[derive(Debug, Clone, PartialEq)]
pub struct Newton {
    /// Learning rate; a group starts with it.
    pub lr: f64,
    /// Bounds the step where h is about zero; at least 1.18e-38.
    pub damping: f64,
    /// Climb in place of descending.
    pub maximize: bool,
}

impl Default for Newton {
    fn default() -> Self {
        Self {
            lr: 1.0,
            damping: 1e-8,
            maximize: false,
        }
    }
}

impl Newton {
    /// `Hyper` in shaders/rules/newton.wgsl.
    fn hyper(&self) -> [f64; 1] {
        [self.damping]
    }
}

impl Rule for Newton {
    fn name(&self) -> &str {
        "newton"
    }

    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![
            Hyperparameter::non_negative("lr", &mut self.lr),
            Hyperparameter::eps("damping", &mut self.damping),
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
        vec![Slot::input("hessian")]
    }

    fn constants(&self) -> Vec<f64> {
        self.hyper().to_vec()
    }

    fn wgsl(&self) -> &str {
        include_str!("../../shaders/rules/newton.wgsl")
    }
}

impl<T: Real> Twin<T> for Newton {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let [damping] = self.hyper().map(T::from_f64);
        block.each(move |p, g, [hessian]| p - now.lr * g / (hessian.abs() + damping));
    }
}
