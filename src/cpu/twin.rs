//! The update of a rule on the CPU, written once for f32 and f64.

use std::fmt;

use bytemuck::Pod;
use num_traits::{Float, NumCast};

use crate::Rule;

/// f32 or f64.
pub trait Real: Float + Pod + Send + Sync + fmt::Debug + fmt::Display + private::Sealed {
    /// Calls the twin of `rule` for this type.
    #[doc(hidden)]
    fn update(rule: &dyn Rule, block: Block<'_, Self>, now: &Step<Self>);

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
    fn update(rule: &dyn Rule, block: Block<'_, Self>, now: &Step<Self>) {
        Twin::<f32>::update(rule, block, now);
    }
}

impl Real for f64 {
    fn update(rule: &dyn Rule, block: Block<'_, Self>, now: &Step<Self>) {
        Twin::<f64>::update(rule, block, now);
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
    /// [`Rule::at`] of this step.
    pub at: [T; 4],
}

impl<T: Real> Step<T> {
    /// The numbers of performed step `t` (from 1) of `rule` at learning rate `lr`.
    pub fn new(rule: &dyn Rule, lr: f64, t: u64) -> Self {
        Self {
            lr: T::from_f64(lr),
            decay: T::from_f64(lr * rule.decoupled_weight_decay()),
            grad_scale: if rule.maximize() { -T::one() } else { T::one() },
            at: rule.at(t).map(T::from_f64),
        }
    }
}

/// The CPU half of a [`Rule`]: the update of one block in precision `T`.
pub trait Twin<T: Real> {
    /// Updates every element of `block`, normally by [`Block::each`].
    fn update(&self, block: Block<'_, T>, now: &Step<T>);
}

/// The same range of elements of the parameters, the gradients and every slot of state.
pub struct Block<'a, T> {
    pub(crate) params: &'a mut [T],
    pub(crate) grads: &'a [T],
    /// One entry per slot of the rule; empty for a slot that is not in use.
    pub(crate) state: Vec<&'a mut [T]>,
    pub(crate) grad_scale: T,
}

/// Elements that are loaded, updated and stored together: enough for any vector unit, and few
/// enough that all slots of a rule stay in registers or the nearest cache.
const LANES: usize = 16;

impl<T: Real> Block<'_, T> {
    /// Calls `update(parameter, gradient, state) -> new parameter` for each element. `N` is the
    /// rule's number of slots; a slot that is not in use reads as zero and is not kept.
    ///
    /// As on the GPU, everything is loaded, then updated, then stored.
    pub fn each<const N: usize>(self, update: impl Fn(T, T, &mut [T; N]) -> T) {
        let Self {
            params,
            grads,
            mut state,
            grad_scale,
        } = self;
        let slots = state.len().min(N);
        let mut start = 0;
        while start < params.len() {
            let end = (start + LANES).min(params.len());
            let count = end - start;
            let mut p = [T::zero(); LANES];
            let mut g = [T::zero(); LANES];
            let mut s = [[T::zero(); LANES]; N];
            p[..count].copy_from_slice(&params[start..end]);
            g[..count].copy_from_slice(&grads[start..end]);
            for (lanes, slot) in s.iter_mut().zip(&state[..slots]) {
                if !slot.is_empty() {
                    lanes[..count].copy_from_slice(&slot[start..end]);
                }
            }
            for lane in 0..LANES {
                let mut of_lane = std::array::from_fn(|slot| s[slot][lane]);
                p[lane] = update(p[lane], grad_scale * g[lane], &mut of_lane);
                for slot in 0..N {
                    s[slot][lane] = of_lane[slot];
                }
            }
            params[start..end].copy_from_slice(&p[..count]);
            for (lanes, slot) in s.iter().zip(&mut state[..slots]) {
                if !slot.is_empty() {
                    slot[start..end].copy_from_slice(&lanes[..count]);
                }
            }
            start = end;
        }
    }
}
