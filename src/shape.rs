//! A tensor's shape as a stack of matrices.

/// A tensor as a stack of matrices. Its last two dimensions make a matrix, and its other dimensions
/// count the matrices. A tensor of fewer than two dimensions is a single row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Matrices {
    pub count: usize,
    pub rows: usize,
    pub columns: usize,
    /// Whether the tensor has at least two dimensions.
    pub has_rows: bool,
}

impl Matrices {
    pub fn of(shape: &[usize]) -> Self {
        match shape {
            [others @ .., rows, columns] => Self {
                count: product(others),
                rows: *rows,
                columns: *columns,
                has_rows: true,
            },
            _ => Self {
                count: 1,
                rows: 1,
                columns: product(shape),
                has_rows: false,
            },
        }
    }
}

/// A product that no machine could address counts as the largest number.
fn product(dimensions: &[usize]) -> usize {
    dimensions.iter().copied().fold(1, usize::saturating_mul)
}
