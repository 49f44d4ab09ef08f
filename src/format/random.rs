//! The random bits of stochastic rounding. They follow from a seed, a step, a slot and an element, so
//! that every device and the twin draw the same. Twin: shaders/format/random.wgsl

use fearless_simd::{prelude::*, u16x16, u32x8};

use super::QUAD;

/// O'Neill's permuted congruential generator, as a hash of 32 bits.
#[inline(always)]
pub(crate) fn pcg(x: u32) -> u32 {
    let s = x.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    let w = ((s >> ((s >> 28) + 4)) ^ s).wrapping_mul(277_803_737);
    (w >> 22) ^ w
}

/// The same of eight numbers at once.
#[inline(always)]
fn pcg_of_eight<S: Simd>(x: u32x8<S>) -> u32x8<S> {
    let s = x * 747_796_405 + 2_891_336_453;
    let w = ((s >> ((s >> 28) + 4)) ^ s) * 277_803_737;
    (w >> 22) ^ w
}

/// Elements that bits are drawn for at once, and that are encoded at once.
pub(crate) const DRAWN: usize = 16;

/// What decides where a value between two neighbours goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rounding {
    Nearest,
    Stochastic(Noise),
}

/// Random bits for the elements of one slot in one step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Noise([u32; 2]);

/// The lower 32 bits of a step count. Only those of 0 and 1 are 0 and 1, since shaders take them for no step
/// and the first. Twin: shaders/begin_step.wgsl
fn told(t: u64) -> u32 {
    if t > 1 { (t as u32).max(2) } else { t as u32 }
}

impl Noise {
    /// Of the performed step `t`. `seed` is the [hash](pcg) of the group's seed.
    pub fn new(seed: u32, t: u64, slot: u32) -> Self {
        let step = pcg(seed ^ told(t));
        Self([0, 1].map(|half| pcg(step.wrapping_add(2 * slot + half))))
    }

    /// Draws 16 bits for each of [`DRAWN`] elements, of which element `first` is the first.
    #[inline(always)]
    pub fn draws<S: Simd>(self, simd: S) -> impl Fn(u64) -> [u32x8<S>; 2] + Copy {
        // A quad has two words.
        let [low, high] = self.0;
        let keys = u32x8::from_slice(simd, &[low, high, low, high, low, high, low, high]);
        let quads = u32x8::from_slice(simd, &[0, 0, 1, 1, 2, 2, 3, 3]);
        #[inline(always)]
        move |first| {
            let words = pcg_of_eight((quads + (first / QUAD) as u32) ^ keys);
            // The lower half of a word comes first, on all machines that wgpu runs on.
            words.bitcast::<u16x16<S>>().widen().into()
        }
    }
}

#[cfg(test)]
mod tests {
    use fearless_simd::{Level, dispatch};

    use super::*;

    #[test]
    fn the_bits_are_those_of_the_definition() {
        for (x, expected) in [
            (0, 0x07bb_2fe2),
            (1, 0xa8be_ea3c),
            (2, 0x7a7e_cc88),
            (u32::MAX, 0xe62a_4902),
        ] {
            assert_eq!(pcg(x), expected, "{x}");
        }
        // Seed, step, stream, quad, key, word.
        for (seed, t, stream, quad, key, word) in [
            (0, 0, 0, 0, 0x7fdd_b461, 0x8d32_4821),
            (0, 1, 0, 0, 0xcb8b_5b66, 0x77d3_8ce6),
            (0, 1, 0, 1, 0xcb8b_5b66, 0xb860_d816),
            (0, 1, 1, 0, 0xcf08_7a6e, 0x953e_a62c),
            (0, 1, 1, 0xff, 0xcf08_7a6e, 0xba03_dc92),
            (1, 1, 0, 0, 0x9c9d_f0a2, 0x419e_5181),
            (0x2a, 0x3e8, 3, 0x1e240, 0x8dcd_3c0e, 0xcd1b_05b2),
            (
                u32::MAX,
                0xffff_ffff,
                7,
                0x3fff_ffff,
                0xd2e3_2fb6,
                0x862f_2da0,
            ),
        ] {
            let noise = Noise::new(pcg(seed), t, stream / 2);
            assert_eq!(noise.0[stream as usize % 2], key, "seed {seed}, step {t}");
            let half = 2 * (stream as usize % 2);
            for level in [Level::new(), Level::baseline()] {
                let first = QUAD * <u64 as From<u32>>::from(quad);
                let drawn: [u32; 8] = dispatch!(level, simd => {
                    let [drawn, _] = noise.draws(simd)(first);
                    drawn.into()
                });
                let [low, high] = [0, 1].map(|i| drawn[half + i]);
                assert_eq!(low | high << 16, word, "quad {quad}, {level:?}");
            }
        }
    }
}
