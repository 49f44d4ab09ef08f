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
                count: others.iter().product(),
                rows: *rows,
                columns: *columns,
                has_rows: true,
            },
            _ => Self {
                count: 1,
                rows: 1,
                columns: shape.iter().product(),
                has_rows: false,
            },
        }
    }
}
