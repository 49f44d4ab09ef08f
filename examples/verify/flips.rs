//! How many elements a GPU rounded otherwise than the twin in f32.

use anyhow::{Result, bail};
use wgpu_optim::Format;

/// Elements that were rounded to another neighbour.
#[derive(Debug, Default, PartialEq)]
pub struct Flips {
    pub count: usize,
    pub of: usize,
}

impl Flips {
    pub fn add(&mut self, one: &[Vec<f64>], other: &[Vec<f64>], format: Format) -> Result<()> {
        // What the rounding of f32 moves, and the scale of a block with it, is far less.
        let least = least_step(format)? / 2.0;
        let pairs = one.iter().flatten().zip(other.iter().flatten());
        // NaN is not the same as anything.
        let is_same = |(one, other): &(&f64, &f64)| {
            (*one - *other).abs() <= least * one.abs().max(other.abs())
        };
        self.of += pairs.clone().count();
        self.count += pairs.filter(|pair| !is_same(pair)).count();
        Ok(())
    }
}

/// The least distance between neighbours that can be stored, as a part of either.
pub fn least_step(format: Format) -> Result<f64> {
    Ok(match format {
        Format::Bf16 => 1.0 / 256.0,
        Format::Int8 => 1.0 / 32.0,
        _ => bail!("{format}: nothing is known about its steps"),
    })
}
