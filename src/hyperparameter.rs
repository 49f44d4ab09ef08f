//! Hyperparameters by name. One list per rule serves to set, read and check them.

use std::{
    fmt,
    ops::{Range, RangeFrom, RangeInclusive},
};

use crate::Error;

/// One field of a rule: its name, access to its value, and the values allowed.
#[derive(Debug)]
pub struct Hyperparameter<'a> {
    /// The name as users type it.
    pub name: &'static str,
    /// Access to its value.
    pub field: Field<'a>,
}

/// The kinds of hyperparameters.
#[derive(Debug)]
#[non_exhaustive]
pub enum Field<'a> {
    /// A number within an interval.
    Number {
        /// The rule's field.
        value: &'a mut f64,
        /// The values allowed.
        allowed: Interval,
    },
    /// A switch.
    Flag(&'a mut bool),
    /// One of a few names.
    Choice(&'a mut dyn Choice),
}

/// An enum whose variants have names, such as [`Amsgrad`](crate::rules::Amsgrad).
pub trait Choice: fmt::Debug {
    /// The names of all variants.
    fn names(&self) -> &'static [&'static str];
    /// The index of the current variant in `names`.
    fn position(&self) -> usize;
    /// Switches to the variant at index `position` of `names`.
    fn choose(&mut self, position: usize);
}

