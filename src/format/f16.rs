//! IEEE half precision, as gradients come from some backward passes: 5 bits of exponent, 10 of mantissa.

use half::f16;
use safetensors::Dtype;

use super::Definition;

pub(super) static F16: Definition = Definition {
    name: "f16",
    block: 1,
    block_bytes: 2,
    is_stochastic: false,
    upper_bits: None,
    dtype: Dtype::F16,
    wgsl: &[include_str!("../../shaders/format/f16.wgsl")],
    copy: Some(include_str!("../../shaders/copy/f16.wgsl")),
    residual: None,
    encode: |values, _, _, bytes| {
        let (halves, _) = bytes.as_chunks_mut();
        for (half, value) in halves.iter_mut().zip(values) {
            *half = f16::from_f32(*value).to_le_bytes();
        }
    },
    decode: |bytes, values| {
        let (halves, _) = bytes.as_chunks();
        for (value, half) in values.iter_mut().zip(halves) {
            *value = f16::from_le_bytes(*half).to_f32();
        }
    },
    clear: |_, _| (),
};
