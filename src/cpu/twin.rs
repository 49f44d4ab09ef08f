//! The update of a rule on the CPU, written once for f32 and f64.

use std::fmt;

use bytemuck::Pod;
use num_traits::{Float, NumCast};

use crate::Rule;

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
#[derive(Debug, Clone, Copy, PartialEq)]
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

/// The CPU half of a [`Rule`]: the update of one block in precision `T`.
pub trait Twin<T: Real>: Send + Sync {
    /// Updates every element of `block`, normally by [`Block::each`].
    fn update(&self, block: Block<'_, T>, now: Step<T>);

    /// The parameters to evaluate with; see [`Rule::evaluates_elsewhere`].
    fn evaluate(&self, _block: Block<'_, T>) {}

    /// Back to the parameters to train with.
    fn train(&self, _block: Block<'_, T>) {}
}

/// The same range of elements of the parameters, the gradients and every slot of state.
pub struct Block<'a, T> {
    pub(crate) params: &'a mut [T],
    pub(crate) grads: &'a [T],
    /// One entry per slot of elements; empty for a slot that is not in use.
    pub(crate) state: Vec<&'a mut [T]>,
    pub(crate) grad_scale: T,
    /// Bounds the scaled gradient, if anything does.
    pub(crate) clip_value: Option<T>,
}

/// Elements that are updated between two looks at which slots are in use.
const CHUNK: usize = 1024;

impl<T: Real> Block<'_, T> {
    /// Calls `update(parameter, gradient, state) -> new parameter` for each element. `N` is the
    /// rule's number of slots of elements; a slot that is not in use reads as zero and is not kept.
    ///
    /// The loop is vectorised if `update` is a `move` closure over plain numbers, with no branch
    /// but on flags: a reference might alias what the loop stores.
    #[inline(always)]
    pub fn each<const N: usize>(self, update: impl Fn(T, T, &mut [T; N]) -> T) {
        let grad_scale = self.grad_scale;
        let clip_value = self.clip_value;
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
            // Two loops, so that neither has a branch.
            match clip_value {
                None => each_of_chunk(params, grads, slots, |p, g, s| update(p, grad_scale * g, s)),
                Some(most) => each_of_chunk(params, grads, slots, |p, g, s| {
                    update(p, (grad_scale * g).max(-most).min(most), s)
                }),
            }
        }
    }
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
