//! Parameters as floats of 24 bits, rounded to the nearest: the nearest bf16, and 8 bits beside it.
//!
//! A forward pass reads the bf16 alone. The 8 bits are a signed number: how far the element lies from its
//! bf16, in 256ths of the bf16's last place. A float's bits are an integer that grows with its magnitude, so
//! all of it is done on integers. The idea is FlashOptim's; its code differs.
//!
//! A bf16 that lies next to the largest is infinite, though the element is finite.

use safetensors::Dtype;

use super::{Definition, bf16::BF16};

pub(super) static BF16_PLUS_8: Definition = Definition {
    name: "bf16_plus_8",
    block: 1,
    block_bytes: 2,
    is_stochastic: false,
    upper_bits: Some(24),
    dtype: Dtype::BF16,
    wgsl: &[include_str!("../../shaders/format/bf16_plus_8.wgsl")],
    copy: None,
    residual: Some(&RESIDUAL),
    encode: |values, _, _, bytes| {
        let (halves, _) = bytes.as_chunks_mut();
        for (bytes, value) in halves.iter_mut().zip(values) {
            *bytes = half(kept(*value)).to_le_bytes();
        }
    },
    decode: BF16.decode,
    clear: |_, _| (),
};

/// The 8 bits. They complete values of which the bf16 has been decoded.
static RESIDUAL: Definition = Definition {
    name: "residual",
    block: 1,
    block_bytes: 1,
    is_stochastic: false,
    upper_bits: None,
    dtype: Dtype::I8,
    wgsl: &[],
    copy: None,
    residual: None,
    encode: |values, _, _, bytes| {
        for (byte, value) in bytes.iter_mut().zip(values) {
            let kept = kept(*value);
            *byte = kept.wrapping_sub(u32::from(half(kept)) << 8) as u8;
        }
    },
    decode: |bytes, values| {
        for (value, byte) in values.iter_mut().zip(bytes) {
            *value = completed((value.to_bits() >> 16) as u16, *byte as i8);
        }
    },
    clear: |_, _| (),
};

/// The upper 24 bits of the nearest float that has no others; of two equally near, the larger magnitude.
fn kept(value: f32) -> u32 {
    let bits = value.to_bits();
    let bits = if value.is_finite() {
        bits + 0x80
    } else {
        // An infinity stays one, and a NaN has a mantissa that rounding leaves alone.
        bits & 0xff80_0000 | if value.is_nan() { 0x0040_0000 } else { 0 }
    };
    bits >> 8
}

/// The nearest bf16; of two equally near, the larger magnitude.
fn half(kept: u32) -> u16 {
    ((kept + 0x80) >> 8) as u16
}

fn completed(half: u16, residual: i8) -> f32 {
    // A zero that others wrote may lie beside what is left of another number.
    let is_zero = half & 0x7fff == 0;
    let residual = if is_zero { residual.max(0) } else { residual };
    let kept = (u32::from(half) << 8).wrapping_add_signed(i32::from(residual));
    f32::from_bits(kept << 8)
}
