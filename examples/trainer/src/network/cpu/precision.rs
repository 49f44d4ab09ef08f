//! What stays of numbers that a device stores in 16 bits.

use half::{bf16, f16};
use wgpu_optim::Format;

use super::Scalar;

/// A parameter as it is stored in `format` when it is written.
pub fn written<T: Scalar>(number: T, format: Format) -> T {
    match format {
        Format::Bf16 => T::from_f64(bf16::from_f32(single(number)).into()),
        Format::Bf16Plus8 => upper(number, 24),
        _ => number,
    }
}

/// A parameter as a forward pass reads it.
pub fn read<T: Scalar>(number: T, format: Format) -> T {
    match format {
        Format::F32 => number,
        // A bf16. What it has beside that is the optimizer's.
        _ => upper(number, 16),
    }
}

/// The nearest that has no more than the upper `kept` bits of an f32; of two equally near, the larger
/// magnitude. For numbers that are far from infinite.
fn upper<T: Scalar>(number: T, kept: u32) -> T {
    let lost = 32 - kept;
    let bits = single(number).to_bits() + (1 << (lost - 1));
    T::from_f64(f32::from_bits(bits >> lost << lost).into())
}

/// A gradient as it is stored in `format`.
pub fn stored<T: Scalar>(gradient: T, format: Format) -> T {
    match format {
        Format::F16 => T::from_f64(f16::from_f32(single(gradient)).into()),
        Format::Bf16 => T::from_f64(bf16::from_f32(single(gradient)).into()),
        _ => gradient,
    }
}

fn single<T: Scalar>(number: T) -> f32 {
    number.to_f32().unwrap_or(f32::NAN)
}
