//! The loops over the elements of a block.

use super::{
    Bound, Part, Real, Sums,
    lanes::LaneSum,
    trial::{self, Asked},
};
use crate::vectors::vectorized;

/// One range of elements: its parameters, its gradients and its part of every slot.
pub struct Block<'a, T> {
    pub(crate) params: &'a mut [T],
    pub(crate) grads: &'a [T],
    /// One entry per element slot.
    pub(crate) state: Vec<Part<'a, T>>,
    /// The tensor slots of the tensor that the block is part of, if the rule has any.
    pub(crate) of_tensor: &'a [T],
    pub(crate) grad_scale: T,
    pub(crate) bound: Bound<T>,
}

/// How many values a sum puts aside at a time. They stay in the nearest cache.
const SUMMED_AT_ONCE: usize = 128;

/// How many values of a slot are decoded at a time. They stay in the nearest cache, and the processor goes on
/// fetching the next parameters while these are encoded.
const STRIP: usize = 512;

impl<T: Real> Block<'_, T> {
    /// The values of the rule's `N` slots of [`Extent::Tensor`](crate::Extent::Tensor), in their
    /// order. A slot that is not in use reads as zero.
    pub fn of_tensor<const N: usize>(&self) -> [T; N] {
        if self.of_tensor.len() < N {
            trial::missed(Asked::OfTensor, N);
        }
        std::array::from_fn(|slot| self.of_tensor.get(slot).copied().unwrap_or_else(T::zero))
    }

    /// Adds up `measure(parameter, gradient, state)` over the elements. `N` is the number of
    /// members of the WGSL `State`, and `K` is the number of sums. The state does not change.
    #[inline(always)]
    pub fn sum<const N: usize, const K: usize>(
        self,
        measure: impl Fn(T, T, [T; N]) -> [T; K],
    ) -> Sums {
        self.expects_members(N);
        let (scale, bound) = (self.grad_scale, self.bound);
        let as_seen = move |g: T| bound.limited(scale * g);
        let state = first_parts(self.state);
        vectorized::<T, _>(
            #[inline(always)]
            || sum_each(self.params, self.grads, as_seen, state, measure),
        )
    }

    /// Calls `update(parameter, gradient, state) -> new parameter` for each element. `N` is the
    /// number of members of the WGSL `State`. A slot that is not in use reads as zero and is not
    /// stored.
    ///
    /// The loop is vectorised if `update` is a `move` closure over plain numbers that branches on
    /// flags alone. A captured reference might alias what the loop stores.
    #[inline(always)]
    pub fn each<const N: usize>(self, update: impl Fn(T, T, &mut [T; N]) -> T) {
        self.expects_members(N);
        let (scale, bound) = (self.grad_scale, self.bound);
        let as_seen = move |g: T| bound.limited(scale * g);
        let update = move |p: T, g: T, s: &mut [T; N]| bound.outcome(update(p, g, s), g);
        // In most rules, the slot that a variant leaves unused is the last. Then the loop omits
        // that slot.
        let last = self.state.get(N.wrapping_sub(1));
        let has_last = last.is_some_and(|part| !part.is_unused());
        let state = first_parts(self.state);
        let used = if has_last { N } else { N.saturating_sub(1) };
        let is_plain = state[..used].iter().all(Part::is_plain);
        vectorized::<T, _>(
            #[inline(always)]
            || {
                if !is_plain {
                    update_strips(self.params, self.grads, as_seen, state, update);
                } else if has_last {
                    update_each::<T, N, true>(self.params, self.grads, as_seen, state, update);
                } else {
                    update_each::<T, N, false>(self.params, self.grads, as_seen, state, update);
                }
            },
        );
    }

    /// Notes if the rule has fewer members of `State`. [`Layout::group`](crate::Layout::group)
    /// refuses such a rule.
    fn expects_members(&self, count: usize) {
        if self.state.len() < count {
            trial::missed(Asked::Members, count);
        }
    }

    /// Splits off the first `count` elements.
    pub(crate) fn split_off(&mut self, count: usize) -> Self {
        let parts = self.state.iter_mut();
        let parts = parts.map(|part| part.split_off(count));
        Self {
            params: self.params.split_off_mut(..count).unwrap_or_default(),
            grads: self.grads.split_off(..count).unwrap_or_default(),
            state: parts.collect(),
            of_tensor: self.of_tensor,
            grad_scale: self.grad_scale,
            bound: self.bound,
        }
    }
}

