//! Eight bits that say how far an element lies below the largest of its block, in octaves.
//!
//! The bits of a positive float, read as an integer, are its logarithm, piecewise linear, with 2²³ to
//! the octave. A block of 16 elements keeps the bits of its largest magnitude, and each element its
//! distance from that: in 16 steps an octave near the largest, 8 further down, then 4. So the largest
//! is exact, and what shrinks with its whole block is not rounded anew. All of it is done on integers,
//! so that all devices and the twin agree to the bit. Twin: shaders/format/log8.wgsl
//!
//! A value that may not be negative has eight bits for its distance, which reach 31.75 octaves, and
//! does not become zero unless it is. A signed one has seven, which reach 15.75, and is zero below.
//!
//! A thread of a shader has a block to itself. 64 elements are the scales of four blocks, four bytes
//! each, and then 64 codes.

use safetensors::Dtype;

use super::{Definition, Rounding};

const LOG8: &str = include_str!("../../shaders/format/log8.wgsl");

/// Elements that share a scale.
const BLOCK: usize = 16;

/// Elements whose scales lie together.
const ROW: usize = 64;
const SCALE_BYTES: usize = 4 * ROW / BLOCK;

pub(super) static SIGNED: Definition = Definition {
    name: "int8",
    encode: |values, first, rounding, bytes| encode::<4, true>(values, first, rounding, bytes),
    decode: |bytes, values| decode::<4, true>(bytes, values),
    wgsl: &[LOG8, include_str!("../../shaders/format/int8.wgsl")],
    ..COMMON
};

pub(super) static NON_NEGATIVE: Definition = Definition {
    name: "uint8",
    encode: |values, first, rounding, bytes| encode::<8, false>(values, first, rounding, bytes),
    decode: |bytes, values| decode::<8, false>(bytes, values),
    wgsl: &[LOG8, include_str!("../../shaders/format/uint8.wgsl")],
    ..COMMON
};

const COMMON: Definition = Definition {
    name: "",
    block: ROW as u64,
    block_bytes: (SCALE_BYTES + ROW) as u64,
    is_stochastic: true,
    upper_bits: None,
    dtype: Dtype::U8,
    copy: None,
    residual: None,
    wgsl: &[],
    encode: |_, _, _, _| (),
    decode: |_, _| (),
};

/// The magnitude's bits. Subnormals count as zero, so it does not matter whether a device flushes them.
fn magnitude(value: f32) -> u32 {
    let bits = value.to_bits() & 0x7fff_ffff;
    if bits < 0x0080_0000 { 0 } else { bits }
}

/// The code of a magnitude, without its sign, in a block whose largest is `top`. A distance lies in one of
/// three ranges, each with half the steps of the one before.
fn code<const L: u32, const SIGNED: bool>(magnitude: u32, top: u32, random: Option<u32>) -> u32 {
    let last = 32 * L - 1;
    if magnitude == 0 {
        return last;
    }
    let distance = top - magnitude;
    let range = (distance / (L << 23)).min(2);
    let added = match random {
        None => 1 << (range + 18),
        Some(random) => (2 * random + 1) << (range + 2),
    };
    let code = 8 * L * range + ((distance + added) >> (range + 19));
    code.min(if SIGNED { last } else { last - 1 })
}

/// The magnitude of a code, in a block whose largest is `top`.
fn magnitude_of<const L: u32>(code: u32, top: u32) -> u32 {
    if code == 32 * L - 1 || top < 0x0080_0000 {
        return 0;
    }
    let range = (code / (8 * L)).max(1) - 1;
    let distance = (code - 8 * L * range) << (range + 19);
    // A scale that was not encoded, in a file, may be anything.
    (top as i32).wrapping_sub(distance as i32).max(0x0080_0000) as u32
}

fn encode<const L: u32, const SIGNED: bool>(
    values: &[f32],
    first: u64,
    rounding: Rounding,
    bytes: &mut Vec<u8>,
) {
    for (row, start) in values.chunks(ROW).zip((first..).step_by(ROW)) {
        let tops = std::array::from_fn::<_, { ROW / BLOCK }, _>(|index| {
            let block = row.iter().skip(BLOCK * index).take(BLOCK);
            block.map(|value| magnitude(*value)).max().unwrap_or(0)
        });
        bytes.extend(tops.iter().flat_map(|top| top.to_le_bytes()));
        for (index, quad) in row.chunks(4).enumerate() {
            let top = tops[4 * index / BLOCK];
            let random = match rounding {
                Rounding::Nearest => None,
                Rounding::Stochastic(noise) => {
                    Some(noise.of_quad((start / 4) as u32 + index as u32))
                }
            };
            bytes.extend(quad.iter().enumerate().map(|(i, value)| {
                let random = random.map(|random| random[i]);
                let code = code::<L, SIGNED>(magnitude(*value), top, random);
                let sign = if SIGNED {
                    value.to_bits() >> 31 << 7
                } else {
                    0
                };
                (code | sign) as u8
            }));
        }
        // What is missing in the last row is zero.
        let zero = (32 * L - 1) as u8;
        bytes.extend(std::iter::repeat_n(zero, ROW - row.len()));
    }
}

fn decode<const L: u32, const SIGNED: bool>(bytes: &[u8], values: &mut [f32]) {
    let (rows, _) = bytes.as_chunks::<{ SCALE_BYTES + ROW }>();
    for (row, values) in rows.iter().zip(values.chunks_mut(ROW)) {
        let (tops, codes) = row.split_at(SCALE_BYTES);
        let (tops, _) = tops.as_chunks();
        let blocks = values.chunks_mut(BLOCK).zip(codes.chunks(BLOCK));
        for ((values, codes), top) in blocks.zip(tops) {
            let top = u32::from_le_bytes(*top);
            for (value, code) in values.iter_mut().zip(codes) {
                let code = u32::from(*code);
                let sign = if SIGNED { code >> 7 << 31 } else { 0 };
                let code = if SIGNED { code & 127 } else { code };
                *value = f32::from_bits(magnitude_of::<L>(code, top) | sign);
            }
        }
    }
}

/// Rounds with the same random bits for all.
#[cfg(test)]
pub(super) fn round_with(is_signed: bool, values: &mut [f32], random: u32) {
    fn round<const L: u32, const SIGNED: bool>(values: &mut [f32], random: u32) {
        let top = values.iter().map(|value| magnitude(*value)).max();
        let top = top.unwrap_or(0);
        for value in values {
            let sign = value.to_bits() & 1 << 31;
            let code = code::<L, SIGNED>(magnitude(*value), top, Some(random));
            *value = f32::from_bits(magnitude_of::<L>(code, top) | sign);
        }
    }
    match is_signed {
        true => round::<4, true>(values, random),
        false => round::<8, false>(values, random),
    }
}
