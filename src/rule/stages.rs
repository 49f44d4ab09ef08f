//! What a step does before its update: lines, sums and matrices.

use super::Slot;
use crate::format::{Format, Formats};

/// What a step does before its update, in the order of the fields. Each has functions of its own in
/// the WGSL text and in the twin.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stages {
    /// Means over the rows and the columns of matrices.
    pub lines: Option<Lines>,
    /// Sums over whole tensors.
    pub sum: Option<Sum>,
    /// Something made of whole matrices.
    pub matrix: Option<MatrixStage>,
}

impl Stages {
    /// In which format `slot` of elements is kept.
    pub(crate) fn format_of(&self, slot: &Slot, formats: &Formats) -> Format {
        if self.matrix.is_some_and(|stage| stage.slot == slot.name) {
            formats.matrices
        } else if slot.input {
            formats.inputs
        } else {
            formats.state
        }
    }

    /// Nothing but sums over [each tensor](Over::Tensor), by their `names`; `reads` are the slots that
    /// `measure` looks at.
    pub const fn sums_of_tensors(
        names: &'static [&'static str],
        reads: &'static [&'static str],
    ) -> Self {
        let over = Over::Tensor;
        Self::sum(Sum { names, over, reads })
    }

    /// Nothing but sums over [everything](Over::Everything).
    pub const fn sums_of_everything(
        names: &'static [&'static str],
        reads: &'static [&'static str],
    ) -> Self {
        let over = Over::Everything;
        Self::sum(Sum { names, over, reads })
    }

    /// Nothing but sums.
    pub const fn sum(sum: Sum) -> Self {
        Self {
            lines: None,
            sum: Some(sum),
            matrix: None,
        }
    }
}

/// Something made of whole matrices. The WGSL text declares what fills them from the gradient, by
/// changing the state, and the twin has it too; a rule with slots of tensors gets these as well.
///
/// ```wgsl
/// fn prepare(p: vec4<f32>, g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step)
/// ```
///
/// The update then leaves the state as it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MatrixStage {
    /// The slot of elements that is filled and replaced.
    pub slot: &'static str,
    /// What becomes of it.
    pub work: MatrixWork,
    /// The slots, of elements or tensors, that the update looks at; it sees others as zero.
    pub reads: &'static [&'static str],
}

/// What is made of matrices.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum MatrixWork {
    /// Newton–Schulz steps towards the nearest orthogonal matrix, `A = XXᵀ; X ← aX + (bA + cA²)X`,
    /// transposed where there are more rows than columns. Tensors have two dimensions and a norm of at
    /// most 1.
    Orthogonalize {
        /// How many of them.
        steps: u32,
        /// a, b and c.
        coefficients: [f64; 3],
    },
    /// The solution d of `(H + λI)d = g` by Cholesky, where the slot holds g: of a tensor's elements,
    /// at most [`MOST_UNKNOWNS`]. Where the factorisation fails, λ becomes `max(10λ, 1e-8)` and it is
    /// tried again. [`GroupStats`](crate::GroupStats) has the λ used.
    Solve {
        /// The slot of [`Extent::Pair`](crate::Extent::Pair) with H, of which the lower triangle is read.
        hessian: &'static str,
        /// The first λ.
        damping: f64,
    },
}

/// How many elements a tensor may have of which a rule solves a system.
pub const MOST_UNKNOWNS: usize = 256;

/// Means over the rows and the columns of matrices: the last two dimensions of a tensor, which has
/// as many matrices as its other dimensions count. What is kept for a whole matrix takes as much
/// memory as its edges. Each field is the name of a slot. The WGSL text declares these, and the twin
/// has them too:
///
/// ```wgsl
/// fn line(g: f32, h: Hyper) -> f32
/// fn move_line(kept: f32, mean: f32, h: Hyper, now: Step) -> f32
/// fn row_factor(row: f32, mean: f32, h: Hyper) -> f32
/// ```
///
/// The mean of `line` over a row or column moves what is kept of it; `row_factor` is then made of
/// each row and the mean of all rows of its matrix. Other functions see [`factor`](Self::factor) and
/// [`column`](Self::column) in their `State`, those of the row and column that each element is in.
///
/// In the twin they come after the slots of elements: factor, then column.
///
/// A tensor with fewer than two dimensions is a single row: `column` is its
/// [`vector`](Self::vector), `factor` is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lines {
    /// Of [`Extent::Row`](crate::Extent::Row).
    pub row: &'static str,
    /// Of [`Extent::Column`](crate::Extent::Column).
    pub column: &'static str,
    /// Of [`Extent::Vector`](crate::Extent::Vector).
    pub vector: &'static str,
    /// Of [`Extent::Row`](crate::Extent::Row); scratch.
    pub factor: &'static str,
}

/// What is kept of a tensor's rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinePart {
    Rows,
    Factors,
    /// Or the elements of a tensor without rows.
    Columns,
}

impl Lines {
    /// The part that the slot `name` is of a tensor that has rows, or has none.
    pub(crate) fn part(&self, name: &str, has_rows: bool) -> Option<LinePart> {
        match has_rows {
            true if name == self.row => Some(LinePart::Rows),
            true if name == self.factor => Some(LinePart::Factors),
            true if name == self.column => Some(LinePart::Columns),
            false if name == self.vector => Some(LinePart::Columns),
            _ => None,
        }
    }
}

/// Up to four sums over the elements of tensors. The WGSL text declares these two, and the twin has
/// both. What overflows counts as 3.4e38.
///
/// ```wgsl
/// fn measure(p: vec4<f32>, g: vec4<f32>, s: State, h: Hyper, now: Step, tensor: OfTensor) -> Sums
/// fn conclude(sums: Totals, tensor: ptr<function, OfTensor>, shape: Shape, h: Hyper, now: Step)
/// ```
///
/// `Sums` has a `vec4<f32>` for each [name](Self::names) and `Totals` an f32; `Shape` is in
/// `shaders/tensors/shape.wgsl`. Four elements of padding, all zero, must measure zero. A sum is
/// one of f32, so squares of numbers beyond about 1e18, or below 1e-18, do not count rightly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sum {
    /// What is summed, as in `sums.p_squared`.
    pub names: &'static [&'static str],
    /// Which elements are summed together.
    pub over: Over,
    /// The slots, of elements or tensors, that `measure` looks at; it sees others as zero.
    pub reads: &'static [&'static str],
}

/// Which elements are summed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Those of each tensor.
    Tensor,
    /// Those of all tensors of all groups that have a rule of this name and are not frozen. A group
    /// concludes once, from the values and the shape of its first tensor, and all its tensors get the
    /// same.
    Everything,
}
