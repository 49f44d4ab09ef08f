//! The upper half of an f32, rounded stochastically: 8 bits of exponent, 7 of mantissa.

use safetensors::Dtype;

use super::{Definition, Rounding};

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
        for (value, index) in values.iter().zip(first..) {
            bytes.extend(encode(*value, index, rounding).to_le_bytes());
        }
    },
    decode: |bytes, values| {
        let (halves, _) = bytes.as_chunks();
        for (value, half) in values.iter_mut().zip(halves) {
            *value = decode(u16::from_le_bytes(*half));
        }
    },
};

/// The half of a value. `index` is the element's, which the random bits follow from.
fn encode(value: f32, index: u64, rounding: Rounding) -> u16 {
    let bits = value.to_bits();
    let upper = bits >> 16;
    if !value.is_finite() {
        // An infinity stays one, and a NaN keeps a bit of its mantissa.
        return (upper | if value.is_nan() { 0x40 } else { 0 }) as u16;
    }
    let added = match rounding {
        // Nearest, and of two equally near the even one.
        Rounding::Nearest => 0x7fff + (upper & 1),
        Rounding::Stochastic(noise) => noise.of_quad((index / 4) as u32)[(index % 4) as usize],
    };
    ((bits + added) >> 16) as u16
}

fn decode(half: u16) -> f32 {
    f32::from_bits(u32::from(half) << 16)
}
