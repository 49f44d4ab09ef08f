//! Eight bits that say how far an element lies below the largest of its block, in octaves.
//!
//! The bits of a positive float, read as an integer, are its logarithm, piecewise linear, with 2²³ to
//! the octave. A block of 16 elements keeps the bits of its largest magnitude, and each element its
//! distance from that: in 16 steps an octave near the largest, 8 further down, then 4. So the largest
//! is exact, and what shrinks with its whole block is not rounded anew. All of it is done on integers,
//! so that all devices and the twin agree to the bit. Twin: shaders/format/log8.wgsl
//!
//! A value that may not be negative has eight bits for its distance, which reach 31.5 octaves, and
//! does not become zero unless it is. A signed one has seven, which reach 15.5, and is zero once it rounds to
//! 15.75.
//!
//! A thread of a shader has a block to itself. 64 elements are the scales of four blocks, four bytes
//! each, and then 64 codes.

use safetensors::Dtype;

use super::{Definition, QUAD, ROW, Rounding};
use crate::vectors::vectorized;

const LOG8: &str = include_str!("../../shaders/format/log8.wgsl");

/// Elements that share a scale.
const BLOCK: usize = 16;

/// The scales of a row lie together.
const SCALE_BYTES: usize = 4 * ROW / BLOCK;

pub(super) static SIGNED: Definition = Definition {
    name: "int8",
    encode: |values, first, rounding, bytes| encode::<4, true>(values, first, rounding, bytes),
    decode: |bytes, values| decode::<4, true>(bytes, values),
    clear: clear::<4>,
    wgsl: &[LOG8, include_str!("../../shaders/format/int8.wgsl")],
    ..COMMON
};

pub(super) static NON_NEGATIVE: Definition = Definition {
    name: "uint8",
    encode: |values, first, rounding, bytes| encode::<8, false>(values, first, rounding, bytes),
    decode: |bytes, values| decode::<8, false>(bytes, values),
    clear: clear::<8>,
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
    clear: |_, _| (),
};

/// The magnitude's bits. Subnormals count as zero, so it does not matter whether a device flushes them.
#[inline(always)]
fn magnitude(value: f32) -> u32 {
    let bits = value.to_bits() & 0x7fff_ffff;
    if bits < 0x0080_0000 { 0 } else { bits }
}

/// What makes the nearest of a distance, in place of random bits. It lies between two of them.
const NEAREST: u32 = 1 << 16;

/// What random bits make of a distance.
#[inline(always)]
fn doubled(random: u32) -> u32 {
    2 * random + 1
}

/// The code of a magnitude, without its sign, in a block whose largest is `top`. A distance lies in one of
/// three ranges, each with half the steps of the one before.
#[inline(always)]
fn code<const L: u32, const SIGNED: bool>(magnitude: u32, top: u32, doubled: u32) -> u32 {
    let last = 32 * L - 1;
    let distance = top.wrapping_sub(magnitude);
    let range = (distance / (L << 23)).min(2);
    let added = doubled << (range + 2);
    let code = 8 * L * range + (distance.wrapping_add(added) >> (range + 19));
    let code = code.min(if SIGNED { last } else { last - 1 });
    if magnitude == 0 { last } else { code }
}

/// The magnitude of a code, in a block whose largest is `top`.
#[inline(always)]
fn magnitude_of<const L: u32>(code: u32, top: u32) -> u32 {
    let range = (code / (8 * L)).max(1) - 1;
    let distance = (code - 8 * L * range) << (range + 19);
    // A scale that was not encoded, in a file, may be anything.
    let magnitude = (top as i32).wrapping_sub(distance as i32).max(0x0080_0000) as u32;
    let is_zero = code == 32 * L - 1 || top < 0x0080_0000;
    if is_zero { 0 } else { magnitude }
}

fn encode<const L: u32, const SIGNED: bool>(
    values: &[f32],
    first: u64,
    rounding: Rounding,
    bytes: &mut [u8],
) {
    vectorized::<f32, _>(
        #[inline(always)]
        || {
            let (rows, _) = bytes.as_chunks_mut();
            let rows = values.chunks(ROW).zip(rows);
            for ((values, bytes), first) in rows.zip((first..).step_by(ROW)) {
                // What is missing in the last row is zero.
                let mut row = [0.0; ROW];
                row[..values.len()].copy_from_slice(values);
                encode_row::<L, SIGNED>(&row, first, rounding, bytes);
            }
        },
    );
}

