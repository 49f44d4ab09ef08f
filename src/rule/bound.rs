//! What gradients and parameters are held to. In WGSL: `shaders/bound.wgsl`.

use super::{Real, Rule};

/// The bounds of one rule in one precision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound<T> {
    /// The largest magnitude of a gradient, as the rule gets it.
    most: T,
    /// Whether parameters are held to it too.
    holds_params: bool,
    /// Whether an update looks at gradients, and gives NaN for one that is not finite.
    updates_by_grads: bool,
}

/// The exponent of 2 that the gradients of `rule` are held to in f32.
pub(crate) fn most_grad_exponent(rule: &dyn Rule) -> i32 {
    let stages = rule.stages();
    if !rule.squares_gradients() {
        // The difference of two is finite.
        126
    } else if stages.sum.is_some() || stages.lines.is_some() {
        // The squares of 2²⁸ elements have a finite sum.
        50
    } else {
        // The square of three times as much is finite: Adan squares g + β2·(g − prev_grad).
        62
    }
}

impl<T: Real> Bound<T> {
    pub fn of(rule: &dyn Rule) -> Self {
        // f64 has eight times the exponents of f32.
        let width = size_of::<T>() as i32;
        let exponent = most_grad_exponent(rule) * if width == 8 { 8 } else { 1 };
        Self {
            most: T::from_f64(2f64.powi(exponent)),
            holds_params: !rule.squares_gradients(),
            updates_by_grads: rule.stages().matrix.is_none(),
        }
    }

    /// For work that is no step.
    pub fn none() -> Self {
        Self {
            most: T::infinity(),
            holds_params: false,
            updates_by_grads: false,
        }
    }

    /// Within the bound.
    #[inline(always)]
    pub fn held(self, x: T) -> T {
        x.max(-self.most).min(self.most)
    }

    /// Within the bound, for what may be NaN and stays so. Processors do this at once.
    #[inline(always)]
    fn clamped(self, x: T) -> T {
        let x = if x < -self.most { -self.most } else { x };
        if x > self.most { self.most } else { x }
    }

    /// The gradient as a rule gets it: none of its squares and sums overflows. It is NaN if the
    /// gradient is not finite.
    #[inline(always)]
    pub fn limited(self, g: T) -> T {
        if g.is_finite() {
            self.clamped(g)
        } else {
            T::nan()
        }
    }

    /// The parameter after an update. It is NaN if the gradient that the rule got was, whatever the rule made of
    /// that.
    #[inline(always)]
    pub fn outcome(self, updated: T, g: T) -> T {
        let bounded = if self.holds_params {
            self.clamped(updated)
        } else {
            updated
        };
        let looked_at = if self.updates_by_grads { g } else { T::zero() };
        if looked_at.is_nan() {
            looked_at
        } else {
            bounded
        }
    }
}
