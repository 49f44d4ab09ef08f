//! The upper half of an f32, rounded stochastically: 8 bits of exponent, 7 of mantissa.

use fearless_simd::{Level, dispatch, i32x8, prelude::*, u8x32, u32x8};
use safetensors::Dtype;

use super::{Definition, Rounding, bits, padded, random::DRAWN};
use crate::vectors::vectorized;

pub(super) static BF16: Definition = Definition {
    name: "bf16",
    block: 1,
    block_bytes: 2,
    is_stochastic: true,
    upper_bits: Some(16),
    dtype: Dtype::BF16,
    wgsl: &[include_str!("../../shaders/format/bf16.wgsl")],
    copy: Some(include_str!("../../shaders/copy/bf16.wgsl")),
    residual: None,
    encode: |values, first, rounding, bytes| {
        dispatch!(Level::new(), simd => encode(simd, values, first, rounding, bytes));
    },
    decode: |bytes, values| {
        vectorized::<f32, _>(
            #[inline(always)]
            || decode(bytes, values),
        );
    },
    clear: |_, _| (),
};

#[inline(always)]
fn encode<S: Simd>(simd: S, values: &[f32], first: u64, rounding: Rounding, bytes: &mut [u8]) {
    match rounding {
        Rounding::Nearest => encode_with(
            simd,
            values,
            first,
            bytes,
            // Of two equally near, the even one.
            #[inline(always)]
            |_, [low, high]| [(low >> 16 & 1) + 0x7fff, (high >> 16 & 1) + 0x7fff],
        ),
        Rounding::Stochastic(noise) => {
            let draw = noise.draws(simd);
            encode_with(
                simd,
                values,
                first,
                bytes,
                #[inline(always)]
                |first, _| draw(first),
            );
        }
    }
}

/// Rounds down what `added`, of the number of the first and of the bits, is added to.
#[inline(always)]
fn encode_with<S: Simd>(
    simd: S,
    values: &[f32],
    first: u64,
    bytes: &mut [u8],
    added: impl Fn(u64, [u32x8<S>; 2]) -> [u32x8<S>; 2],
) {
    let (rows, rest) = values.as_chunks();
    let (encoded, last) = bytes.as_chunks_mut::<{ 2 * DRAWN }>();
    let mut first = first;
    for (row, encoded) in rows.iter().zip(encoded) {
        let bits = bits(simd, row);
        halves_of(bits, added(first, bits)).store_slice(encoded);
        first += DRAWN as u64;
    }
    if let Some(row) = padded(rest) {
        let bits = bits(simd, &row);
        let halves = halves_of(bits, added(first, bits));
        for (byte, half) in last.iter_mut().zip(halves.as_slice()) {
            *byte = *half;
        }
    }
}

/// The halves of values of these bits, to which `added` is added.
#[inline(always)]
fn halves_of<S: Simd>(bits: [u32x8<S>; 2], added: [u32x8<S>; 2]) -> u8x32<S> {
    let [low, high] = [half_of(bits[0], added[0]), half_of(bits[1], added[1])];
    low.narrow(high).bitcast()
}

#[inline(always)]
fn half_of<S: Simd>(bits: u32x8<S>, added: u32x8<S>) -> u32x8<S> {
    let infinity = i32x8::splat(bits.simd, 0x7f80_0000);
    let magnitude = (bits & 0x7fff_ffff).bitcast::<i32x8<S>>();
    // An infinity stays one, and a NaN keeps a bit of its mantissa.
    let kept = magnitude.simd_gt(infinity).select(bits | 0x0040_0000, bits);
    let rounded = bits + added;
    magnitude.simd_lt(infinity).select(rounded, kept) >> 16
}

#[inline(always)]
fn decode(bytes: &[u8], values: &mut [f32]) {
    let (halves, _) = bytes.as_chunks();
    for (value, half) in values.iter_mut().zip(halves) {
        *value = f32::from_bits(u32::from(u16::from_le_bytes(*half)) << 16);
    }
}
