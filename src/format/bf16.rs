//! The upper half of an f32, rounded stochastically: 8 bits of exponent, 7 of mantissa.

use safetensors::Dtype;

use super::{Definition, QUAD, ROW, Rounding};
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
        vectorized::<f32, _>(
            #[inline(always)]
            || encode(values, first, rounding, bytes),
        );
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
fn encode(values: &[f32], first: u64, rounding: Rounding, bytes: &mut [u8]) {
    let (halves, _) = bytes.as_chunks_mut();
    let rows = values.chunks(ROW).zip(halves.chunks_mut(ROW));
    for ((values, halves), first) in rows.zip((first..).step_by(ROW)) {
        let mut added = [0; ROW];
        match rounding {
            Rounding::Nearest => {
                for (added, value) in added.iter_mut().zip(values) {
                    // Of two equally near, the even one.
                    *added = 0x7fff + (value.to_bits() >> 16 & 1);
                }
            }
            Rounding::Stochastic(noise) => added = noise.of_row((first / QUAD) as u32),
        }
        for ((half, value), added) in halves.iter_mut().zip(values).zip(added) {
            *half = half_of(*value, added).to_le_bytes();
        }
    }
}

/// The half of a value, to whose bits `added` is added.
#[inline(always)]
fn half_of(value: f32, added: u32) -> u16 {
    let bits = value.to_bits();
    // An infinity stays one, and a NaN keeps a bit of its mantissa.
    let kept = bits | if value.is_nan() { 0x0040_0000 } else { 0 };
    let rounded = bits.wrapping_add(added);
    let chosen = if value.is_finite() { rounded } else { kept };
    (chosen >> 16) as u16
}

#[inline(always)]
fn decode(bytes: &[u8], values: &mut [f32]) {
    let (halves, _) = bytes.as_chunks();
    for (value, half) in values.iter_mut().zip(halves) {
        *value = f32::from_bits(u32::from(u16::from_le_bytes(*half)) << 16);
    }
}