/// The first `N` parts. What is missing is not in use.
fn first_parts<T, const N: usize>(state: Vec<Part<'_, T>>) -> [Part<'_, T>; N] {
    let mut state = state.into_iter();
    std::array::from_fn(|_| state.next().unwrap_or(Part::Plain(&mut [])))
}

/// The loop of an update. It touches the last slot only if `HAS_LAST`.
#[inline(always)]
fn update_each<T: Real, const N: usize, const HAS_LAST: bool>(
    params: &mut [T],
    grads: &[T],
    as_seen: impl Fn(T) -> T,
    state: [Part<'_, T>; N],
    update: impl Fn(T, T, &mut [T; N]) -> T,
) {
    let used = if HAS_LAST { N } else { N.saturating_sub(1) };
    let mut state = state.map(Part::plain);
    let state = &mut state[..used];
    // This shows the compiler that all have the same length.
    for slot in &mut *state {
        *slot = &mut std::mem::take(slot)[..params.len()];
    }
    let grads = &grads[..params.len()];
    for i in 0..params.len() {
        let mut s = [T::zero(); N];
        for (value, slot) in s.iter_mut().zip(&*state) {
            *value = slot[i];
        }
        params[i] = update(params[i], as_seen(grads[i]), &mut s);
        for (value, slot) in s.into_iter().zip(&mut *state) {
            slot[i] = value;
        }
    }
}

/// The same strip by strip, where a slot is not numbers or not in use.
#[inline(always)]
fn update_strips<T: Real, const N: usize>(
    mut params: &mut [T],
    mut grads: &[T],
    as_seen: impl Fn(T) -> T,
    mut state: [Part<'_, T>; N],
    update: impl Fn(T, T, &mut [T; N]) -> T,
) {
    let mut rooms = [[T::zero(); STRIP]; N];
    let mut start = 0;
    while !params.is_empty() {
        let count = params.len().min(STRIP);
        // This shows the compiler that all have the same length.
        let params = &mut params.split_off_mut(..count).unwrap_or_default()[..count];
        let grads = &grads.split_off(..count).unwrap_or_default()[..count];
        let opened = opened(&mut state, &mut rooms, start, count);
        let mut slots = opened.map(|slot| &mut slot[..count]);
        for i in 0..count {
            let mut s = slots.each_ref().map(|slot| slot[i]);
            params[i] = update(params[i], as_seen(grads[i]), &mut s);
            for (slot, value) in slots.iter_mut().zip(s) {
                slot[i] = value;
            }
        }
        for (part, room) in state.iter_mut().zip(&rooms) {
            part.close(start, &room[..count]);
        }
        start += count;
    }
}

/// The values of `count` elements from `start` on. What is not numbers comes to lie in `rooms`.
fn opened<'v, T: Real, const N: usize, const ROOM: usize>(
    parts: &'v mut [Part<'_, T>; N],
    rooms: &'v mut [[T; ROOM]],
    start: usize,
    count: usize,
) -> [&'v mut [T]; N] {
    let mut rooms = rooms.iter_mut();
    parts.each_mut().map(|part| {
        let room = rooms.next().map_or(&mut [][..], |room| &mut room[..count]);
        part.open(start, count, room)
    })
}