/// Declares an enum of a rule and the names of its variants, and implements [`Choice`] for it.
macro_rules! choice {
    (
        $(#[$meta:meta])*
        pub enum $Choice:ident {
            $($(#[$doc:meta])* $Variant:ident = $name:literal,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $Choice {
            $($(#[$doc])* $Variant,)*
        }

        impl $crate::hyperparameter::Choice for $Choice {
            fn names(&self) -> &'static [&'static str] {
                &[$($name),*]
            }

            fn position(&self) -> usize {
                *self as usize
            }

            fn choose(&mut self, position: usize) {
                *self = [$(Self::$Variant),*][position];
            }
        }
    };
}
pub(crate) use choice;

impl<'a> Hyperparameter<'a> {
    /// A number within `allowed`.
    pub fn number(name: &'static str, value: &'a mut f64, allowed: Interval) -> Self {
        let field = Field::Number { value, allowed };
        Self { name, field }
    }

    /// Any finite number from zero up: `lr`, `weight_decay`.
    pub fn non_negative(name: &'static str, value: &'a mut f64) -> Self {
        Self::number(name, value, Interval::NON_NEGATIVE)
    }

    /// `[0, 1)`: `beta1`, `momentum`, `alpha`.
    pub fn below_one(name: &'static str, value: &'a mut f64) -> Self {
        Self::number(name, value, Interval::BELOW_ONE)
    }

    /// `[0, 1]`: `dampening`.
    pub fn up_to_one(name: &'static str, value: &'a mut f64) -> Self {
        Self::number(name, value, Interval::UP_TO_ONE)
    }

    /// What keeps a rule from dividing by zero; see [`Interval::EPS`].
    pub fn eps(name: &'static str, value: &'a mut f64) -> Self {
        Self::number(name, value, Interval::EPS)
    }

    /// A switch.
    pub fn flag(name: &'static str, value: &'a mut bool) -> Self {
        let field = Field::Flag(value);
        Self { name, field }
    }

    /// One of a few names.
    pub fn choice(name: &'static str, value: &'a mut dyn Choice) -> Self {
        let field = Field::Choice(value);
        Self { name, field }
    }

    /// The value as text that [`Rule::set`](crate::Rule::set) can parse.
    pub fn value(&self) -> String {
        match &self.field {
            Field::Number { value, .. } => value.to_string(),
            Field::Flag(value) => value.to_string(),
            Field::Choice(value) => value.names()[value.position()].to_owned(),
        }
    }

    /// The values allowed, in words.
    pub fn allowed(&self) -> String {
        match &self.field {
            Field::Number { allowed, .. } => allowed.to_string(),
            Field::Flag(_) => "true or false".to_owned(),
            Field::Choice(value) => format!("one of: {}", value.names().join(", ")),
        }
    }

    /// Parses and checks `text`. On an error, the value stays as it was.
    pub(crate) fn set(&mut self, rule: &str, text: &str) -> Result<(), Error> {
        let refused = self.refused(rule, text);
        match &mut self.field {
            Field::Number { value, allowed } => {
                let number = text.trim().parse().map_err(|_| refused.clone())?;
                if !allowed.contains(number) {
                    return Err(refused);
                }
                **value = number;
            }
            Field::Flag(value) => **value = text.trim().parse().map_err(|_| refused)?,
            Field::Choice(value) => {
                let position = value.names().iter().position(|name| *name == text.trim());
                value.choose(position.ok_or(refused)?);
            }
        }
        Ok(())
    }

    pub(crate) fn check(&self, rule: &str) -> Result<(), Error> {
        match &self.field {
            Field::Number { value, allowed } if !allowed.contains(**value) => {
                Err(self.refused(rule, &value.to_string()))
            }
            _ => Ok(()),
        }
    }

    fn refused(&self, rule: &str, value: &str) -> Error {
        Error::Hyperparameter {
            rule: rule.to_owned(),
            name: self.name.to_owned(),
            value: value.to_owned(),
            allowed: self.allowed(),
        }
    }
}

/// An interval of allowed numbers. Those of a hyperparameter all fit into an f32.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    least: f64,
    most: f64,
    includes_most: bool,
}

impl Interval {
    /// Any finite f64, for what only the host computes with.
    pub const FINITE: Self = Self::new(-f64::MAX, f64::MAX, true);
    /// Any finite number from zero up: `lr`, `weight_decay`.
    pub const NON_NEGATIVE: Self = Self::at_least(0.0);
    /// `[0, 1)`: `beta1`, `momentum`, `alpha`.
    pub const BELOW_ONE: Self = Self::new(0.0, 1.0, false);
    /// `[0, 1]`: `dampening`.
    pub const UP_TO_ONE: Self = Self::new(0.0, 1.0, true);
    /// From the smallest normal f32 up. Some devices would flush a smaller `eps` to zero. Padding
    /// and untouched rows would then divide zero by zero. At most 1e30, because AdaBelief adds it up.
    pub const EPS: Self = Self::new(f32::MIN_POSITIVE as f64, 1e30, true);

    /// `[least, most]`, or `[least, most)`.
    pub const fn new(least: f64, most: f64, includes_most: bool) -> Self {
        Self {
            least,
            most,
            includes_most,
        }
    }

    /// `[least, largest finite f32]`.
    pub const fn at_least(least: f64) -> Self {
        Self::new(least, f32::MAX as f64, true)
    }

    /// Whether `value` is allowed. NaN never is.
    pub fn contains(&self, value: f64) -> bool {
        // The device computes with the f32 that is nearest to `value`. A beta that rounds to 1 is 1
        // there.
        let rounded = f64::from(value as f32);
        value >= self.least
            && (value < self.most || self.includes_most && value == self.most)
            && (rounded < self.most || self.includes_most)
    }
}

impl From<Range<f64>> for Interval {
    /// `[least, most)`.
    fn from(range: Range<f64>) -> Self {
        Self::new(range.start, range.end, false)
    }
}

impl From<RangeInclusive<f64>> for Interval {
    /// `[least, most]`.
    fn from(range: RangeInclusive<f64>) -> Self {
        Self::new(*range.start(), *range.end(), true)
    }
}

impl From<RangeFrom<f64>> for Interval {
    /// `[least, largest finite f32]`.
    fn from(range: RangeFrom<f64>) -> Self {
        Self::at_least(range.start)
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::FINITE {
            return write!(f, "a finite number");
        }
        if self.most == f64::MAX {
            return write!(f, "a finite number of at least {:?}", self.least);
        }
        if self.most == f64::from(f32::MAX) {
            return write!(f, "a finite f32 of at least {:?}", self.least);
        }
        let bracket = if self.includes_most { "]" } else { ")" };
        let text = |end: f64| match end.abs() {
            1e-5..1e16 | 0.0 => end.to_string(),
            _ => format!("{end:e}"),
        };
        let [least, most] = [self.least, self.most].map(text);
        write!(f, "a number in [{least}, {most}{bracket}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_hold_their_ends_and_refuse_nan_and_infinity() {
        assert!(Interval::BELOW_ONE.contains(0.0));
        assert!(!Interval::BELOW_ONE.contains(1.0));
        assert!(!Interval::BELOW_ONE.contains(1.0 - 1e-12), "is 1 as an f32");
        assert!(Interval::BELOW_ONE.contains(0.9999));
        assert!(Interval::UP_TO_ONE.contains(1.0));
        for interval in [Interval::NON_NEGATIVE, Interval::EPS, Interval::UP_TO_ONE] {
            assert!(!interval.contains(f64::NAN));
            assert!(!interval.contains(f64::INFINITY));
            assert!(!interval.contains(-1e-3));
            assert!(!interval.contains(1e39), "is infinite as an f32");
        }
        assert!(Interval::EPS.contains(f64::from(f32::MIN_POSITIVE)));
        assert!(!Interval::EPS.contains(1e-38));
        assert!(!Interval::EPS.contains(0.0));
    }
}
