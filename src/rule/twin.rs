//! The update of a rule on the CPU, written once for f32 and f64.

use std::fmt;

use bytemuck::Pod;
use num_traits::{Float, NumCast};

use super::Block;
use crate::{Rule, shape::Matrices};

/// f32 or f64.
pub trait Real: Float + Pod + Send + Sync + fmt::Debug + fmt::Display + private::Sealed {
    /// The twin of `rule` for this type.
    #[doc(hidden)]
    fn twin(rule: &dyn Rule) -> &dyn Twin<Self>;

    /// The nearest value of this type.
    fn from_f64(value: f64) -> Self {
        // Every f64 has a nearest f32, infinity included.
        <Self as NumCast>::from(value).unwrap_or_else(Self::nan)
    }

    /// -1, 0 or 1, like WGSL's `sign`. NaN gives 0.
    fn sign(self) -> Self {
        if self > Self::zero() {
            Self::one()
        } else if self < Self::zero() {
            -Self::one()
        } else {
            Self::zero()
        }
    }
}

impl Real for f32 {
    fn twin(rule: &dyn Rule) -> &dyn Twin<Self> {
        rule
    }
}

impl Real for f64 {
    fn twin(rule: &dyn Rule) -> &dyn Twin<Self> {
        rule
    }
}

mod private {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// The numbers of one step: the same as `Step` in `shaders/now.wgsl`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Step<T> {
    /// Learning rate.
    pub lr: T,
    /// lr times the decoupled weight decay. The product is taken in f64.
    pub decay: T,
    /// The factor for the gradient before the rule sees it. It is negative to maximize.
    pub grad_scale: T,
    /// Steps performed, including this one.
    pub t: u64,
    /// [`Rule::advance`] of this step.
    pub at: [T; 4],
    /// 1 if the caller has filled the rule's inputs anew for this step, otherwise 0.
    pub refreshed: T,
}

impl Step<f64> {
    /// The same numbers in the precision of the update.
    pub(crate) fn rounded<T: Real>(self) -> Step<T> {
        Step {
            lr: T::from_f64(self.lr),
            decay: T::from_f64(self.decay),
            grad_scale: T::from_f64(self.grad_scale),
            t: self.t,
            at: self.at.map(T::from_f64),
            refreshed: T::from_f64(self.refreshed),
        }
    }
}

/// The size of a tensor: the same as `Shape` in `shaders/tensors/shape.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape<T> {
    /// The number of elements.
    pub count: T,
    /// The last dimension but one, or 1 if there are fewer than two.
    pub rows: T,
    /// The last dimension, or 1 if there is none.
    pub columns: T,
}

impl<T: Real> Shape<T> {
    pub(crate) fn of(matrices: &Matrices) -> Self {
        let number = |count: usize| T::from_f64(count as f64);
        Self {
            count: number(matrices.count * matrices.rows * matrices.columns),
            rows: number(matrices.rows),
            columns: number(matrices.columns),
        }
    }
}

/// The CPU half of a [`Rule`], in precision `T`: the update of one block, and the stages before it.
pub trait Twin<T: Real>: Send + Sync {
    /// Updates every element of `block`, normally by [`Block::each`].
    fn update(&self, block: Block<'_, T>, now: Step<T>);

    /// What the elements of `block` add to a [`Sum`](crate::Sum), normally by [`Block::sum`].
    fn measure(&self, _block: Block<'_, T>, _now: Step<T>) -> Sums {
        Sums::default()
    }

    /// Concludes from the sums. It changes `tensor`: the values of the tensor, in the order of the
    /// rule's slots of [`Extent::Tensor`](crate::Extent::Tensor).
    fn conclude(&self, _sums: [T; 4], _tensor: &mut [T], _shape: Shape<T>, _now: Step<T>) {}

    /// Fills the slot of a [`MatrixStage`](crate::MatrixStage), in the state of `block`.
    fn prepare(&self, _block: Block<'_, T>, _now: Step<T>) {}

    /// The value whose means [`Lines`](crate::Lines) take.
    fn line(&self, g: T) -> T {
        g
    }

    /// Replaces each gradient by its [`line`](Self::line).
    #[doc(hidden)]
    fn lines(&self, grads: &mut [T]) {
        for g in grads {
            *g = self.line(*g);
        }
    }

    /// The new state of a row or column. `kept` is the state so far, `mean` the mean of its
    /// [`line`](Self::line).
    fn move_line(&self, kept: T, _mean: T, _now: Step<T>) -> T {
        kept
    }

    /// Applies [`move_line`](Self::move_line) to each of `kept`, with the mean of the same index.
    #[doc(hidden)]
    fn move_lines(&self, kept: &mut [T], means: &[T], now: Step<T>) {
        for (kept, &mean) in kept.iter_mut().zip(means) {
            *kept = self.move_line(*kept, mean, now);
        }
    }

    /// The factor of a row, from its state and from the mean of that state over its matrix's rows.
    fn row_factor(&self, row: T, _mean: T) -> T {
        row
    }

    /// Changes to the parameters to evaluate with; see
    /// [`Declaration::evaluates_elsewhere`](crate::Declaration::evaluates_elsewhere).
    fn evaluate(&self, _block: Block<'_, T>) {}

    /// Changes back to the parameters to train with.
    fn train(&self, _block: Block<'_, T>) {}
}

/// Sums over elements, in the order of their [names](crate::Sum::names). Unused ones are zero.
pub type Sums = [f64; 4];

/// A gradient after clipping by value, if there is such clipping.
#[inline(always)]
pub(crate) fn clipped<T: Real>(g: T, most: Option<T>) -> T {
    match most {
        Some(most) if !g.is_nan() => g.max(-most).min(most),
        _ => g,
    }
}

/// A sum as the rule gets it. A sum that overflows f32 becomes the largest finite f32.
pub(crate) fn bounded<T: Real>(sum: f64) -> T {
    let most = T::max_value().to_f64().unwrap_or(f64::MAX);
    T::from_f64(sum.clamp(-most, most))
}
