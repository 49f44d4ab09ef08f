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

use fearless_simd::{Level, dispatch, f32x8, i32x8, prelude::*, u8x16, u16x16, u32x8};
use safetensors::Dtype;

use super::{Definition, Rounding, bits, padded, random::DRAWN};

const LOG8: &str = include_str!("../../shaders/format/log8.wgsl");

/// Elements that share a scale.
const BLOCK: usize = DRAWN;

/// Elements whose scales lie together, and then their codes.
const ROW: usize = 64;

/// The scales of a row lie together.
const SCALE_BYTES: usize = 4 * ROW / BLOCK;

pub(super) static SIGNED: Definition = Definition {
    name: "int8",
    encode: |values, first, rounding, bytes| {
        dispatch!(Level::new(), simd => {
            encode::<_, 4, true>(simd, values, first, rounding, bytes);
        });
    },
    decode: |bytes, values| {
        dispatch!(Level::new(), simd => decode::<_, 4, true>(simd, bytes, values));
    },
    clear: clear::<4>,
    wgsl: &[LOG8, include_str!("../../shaders/format/int8.wgsl")],
    ..COMMON
};

pub(super) static NON_NEGATIVE: Definition = Definition {
    name: "uint8",
    encode: |values, first, rounding, bytes| {
        dispatch!(Level::new(), simd => {
            encode::<_, 8, false>(simd, values, first, rounding, bytes);
        });
    },
    decode: |bytes, values| {
        dispatch!(Level::new(), simd => decode::<_, 8, false>(simd, bytes, values));
    },
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
fn magnitude<S: Simd>(bits: u32x8<S>) -> u32x8<S> {
    let magnitude = (bits & 0x7fff_ffff).bitcast::<i32x8<S>>();
    let is_normal = magnitude.simd_ge(i32x8::splat(bits.simd, 0x0080_0000));
    is_normal
        .select(magnitude, i32x8::splat(bits.simd, 0))
        .bitcast()
}

/// What makes the nearest of a distance, in place of random bits. It lies between two of them.
const NEAREST: u32 = 1 << 16;

/// What random bits make of a distance.
#[inline(always)]
fn doubled<S: Simd>(random: u32x8<S>) -> u32x8<S> {
    (random << 1) + 1
}

/// The code of a magnitude, without its sign, in a block whose largest is `top`. A distance lies in one of
/// three ranges, each with half the steps of the one before.
#[inline(always)]
fn code<S: Simd, const L: u32, const SIGNED: bool>(
    magnitude: u32x8<S>,
    top: u32x8<S>,
    doubled: u32x8<S>,
) -> u32x8<S> {
    let last = 32 * L - 1;
    let simd = top.simd;
    let distance = top - magnitude;
    let range = (distance >> (L << 23).ilog2()).min(u32x8::splat(simd, 2));
    let added = doubled << (range + 2);
    let code = (range << (8 * L).ilog2()) + ((distance + added) >> (range + 19));
    let most = if SIGNED { last } else { last - 1 };
    let code = code.min(u32x8::splat(simd, most));
    let is_zero = magnitude.simd_eq(u32x8::splat(simd, 0));
    is_zero.select(u32x8::splat(simd, last), code)
}

/// The magnitude of a code, in a block whose largest is `top`.
#[inline(always)]
fn magnitude_of<S: Simd, const L: u32>(code: u32x8<S>, top: u32) -> u32x8<S> {
    let simd = code.simd;
    let zero = u32x8::splat(simd, 0);
    if top < 0x0080_0000 {
        return zero;
    }
    let range = (code >> (8 * L).ilog2()).max(u32x8::splat(simd, 1)) - 1;
    let distance = (code - (range << (8 * L).ilog2())) << (range + 19);
    // A scale that was not encoded, in a file, may be anything.
    let magnitude = (u32x8::splat(simd, top) - distance).bitcast::<i32x8<S>>();
    let magnitude = magnitude.max(i32x8::splat(simd, 0x0080_0000));
    let is_zero = code.simd_eq(u32x8::splat(simd, 32 * L - 1));
    is_zero.select(zero, magnitude.bitcast())
}

#[inline(always)]
fn encode<S: Simd, const L: u32, const SIGNED: bool>(
    simd: S,
    values: &[f32],
    first: u64,
    rounding: Rounding,
    bytes: &mut [u8],
) {
    match rounding {
        Rounding::Nearest => encode_with::<S, L, SIGNED>(
            simd,
            values,
            first,
            bytes,
            #[inline(always)]
            |_| [u32x8::splat(simd, NEAREST); 2],
        ),
        Rounding::Stochastic(noise) => {
            let draw = noise.draws(simd);
            encode_with::<S, L, SIGNED>(
                simd,
                values,
                first,
                bytes,
                #[inline(always)]
                |first| {
                    let [low, high] = draw(first);
                    [doubled(low), doubled(high)]
                },
            );
        }
    }
}

/// Encodes with what `doubled` makes of the number of a block's first element.
#[inline(always)]
fn encode_with<S: Simd, const L: u32, const SIGNED: bool>(
    simd: S,
    values: &[f32],
    first: u64,
    bytes: &mut [u8],
    doubled: impl Fn(u64) -> [u32x8<S>; 2],
) {
    let (rows, rest) = values.as_chunks();
    let mut encoded = bytes.as_chunks_mut().0.iter_mut();
    let mut first = first;
    for (row, encoded) in rows.iter().zip(&mut encoded) {
        encode_row::<S, L, SIGNED>(simd, row, first, encoded, &doubled);
        first += ROW as u64;
    }
    // What is missing in the last row is zero.
    if let (Some(row), Some(encoded)) = (padded(rest), encoded.next()) {
        encode_row::<S, L, SIGNED>(simd, &row, first, encoded, &doubled);
    }
}

#[inline(always)]
fn encode_row<S: Simd, const L: u32, const SIGNED: bool>(
    simd: S,
    values: &[f32; ROW],
    first: u64,
    row: &mut [u8; SCALE_BYTES + ROW],
    doubled: &impl Fn(u64) -> [u32x8<S>; 2],
) {
    let (tops, codes) = row.split_at_mut(SCALE_BYTES);
    let (tops, _) = tops.as_chunks_mut();
    let (codes, _) = codes.as_chunks_mut();
    let (blocks, _) = values.as_chunks();
    let blocks = blocks.iter().zip(tops).zip(codes);
    for (((values, top), codes), first) in blocks.zip((first..).step_by(BLOCK)) {
        *top = encode_block::<S, L, SIGNED>(simd, values, codes, doubled(first)).to_le_bytes();
    }
}

/// Fills the codes of a block, and returns its largest magnitude.
#[inline(always)]
fn encode_block<S: Simd, const L: u32, const SIGNED: bool>(
    simd: S,
    values: &[f32; BLOCK],
    codes: &mut [u8; BLOCK],
    doubled: [u32x8<S>; 2],
) -> u32 {
    let bits = bits(simd, values);
    let magnitudes = [magnitude(bits[0]), magnitude(bits[1])];
    let top = magnitudes[0].max(magnitudes[1]).reduce_max();
    let all_top = u32x8::splat(simd, top);
    let low = code::<S, L, SIGNED>(magnitudes[0], all_top, doubled[0]);
    let high = code::<S, L, SIGNED>(magnitudes[1], all_top, doubled[1]);
    let [low, high] = match SIGNED {
        true => [low | bits[0] >> 31 << 7, high | bits[1] >> 31 << 7],
        false => [low, high],
    };
    let words: u16x16<S> = low.relaxed_narrow(high);
    let (low, high) = words.split();
    let found: u8x16<S> = low.relaxed_narrow(high);
    found.store_slice(codes);
    top
}

#[inline(always)]
fn decode<S: Simd, const L: u32, const SIGNED: bool>(simd: S, bytes: &[u8], values: &mut [f32]) {
    let (rows, rest) = values.as_chunks_mut();
    let mut encoded = bytes.as_chunks().0.iter();
    for (row, encoded) in rows.iter_mut().zip(&mut encoded) {
        decode_row::<S, L, SIGNED>(simd, encoded, row);
    }
    if let (false, Some(encoded)) = (rest.is_empty(), encoded.next()) {
        let mut row = [0.0; ROW];
        decode_row::<S, L, SIGNED>(simd, encoded, &mut row);
        rest.copy_from_slice(&row[..rest.len()]);
    }
}

#[inline(always)]
fn decode_row<S: Simd, const L: u32, const SIGNED: bool>(
    simd: S,
    row: &[u8; SCALE_BYTES + ROW],
    values: &mut [f32; ROW],
) {
    let (tops, codes) = row.split_at(SCALE_BYTES);
    let (tops, _) = tops.as_chunks();
    let (codes, _) = codes.as_chunks();
    let (blocks, _) = values.as_chunks_mut();
    for ((values, codes), top) in blocks.iter_mut().zip(codes).zip(tops) {
        decode_block::<S, L, SIGNED>(simd, u32::from_le_bytes(*top), codes, values);
    }
}

#[inline(always)]
fn decode_block<S: Simd, const L: u32, const SIGNED: bool>(
    simd: S,
    top: u32,
    codes: &[u8; BLOCK],
    values: &mut [f32; BLOCK],
) {
    let (low, high) = u8x16::from_slice(simd, codes).widen();
    let words: u16x16<S> = low.combine(high);
    let (eights, _) = values.as_chunks_mut::<8>();
    for (values, code) in eights.iter_mut().zip(<[u32x8<S>; 2]>::from(words.widen())) {
        let bits = if SIGNED {
            magnitude_of::<S, L>(code & 127, top) | code >> 7 << 31
        } else {
            magnitude_of::<S, L>(code, top)
        };
        bits.bitcast::<f32x8<S>>().store_slice(values);
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
    #[inline(always)]
    fn round<S: Simd, const L: u32, const SIGNED: bool>(simd: S, values: &mut [f32], random: u32) {
        let mut bytes = vec![0; (SCALE_BYTES + ROW) * values.len().div_ceil(ROW)];
        let doubled = doubled(u32x8::splat(simd, random));
        encode_with::<S, L, SIGNED>(simd, values, 0, &mut bytes, |_| [doubled; 2]);
        decode::<S, L, SIGNED>(simd, &bytes, values);
    }
    dispatch!(Level::new(), simd => match is_signed {
        true => round::<_, 4, true>(simd, values, random),
        false => round::<_, 8, false>(simd, values, random),
    });
}
