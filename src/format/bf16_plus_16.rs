//! Parameters as f32 in two halves: the nearest bf16, and 16 bits beside it. Nothing is rounded.
//!
//! A forward pass reads the bf16 alone. The 16 bits are a signed number: how far the element's bits, as an
//! integer, lie from those of its bf16. The idea is FlashOptim's; its code differs.
//!
//! A bf16 that lies next to the largest is infinite, though the element is finite. A NaN keeps its sign alone.

use safetensors::Dtype;

use super::{Definition, bf16::BF16};

pub(super) static BF16_PLUS_16: Definition = Definition {
    name: "bf16_plus_16",
    block: 1,
    block_bytes: 2,
    is_stochastic: false,
    upper_bits: Some(32),
    dtype: Dtype::BF16,
    wgsl: &[include_str!("../../shaders/format/bf16_plus_16.wgsl")],
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

/// The 16 bits. They complete values of which the bf16 has been decoded.
static RESIDUAL: Definition = Definition {
    name: "residual_16",
    dtype: Dtype::I16,
    upper_bits: None,
    wgsl: &[],
    residual: None,
    encode: |values, _, _, bytes| {
        let (words, _) = bytes.as_chunks_mut();
        for (bytes, value) in words.iter_mut().zip(values) {
            let kept = kept(*value);
            let rest = kept.wrapping_sub(u32::from(half(kept)) << 16);
            *bytes = (rest as u16).to_le_bytes();
        }
    },
    decode: |bytes, values| {
        let (words, _) = bytes.as_chunks();
        for (value, bytes) in values.iter_mut().zip(words) {
            *value = completed(value.to_bits(), i16::from_le_bytes(*bytes));
        }
    },
    ..BF16_PLUS_16
};

/// All bits. A NaN has a mantissa that a half can have.
fn kept(value: f32) -> u32 {
    let bits = value.to_bits();
    match value.is_nan() {
        true => bits & 0xff80_0000 | 0x0040_0000,
        false => bits,
    }
}

/// The nearest bf16; of two equally near, the larger magnitude.
fn half(kept: u32) -> u16 {
    ((kept + 0x8000) >> 16) as u16
}

fn completed(half: u32, residual: i16) -> f32 {
    // A zero that others wrote may lie beside what is left of another number.
    let is_zero = half & 0x7fff_ffff == 0;
    let residual = if is_zero { residual.max(0) } else { residual };
    f32::from_bits(half.wrapping_add_signed(i32::from(residual)))
}
