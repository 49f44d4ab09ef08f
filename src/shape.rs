//! A tensor's shape, seen as matrices.

/// A tensor as matrices: its last two dimensions, as often as the others count. One with fewer
/// dimensions is a single row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Matrices {
    pub count: usize,
    pub rows: usize,
    pub columns: usize,
    /// Whether the tensor has two dimensions at all.
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
