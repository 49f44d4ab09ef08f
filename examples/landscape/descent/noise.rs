//! Normal noise that is the same to the bit on every device, from a generator that counts: what is
//! drawn depends on the seed, the step and the start alone. The WGSL is in `noise.wgsl`.

/// Normal noise in the gradient, such as small batches make.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// Standard deviation of each element.
    pub sigma: f64,
    pub seed: u32,
}

/// PCG4D. Jarzynski & Olano 2020, "Hash Functions for GPU Rendering".
fn pcg4d(v: [u32; 4]) -> [u32; 4] {
    let mut v = v.map(|word| word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let mix = |v: &mut [u32; 4]| {
        v[0] = v[0].wrapping_add(v[1].wrapping_mul(v[3]));
        v[1] = v[1].wrapping_add(v[2].wrapping_mul(v[0]));
        v[2] = v[2].wrapping_add(v[0].wrapping_mul(v[1]));
        v[3] = v[3].wrapping_add(v[1].wrapping_mul(v[2]));
    };
    mix(&mut v);
    v = v.map(|word| word ^ (word >> 16));
    mix(&mut v);
    v
}

/// Two normal numbers for a step (from 1) of a start (from 0): sums of twelve uniform ones of 16
/// bits, which an f32 holds exactly. Mean 0, variance 1, none beyond ±6.
pub fn normals(seed: u32, step: u32, start: u32) -> [f32; 2] {
    let words = [0, 1, 2].map(|part| pcg4d([seed, step, start, part]));
    let halves = words
        .as_flattened()
        .iter()
        .map(|word| (word & 0xffff) + (word >> 16));
    let halves: Vec<u32> = halves.collect();
    let [x, y] = [&halves[..6], &halves[6..]].map(|six| six.iter().sum::<u32>());
    [x, y].map(|sum| (2 * sum as i32 - 12 * 65_535) as f32 / 131_072.0)
}
