//! The update of a rule on the CPU, written once for f32 and f64.

use std::fmt;

use bytemuck::Pod;
use num_traits::{Float, NumCast};

use crate::{Rule, layout::Matrices};

/// f32 or f64.
pub trait Real: Float + Pod + Send + Sync + fmt::Debug + fmt::Display + private::Sealed {
    /// The twin of `rule` for this type.
    #[doc(hidden)]
    fn twin(rule: &dyn Rule) -> &dyn Twin<Self>;

    /// The nearest value.
    fn from_f64(value: f64) -> Self {
        // Every f64 has a nearest f32, infinity included.
        <Self as NumCast>::from(value).unwrap_or_else(Self::nan)
    }

    /// -1, 0 or 1, as WGSL's `sign`; NaN gives 0.
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

/// This step's numbers, as `Step` in `shaders/now.wgsl`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Step<T> {
    /// Learning rate.
    pub lr: T,
    /// lr times the decoupled weight decay, the product taken in f64.
    pub decay: T,
    /// What the gradient is multiplied by before the rule sees it; negative to maximize.
    pub grad_scale: T,
    /// Steps performed, this one included.
    pub t: u64,
    /// [`Rule::advance`] of this step.
    pub at: [T; 4],
    /// 1 if the caller filled the rule's inputs anew for this step, else 0.
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

/// How large a tensor is, as `Shape` in `shaders/tensors/shape.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape<T> {
    /// Its elements.
    pub count: T,
    /// Its last dimension but one; 1 if it has fewer than two.
    pub rows: T,
    /// Its last dimension; 1 if it has none.
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

/// The CPU half of a [`Rule`]: the update of one block in precision `T`, and what comes before it.
pub trait Twin<T: Real>: Send + Sync {
    /// Updates every element of `block`, normally by [`Block::each`].
    fn update(&self, block: Block<'_, T>, now: Step<T>);

    /// What the elements of `block` add to a [`Sum`](crate::Sum), normally
    /// by [`Block::sum`].
    fn measure(&self, _block: Block<'_, T>, _now: Step<T>) -> Sums {
        Sums::default()
    }

    /// What follows from the sums: changes `tensor`, the tensor's values in the order of the rule's
    /// slots of [`Extent::Tensor`](crate::Extent::Tensor).
    fn conclude(&self, _sums: [T; 4], _tensor: &mut [T], _shape: Shape<T>, _now: Step<T>) {}

    /// Fills what a [`MatrixStage`](crate::MatrixStage) is about, in the state of `block`.
    fn prepare(&self, _block: Block<'_, T>, _now: Step<T>) {}

    /// What [`Lines`](crate::Lines) are means of.
    fn line(&self, g: T) -> T {
        g
    }

    /// What becomes of what is kept of a row or column, by the mean of its [`line`](Self::line).
    fn move_line(&self, kept: T, _mean: T, _now: Step<T>) -> T {
        kept
    }

    /// What is made of each row, and of the mean of all rows of its matrix.
    fn row_factor(&self, row: T, _mean: T) -> T {
        row
    }

    /// The parameters to evaluate with; see [`Rule::evaluates_elsewhere`].
    fn evaluate(&self, _block: Block<'_, T>) {}

    /// Back to the parameters to train with.
    fn train(&self, _block: Block<'_, T>) {}
}

/// Sums over elements, in the order of their [names](crate::Sum::names); unused ones are zero.
pub type Sums = [f64; 4];

/// The same range of elements of the parameters, the gradients and every slot of state.
pub struct Block<'a, T> {
    pub(crate) params: &'a mut [T],
    pub(crate) grads: &'a [T],
    /// One entry per slot of elements; empty for a slot that is not in use.
    pub(crate) state: Vec<&'a mut [T]>,
    /// Those of the tensor that the block is part of, if its rule keeps any.
    pub(crate) of_tensor: &'a [T],
    pub(crate) grad_scale: T,
    /// Bounds the scaled gradient, if anything does.
    pub(crate) clip_value: Option<T>,
}

/// Elements that are updated between two looks at which slots are in use.
const CHUNK: usize = 1024;

/// Sums that are added up side by side, so that the additions can be vectorised.
const LANES: usize = 8;

impl<T: Real> Block<'_, T> {
    /// The values of the rule's `N` slots of [`Extent::Tensor`](crate::Extent::Tensor), in their
    /// order; zero where one is not in use.
    pub fn of_tensor<const N: usize>(&self) -> [T; N] {
        std::array::from_fn(|slot| self.of_tensor.get(slot).copied().unwrap_or_else(T::zero))
    }

    /// Adds up `measure(parameter, gradient, state)` over the elements. `N` is the number of members
    /// of the WGSL `State`, `K` that of the sums. State is left as it is.
    #[inline(always)]
    pub fn sum<const N: usize, const K: usize>(
        self,
        measure: impl Fn(T, T, [T; N]) -> [T; K],
    ) -> Sums {
        let grad_scale = self.grad_scale;
        let clip_value = self.clip_value;
        let mut lanes = [[0.0f64; LANES]; K];
        self.chunks(|params, grads, state: [&mut [T]; N]| {
            let count = params.len();
            let grads = &grads[..count];
            let state = state.map(|slot| &slot[..count]);
            for first in (0..count).step_by(LANES) {
                let mut values = [[T::zero(); LANES]; K];
                for lane in 0..LANES.min(count - first) {
                    let i = first + lane;
                    let s = std::array::from_fn(|slot| state[slot][i]);
                    let g = clipped(grad_scale * grads[i], clip_value);
                    for (values, value) in values.iter_mut().zip(measure(params[i], g, s)) {
                        values[lane] = value;
                    }
                }
                for (sums, values) in lanes.iter_mut().zip(values) {
                    for (sum, value) in sums.iter_mut().zip(values) {
                        *sum += value.to_f64().unwrap_or(f64::NAN);
                    }
                }
            }
        });
        let mut sums = lanes.iter().map(|lanes| lanes.iter().sum());
        std::array::from_fn(|_| sums.next().unwrap_or_default())
    }

    /// Calls `update(parameter, gradient, state) -> new parameter` for each element. `N` is the
    /// number of members of the WGSL `State`; a slot that is not in use reads as zero and is not kept.
    ///
    /// The loop is vectorised if `update` is a `move` closure over plain numbers, with no branch
    /// but on flags: a reference might alias what the loop stores.
    #[inline(always)]
    pub fn each<const N: usize>(self, update: impl Fn(T, T, &mut [T; N]) -> T) {
        let grad_scale = self.grad_scale;
        let clip_value = self.clip_value;
        self.chunks(|params, grads, slots| {
            // Two loops, so that neither has a branch.
            match clip_value {
                None => each_of_chunk(params, grads, slots, |p, g, s| update(p, grad_scale * g, s)),
                Some(most) => each_of_chunk(params, grads, slots, |p, g, s| {
                    update(p, (grad_scale * g).max(-most).min(most), s)
                }),
            }
        });
    }

    /// Calls `work(params, grads, state)` for pieces of the block in turn.
    #[inline(always)]
    fn chunks<const N: usize>(self, mut work: impl FnMut(&mut [T], &[T], [&mut [T]; N])) {
        let mut state = self.state;
        state.resize_with(N, Default::default);
        let mut unused = [[T::zero(); CHUNK]; N];
        let chunks = self.params.chunks_mut(CHUNK).zip(self.grads.chunks(CHUNK));
        for (index, (params, grads)) in chunks.enumerate() {
            let start = index * CHUNK;
            let mut slots = state.iter_mut().zip(&mut unused).map(|(slot, unused)| {
                if slot.is_empty() {
                    unused.fill(T::zero());
                    &mut unused[..params.len()]
                } else {
                    &mut slot[start..start + params.len()]
                }
            });
            let slots = std::array::from_fn(|_| slots.next().unwrap_or_default());
            work(params, grads, slots);
        }
    }
}

/// A gradient after clipping by value, if there is any. NaN stays.
pub(super) fn clipped<T: Real>(g: T, most: Option<T>) -> T {
    match most {
        Some(most) => g.max(-most).min(most),
        None => g,
    }
}

/// A sum as the rule gets it: what overflows f32 there is as large as a number can be.
pub(super) fn bounded<T: Real>(sum: f64) -> T {
    let most = T::max_value().to_f64().unwrap_or(f64::MAX);
    T::from_f64(sum.clamp(-most, most))
}

/// The innermost loop. All slices have the length of `params`, which the compiler sees here.
#[inline(always)]
fn each_of_chunk<T: Real, const N: usize>(
    params: &mut [T],
    grads: &[T],
    state: [&mut [T]; N],
    update: impl Fn(T, T, &mut [T; N]) -> T,
) {
    let count = params.len();
    let grads = &grads[..count];
    let state = state.map(|slot| &mut slot[..count]);
    for i in 0..count {
        let mut s = std::array::from_fn(|slot| state[slot][i]);
        params[i] = update(params[i], grads[i], &mut s);
        for (slot, value) in s.into_iter().enumerate() {
            state[slot][i] = value;
        }
    }
}
