//! The swap of parameters with their average, where parameters have fewer bits than that.
//!
//! A parameter is the upper bits of an f32, and the average is a whole f32. In evaluation the parameter's
//! place has the average, rounded to the nearest that it can hold. The average's place has the parameter's
//! bits, and below them the average's lower bits, which the rounding took away. Swapping back gives both as
//! they were, to the bit. Twin: shaders/evaluation/by_rounded_average.wgsl
//!
//! Why that is so: let the average be `upper·2ⁿ + lower`, as an integer. It is rounded to `upper` or, where
//! `lower` is 2ⁿ⁻¹ or more, to `upper + 1`. So `lower` says which. Two kinds of number need care.
//! - The largest finite ones become an infinity. `upper + 1` is that infinity's bits, and never more, so the
//!   sign stays as it is. An infinity itself has no `lower`, so it is not taken for one of them.
//! - A NaN is not rounded, but becomes a quiet one: otherwise it could become an infinity, or lose its sign.
//!   Rounding never makes a NaN. So a NaN that is swapped back was one, and nothing is taken from it. It
//!   cannot always come back to the bit: an infinity's upper bits are a NaN's too if some lower bit is set, so
//!   there is one `upper` of a NaN more than there are NaNs to show. It comes back as a NaN of the same sign
//!   and `lower`, and a quiet one with all of its bits if the parameters' format keeps those.
//!
//! Rounding up never makes a zero. So if a zero comes back, nothing is taken from it either: somebody wrote
//! it in evaluation, and one less than it would be a NaN.

use super::{Encoding, Rounding};

const INFINITY: u32 = 0x7f80_0000;
const QUIET: u32 = 0x0040_0000;

impl Encoding {
    /// The bits of an f32 that these values lack, as a mask. `None` if they are not the upper bits of an f32.
    pub fn lower_bits(self) -> Option<u32> {
        let upper = self.0.upper_bits?;
        Some(u32::MAX.checked_shr(upper).unwrap_or(0))
    }

    /// Puts averages in the place of parameters of this encoding, and keeps both.
    pub fn swap_in(self, params: &mut [f32], averages: &mut [f32]) {
        // As they are stored.
        self.round(params, 0, Rounding::Nearest);
        match self.lower_bits() {
            Some(lower @ 1..) => {
                for (param, average) in params.iter_mut().zip(averages) {
                    let bits = average.to_bits();
                    *average = f32::from_bits(param.to_bits() | bits & lower);
                    *param = f32::from_bits(shown(bits, lower));
                }
            }
            _ => params.swap_with_slice(averages),
        }
        self.round(params, 0, Rounding::Nearest);
    }

    /// Undoes [`swap_in`](Self::swap_in).
    pub fn swap_back(self, params: &mut [f32], averages: &mut [f32]) {
        self.round(params, 0, Rounding::Nearest);
        match self.lower_bits() {
            Some(lower @ 1..) => {
                for (param, average) in params.iter_mut().zip(averages) {
                    let bits = average.to_bits();
                    *average = f32::from_bits(whole(param.to_bits(), bits & lower, lower));
                    *param = f32::from_bits(bits & !lower);
                }
            }
            _ => params.swap_with_slice(averages),
        }
    }
}

fn magnitude(bits: u32) -> u32 {
    bits & 0x7fff_ffff
}

/// The nearest that a parameter can be; of two equally near, the larger magnitude. `mask` has the bits that
/// a parameter lacks, and at least one.
fn shown(average: u32, mask: u32) -> u32 {
    let is_nan = magnitude(average) > INFINITY;
    let rounded = match is_nan {
        true => average | QUIET,
        false => average + (mask / 2 + 1),
    };
    rounded & !mask
}

/// The average that was shown like this, and whose lower bits are these.
fn whole(shown: u32, lower: u32, mask: u32) -> u32 {
    // The highest of the lower bits says whether it was rounded up.
    let up = lower << 1 & (mask + 1);
    let may_be_up = (1..=INFINITY).contains(&magnitude(shown));
    let upper = if may_be_up { shown - up } else { shown };
    upper | lower
}
