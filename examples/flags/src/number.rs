//! Numbers that an f32 holds.

use std::str::FromStr;

use wgpu_optim::hyperparameter::Interval;

/// A number above 0 that an f32 can hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PositiveNumber(pub f64);

impl FromStr for PositiveNumber {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number) if (number as f32).is_normal() && number > 0.0 => Ok(Self(number)),
            _ => Err("expected a finite number above 0, as an f32 holds it".into()),
        }
    }
}

/// A number from 0 up to but not 1, as an f32 holds it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BelowOne(pub f64);

impl FromStr for BelowOne {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number) if Interval::BELOW_ONE.contains(number) => Ok(Self(number)),
            _ => Err("expected a number from 0 up to but not 1, such as 0.99".into()),
        }
    }
}