/// Room for a strip of each part, or none if all are numbers. A rule of tensors has many small blocks, so room
/// that nobody needs would cost more than their sums.
fn rooms<T: Real>(parts: &[Part<'_, T>]) -> Vec<[T; SUMMED_AT_ONCE]> {
    match parts.iter().all(Part::is_plain) {
        true => Vec::new(),
        false => vec![[T::zero(); SUMMED_AT_ONCE]; parts.len()],
    }
}

/// The loop of a sum. It first puts aside what a strip measures, and then adds that up. So both
/// halves can be vectorised.
#[inline(always)]
fn sum_each<T: Real, const N: usize, const K: usize>(
    params: &[T],
    grads: &[T],
    as_seen: impl Fn(T) -> T,
    mut state: [Part<'_, T>; N],
    measure: impl Fn(T, T, [T; N]) -> [T; K],
) -> Sums {
    let mut sums = [LaneSum::default(); K];
    let mut measured = [[T::zero(); SUMMED_AT_ONCE]; K];
    let mut rooms = rooms(&state);
    for start in (0..params.len()).step_by(SUMMED_AT_ONCE) {
        // This shows the compiler that all have the same length.
        let count = SUMMED_AT_ONCE.min(params.len() - start);
        let params = &params[start..][..count];
        let grads = &grads[start..][..count];
        let state = opened(&mut state, &mut rooms, start, count).map(|slot| &slot[..count]);
        for i in 0..count {
            let s = state.map(|slot| slot[i]);
            let found = measure(params[i], as_seen(grads[i]), s);
            for (values, value) in measured.iter_mut().zip(found) {
                values[i] = value;
            }
        }
        for (sum, values) in sums.iter_mut().zip(&measured) {
            sum.add(&values[..count], |value| value);
        }
    }
    let mut totals = sums.iter().map(LaneSum::total);
    std::array::from_fn(|_| totals.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Format, Precision,
        format::{Noise, Rounding, pcg},
        rule::CodedPart,
    };

    /// More than two strips, and no whole number of blocks.
    const COUNT: usize = 2 * STRIP + 77;
    /// A block's elements are counted from the group's start.
    const FIRST: usize = 128;

    fn values(seed: u32) -> Vec<f32> {
        let random = (0..COUNT as u32).map(|index| pcg(index ^ seed) as f32);
        random.map(|random| random * 2f32.powi(-32)).collect()
    }

    fn block<'a>(
        params: &'a mut [f32],
        grads: &'a [f32],
        state: Vec<Part<'a, f32>>,
    ) -> Block<'a, f32> {
        Block {
            params,
            grads,
            state,
            of_tensor: &[],
            grad_scale: 0.5,
            bound: Bound::none(),
        }
    }

    fn update(p: f32, g: f32, [a, b, unused]: &mut [f32; 3]) -> f32 {
        *a = 0.9 * *a + g;
        *b += g * g;
        *unused += 1.0;
        p - *a / (b.sqrt() + *unused)
    }

    #[test]
    fn strips_of_decoded_values_are_stepped_like_all_of_them_at_once() {
        let grads = values(1);
        let stored = [values(2), values(3)];
        for format in [Format::Bf16, Format::Int8] {
            let encodings = [Precision::Signed, Precision::NonNegative];
            let encodings = encodings.map(|precision| format.encoding(precision));
            let noise = [4, 5].map(|slot| Noise::new(pcg(6), 7, slot));
            for has_noise in [false, true] {
                let mut found = values(0);
                let mut bytes = [0, 1].map(|slot| encodings[slot].encoded(&stored[slot]));
                let before = bytes.clone();
                let mut expected = found.clone();
                let mut plain = [0, 1].map(|slot| {
                    let mut plain = vec![0.0; COUNT];
                    encodings[slot].decode(&bytes[slot], &mut plain);
                    plain
                });
                let parts = bytes.iter_mut().zip(encodings).zip(noise);
                let parts = parts.map(|((bytes, encoding), noise)| {
                    Part::Coded(CodedPart {
                        encoding,
                        bytes,
                        first: FIRST,
                        noise: has_noise.then_some(noise),
                    })
                });
                block(&mut found, &grads, parts.collect()).each(update);
                let parts = plain.iter_mut().map(|plain| Part::Plain(plain));
                block(&mut expected, &grads, parts.collect()).each(update);
                assert_eq!(found, expected, "{format}");
                for slot in [0, 1] {
                    let mut after = before[slot].clone();
                    if has_noise {
                        let rounding = Rounding::Stochastic(noise[slot]);
                        encodings[slot].encode(&plain[slot], FIRST as u64, rounding, &mut after);
                    }
                    assert!(bytes[slot] == after, "{format}, slot {slot}");
                }
            }
        }
    }

    #[test]
    fn sums_over_decoded_values_are_those_over_all_of_them() {
        let mut params = values(0);
        let grads = values(1);
        let encoding = Format::Int8.encoding(Precision::Signed);
        let mut bytes = encoding.encoded(&values(2));
        let mut plain = vec![0.0; COUNT];
        encoding.decode(&bytes, &mut plain);
        let measure = |p: f32, g: f32, [a, unused]: [f32; 2]| [p * a, g + unused];
        let sum_of = |part, params: &mut [f32]| block(params, &grads, vec![part]).sum(measure);
        let coded = Part::Coded(CodedPart {
            encoding,
            bytes: &mut bytes,
            first: FIRST,
            noise: None,
        });
        let found = sum_of(coded, &mut params);
        assert_eq!(found, sum_of(Part::Plain(&mut plain), &mut params));
        let expected: f64 = params
            .iter()
            .zip(&plain)
            .map(|(p, a)| f64::from(p * a))
            .sum();
        assert!((found[0] - expected).abs() < 1e-3 * expected);
    }
}
