//! Numbers as they are.

use safetensors::Dtype;

use super::Definition;

pub(super) static F32: Definition = Definition {
    name: "f32",
    block: 1,
    block_bytes: 4,
    is_stochastic: false,
    upper_bits: Some(32),
    dtype: Dtype::F32,
    wgsl: &[include_str!("../../shaders/format/f32.wgsl")],
    copy: None,
    residual: None,
    encode: |values, _, _, bytes| {
        let (words, _) = bytes.as_chunks_mut();
        for (word, value) in words.iter_mut().zip(values) {
            *word = value.to_le_bytes();
        }
    },
    decode: |bytes, values| {
        let (words, _) = bytes.as_chunks();
        for (value, word) in values.iter_mut().zip(words) {
            *value = f32::from_le_bytes(*word);
        }
    },
    clear: |_, _| (),
};