#[inline(always)]
fn encode_row<const L: u32, const SIGNED: bool>(
    values: &[f32; ROW],
    first: u64,
    rounding: Rounding,
    bytes: &mut [u8; SCALE_BYTES + ROW],
) {
    let doubled = match rounding {
        Rounding::Nearest => [NEAREST; ROW],
        Rounding::Stochastic(noise) => noise.of_row((first / QUAD) as u32).map(doubled),
    };
    let mut magnitudes = [0; ROW];
    for (magnitude, value) in magnitudes.iter_mut().zip(values) {
        *magnitude = self::magnitude(*value);
    }
    let (tops, codes) = bytes.split_at_mut(SCALE_BYTES);
    let (tops, _) = tops.as_chunks_mut();
    let (blocks, _) = magnitudes.as_chunks::<BLOCK>();
    let of_elements = values.chunks(BLOCK).zip(doubled.chunks(BLOCK));
    let of_blocks = tops.iter_mut().zip(codes.chunks_mut(BLOCK)).zip(blocks);
    for (((top_bytes, codes), magnitudes), (values, doubled)) in of_blocks.zip(of_elements) {
        let top = largest(magnitudes);
        *top_bytes = top.to_le_bytes();
        let elements = magnitudes.iter().zip(values).zip(doubled);
        for (byte, ((magnitude, value), doubled)) in codes.iter_mut().zip(elements) {
            let code = code::<L, SIGNED>(*magnitude, top, *doubled);
            let sign = if SIGNED {
                value.to_bits() >> 31 << 7
            } else {
                0
            };
            *byte = (code | sign) as u8;
        }
    }
}

/// The largest of a block, by halves, of which compilers make vectors.
#[inline(always)]
fn largest(block: &[u32; BLOCK]) -> u32 {
    let mut most = *block;
    let mut half = BLOCK / 2;
    while half > 0 {
        let (low, high) = most.split_at_mut(half);
        for (low, high) in low.iter_mut().zip(high) {
            *low = (*low).max(*high);
        }
        half /= 2;
    }
    most[0]
}

fn decode<const L: u32, const SIGNED: bool>(bytes: &[u8], values: &mut [f32]) {
    vectorized::<f32, _>(
        #[inline(always)]
        || {
            let (rows, _) = bytes.as_chunks::<{ SCALE_BYTES + ROW }>();
            for (row, values) in rows.iter().zip(values.chunks_mut(ROW)) {
                let (tops, codes) = row.split_at(SCALE_BYTES);
                let (tops, _) = tops.as_chunks();
                let blocks = values.chunks_mut(BLOCK).zip(codes.chunks(BLOCK));
                for ((values, codes), top) in blocks.zip(tops) {
                    decode_block::<L, SIGNED>(u32::from_le_bytes(*top), codes, values);
                }
            }
        },
    );
}

#[inline(always)]
fn decode_block<const L: u32, const SIGNED: bool>(top: u32, codes: &[u8], values: &mut [f32]) {
    for (value, code) in values.iter_mut().zip(codes) {
        let code = u32::from(*code);
        let sign = if SIGNED { code >> 7 << 31 } else { 0 };
        let code = if SIGNED { code & 127 } else { code };
        *value = f32::from_bits(magnitude_of::<L>(code, top) | sign);
    }
}

/// Makes zeros of a row's elements from number `first` on. A block that has others keeps its scale.
fn clear<const L: u32>(row: &mut [u8], first: usize) {
    let (tops, codes) = row.split_at_mut(SCALE_BYTES);
    let of_block = SCALE_BYTES * BLOCK / ROW;
    tops[of_block * first.div_ceil(BLOCK)..].fill(0);
    // The code of zero.
    codes[first..].fill((32 * L - 1) as u8);
}

/// Rounds with the same random bits for all.
#[cfg(test)]
pub(super) fn round_with(is_signed: bool, values: &mut [f32], random: u32) {
    fn round<const L: u32, const SIGNED: bool>(values: &mut [f32], random: u32) {
        let top = values.iter().map(|value| magnitude(*value)).max();
        let top = top.unwrap_or(0);
        for value in values {
            let sign = value.to_bits() & 1 << 31;
            let code = code::<L, SIGNED>(magnitude(*value), top, doubled(random));
            *value = f32::from_bits(magnitude_of::<L>(code, top) | sign);
        }
    }
    match is_signed {
        true => round::<4, true>(values, random),
        false => round::<8, false>(values, random),
    }
}
