use super::prelude::{Block, Real, Rule, Step, Twin, rule};

rule! {
    /// Newton's method with a diagonal Hessian that the caller fills into the input `hessian`.
    ///
    /// `p ← p − lr·g/(|h| + damping)`. The absolute value keeps it from climbing where h is negative.
    ///
    /// Closed form; see Becker & LeCun 1989 for the diagonal.
    pub struct Newton("newton") {
        pub lr: f64 in NON_NEGATIVE = 1.0,
        /// Bounds the step where h is about zero.
        pub damping: f64 in EPS = 1e-8,
    }
    constants: damping;
    squares_gradients: false;
    slots: hessian.as_input();
    wgsl: include_str!("../../shaders/rules/newton.wgsl");
}

impl Rule for Newton {}

impl<T: Real> Twin<T> for Newton {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let [damping] = self.constants_as::<T, _>();
        block.each(move |p, g, [hessian]| p - now.lr * g / (hessian.abs() + damping));
    }
}
