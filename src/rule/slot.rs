//! What a rule keeps beside the parameters, and for what there is one value.

use crate::{hyperparameter::Interval, shape::Matrices};

/// Numbers that a rule keeps, or is given, beside the parameters and the gradient.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slot {
    /// The name. It is PyTorch's where PyTorch has the rule.
    pub name: &'static str,
    /// What the slot has one value for.
    pub extent: Extent,
    /// Its value before the first step.
    pub start: f64,
    /// Whether the rule's flags make use of it. If not, it takes no memory and reads as zero.
    pub used: bool,
    /// Whether the caller fills it. The update reads it and does not change it. See
    /// [`Optimizer::refresh`](crate::Optimizer::refresh).
    pub input: bool,
    /// Whether it only carries values from one of the [`Stages`](crate::Stages) of a step to the
    /// next. It means nothing after the step.
    pub scratch: bool,
    /// How it may be stored, for a slot of [`Extent::Element`].
    pub precision: Precision,
    /// What a slot of a [group](Extent::Group) can hold beside `start`. Other numbers cannot be
    /// [set](crate::Optimizer::set_group_state).
    pub allowed: Interval,
}

impl Slot {
    /// One value per element. It starts at zero.
    pub const fn element(name: &'static str) -> Self {
        Self {
            name,
            extent: Extent::Element,
            start: 0.0,
            used: true,
            input: false,
            scratch: false,
            precision: Precision::Signed,
            allowed: Interval::FINITE,
        }
    }

    /// One value per element, filled by the caller, such as a curvature. It is zero until the
    /// caller fills it.
    pub const fn input(name: &'static str) -> Self {
        Self::element(name).as_input()
    }

    /// One value for the whole parameter group. The host keeps it in f64; see
    /// [`Rule::advance`](crate::Rule::advance).
    pub const fn group(name: &'static str) -> Self {
        Self {
            extent: Extent::Group,
            ..Self::element(name)
        }
    }

    /// One f32 per tensor, kept on the device. A rule concludes it from a [`Sum`](crate::Sum).
    pub const fn tensor(name: &'static str) -> Self {
        Self::element(name).of(Extent::Tensor)
    }

    /// The same slot, with one value per tensor.
    pub const fn per_tensor(self) -> Self {
        self.of(Extent::Tensor)
    }

    /// The same slot, with one value per parameter group.
    pub const fn per_group(self) -> Self {
        self.of(Extent::Group)
    }

    /// The same slot, with one value per `extent`.
    pub const fn of(self, extent: Extent) -> Self {
        Self { extent, ..self }
    }

    /// The same slot, filled by the caller.
    pub const fn as_input(self) -> Self {
        Self {
            input: true,
            ..self
        }
    }

    /// The same slot, meaningless between steps.
    pub const fn as_scratch(self) -> Self {
        Self {
            scratch: true,
            ..self
        }
    }

    /// The same slot, with values that are never negative.
    pub const fn non_negative(self) -> Self {
        self.stored_as(Precision::NonNegative)
    }

    /// The same slot, always stored as f32.
    pub const fn exact(self) -> Self {
        self.stored_as(Precision::Exact)
    }

    /// The same slot, stored as f32 unless the caller asks for less by
    /// [`Formats::sensitive`](crate::Formats::sensitive).
    pub const fn sensitive(self) -> Self {
        self.stored_as(Precision::Sensitive)
    }

    /// The same slot, always stored as f32 if `is_exact`.
    pub const fn exact_if(self, is_exact: bool) -> Self {
        if is_exact { self.exact() } else { self }
    }

    const fn stored_as(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// The same slot, in use only if `used`.
    pub const fn used_if(self, used: bool) -> Self {
        Self { used, ..self }
    }

    /// The same slot of a group, for numbers within `allowed` and its start.
    pub const fn within(self, allowed: Interval) -> Self {
        Self { allowed, ..self }
    }

    /// The same slot, starting at `start`.
    pub const fn starting_at(self, start: f64) -> Self {
        Self { start, ..self }
    }
}

/// What the values of a slot bear, if a group is [stored](crate::Formats) in fewer than 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Precision {
    /// They may be rounded, such as those of a moving average.
    Signed,
    /// They may be rounded, and are never negative. One that is not zero does not become zero.
    NonNegative,
    /// They may be rounded, but stay f32 unless the caller asks for less: a copy of parameters or of
    /// gradients, a step size.
    Sensitive,
    /// They stay f32: a maximum, which rounding would only ever raise, or a difference that must not become
    /// negative.
    Exact,
}

/// What a slot has one value for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Extent {
    /// Each parameter.
    Element,
    /// Each tensor.
    Tensor,
    /// Each row of the matrices of a tensor. The last two dimensions make a matrix, and the other
    /// dimensions count the matrices. A tensor of fewer than two dimensions has no rows.
    Row,
    /// Each column of such a matrix.
    Column,
    /// Each parameter of a tensor with fewer than two dimensions.
    Vector,
    /// Each pair of parameters of a tensor, row-major.
    Pair,
    /// The parameter group.
    Group,
}

impl Extent {
    /// How many values there are for a tensor of `shape`. A slot of [`Group`](Self::Group) belongs
    /// to no tensor, so that is 0.
    ///
    /// ```
    /// use wgpu_optim::Extent;
    ///
    /// assert_eq!(Extent::Row.count(&[2, 3, 5]), 6);
    /// assert_eq!(Extent::Column.count(&[2, 3, 5]), 10);
    /// assert_eq!(Extent::Row.count(&[5]), 0);
    /// assert_eq!(Extent::Vector.count(&[5]), 5);
    /// ```
    pub fn count(self, shape: &[usize]) -> usize {
        let matrices = Matrices::of(shape);
        // What no machine could address counts as the largest number.
        let of_matrices = |lines: usize| {
            let lines = matrices.count.saturating_mul(lines);
            lines * usize::from(matrices.has_rows)
        };
        let elements = shape.iter().copied().fold(1, usize::saturating_mul);
        match self {
            Self::Element => elements,
            Self::Tensor => 1,
            Self::Row => of_matrices(matrices.rows),
            Self::Column => of_matrices(matrices.columns),
            Self::Vector if matrices.has_rows => 0,
            Self::Vector => elements,
            Self::Pair => elements.saturating_mul(elements),
            Self::Group => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Extent;

    #[test]
    fn counts_beyond_any_memory_are_the_largest_number() {
        for shape in [
            &[usize::MAX, 2][..],
            &[usize::MAX, 3, 2, 5],
            &[usize::MAX; 4],
        ] {
            assert_eq!(Extent::Element.count(shape), usize::MAX);
            for extent in [Extent::Row, Extent::Column, Extent::Vector, Extent::Pair] {
                extent.count(shape);
            }
        }
    }
}
