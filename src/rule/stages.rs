//! What a step does before its update: lines, sums and matrices.

use super::Slot;
use crate::format::{Encoding, Storage};

/// What a step does before its update, in the order of the fields. Each stage has functions of its
/// own in the WGSL text and in the twin.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stages {
    /// Means over the rows and the columns of matrices.
    pub lines: Option<Lines>,
    /// Sums over whole tensors.
    pub sum: Option<Sum>,
    /// Work on whole matrices.
    pub matrix: Option<MatrixStage>,
}

impl Stages {
    /// How the element slot `slot` is stored.
    pub(crate) fn encoding_of(&self, slot: &Slot, storage: &Storage) -> Encoding {
        let of_matrix = self.matrix.is_some_and(|stage| stage.slot == slot.name);
        if of_matrix || slot.input || slot.scratch {
            return Encoding::F32;
        }
        storage.of_slot(slot.precision)
    }

    /// Only sums over [each tensor](Over::Tensor), named by `names`. `reads` lists the slots that
    /// `measure` reads.
    pub const fn sums_of_tensors(
        names: &'static [&'static str],
        reads: &'static [&'static str],
    ) -> Self {
        let over = Over::Tensor;
        Self::sum(Sum { names, over, reads })
    }

    /// Only sums over [everything](Over::Everything).
    pub const fn sums_of_everything(
        names: &'static [&'static str],
        reads: &'static [&'static str],
    ) -> Self {
        let over = Over::Everything;
        Self::sum(Sum { names, over, reads })
    }

    /// Only sums.
    pub const fn sum(sum: Sum) -> Self {
        Self {
            lines: None,
            sum: Some(sum),
            matrix: None,
        }
    }
}

/// Work on whole matrices. The function `prepare` fills the slot with matrices: it changes the
/// state that it is given. The WGSL text declares it, and so does the twin. If the rule has tensor
/// slots, it gets `tensor: OfTensor` as a further argument.
///
/// ```wgsl
/// fn prepare(p: vec4<f32>, g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step)
/// ```
///
/// The update of such a rule does not change the state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MatrixStage {
    /// The element slot that `prepare` fills and the stage then replaces.
    pub slot: &'static str,
    /// What the stage does with the matrices.
    pub work: MatrixWork,
    /// The slots, of elements or tensors, that the update reads. All others read as zero.
    pub reads: &'static [&'static str],
}

/// What a stage does with matrices.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum MatrixWork {
    /// Newton–Schulz steps towards the nearest orthogonal matrix: `A = XXᵀ; X ← aX + (bA + cA²)X`.
    /// A matrix with more rows than columns is transposed first. Tensors must have two dimensions,
    /// and a norm of at most 1 after `prepare`.
    Orthogonalize {
        /// Number of steps.
        steps: u32,
        /// a, b and c.
        coefficients: [f64; 3],
    },
    /// Solves `(H + λI)d = g` by Cholesky for each tensor. The slot holds g, and d replaces it. A
    /// tensor may have at most [`MOST_UNKNOWNS`] elements. If the factorisation fails, λ becomes
    /// `max(10λ, 1e-8)` and the next attempt follows. [`GroupStats`](crate::GroupStats) has the λ
    /// used.
    Solve {
        /// The slot of [`Extent::Pair`](crate::Extent::Pair) that holds H. Only its lower triangle
        /// is read.
        hessian: &'static str,
        /// The first λ.
        damping: f64,
    },
}

/// Most elements of a tensor that a rule solves a system of equations for.
pub const MOST_UNKNOWNS: usize = 256;

/// Means over the rows and the columns of matrices. The last two dimensions of a tensor make a
/// matrix, and its other dimensions count the matrices. The state of a matrix is thus no larger
/// than its edges. Each field is the name of a slot. The WGSL text declares these functions, and so
/// does the twin:
///
/// ```wgsl
/// fn line(g: f32, h: Hyper) -> f32
/// fn move_line(kept: f32, mean: f32, h: Hyper, now: Step) -> f32
/// fn row_factor(row: f32, mean: f32, h: Hyper) -> f32
/// ```
///
/// The mean of `line` over a row or a column updates that line's state, by `move_line`.
/// `row_factor` then computes a factor from each row's state and from the mean of that state over
/// all rows of the matrix. The other functions see [`factor`](Self::factor) and
/// [`column`](Self::column) in their `State`: the values of the row and of the column that each
/// element is in.
///
/// In the twin, they come after the element slots: first factor, then column.
///
/// A tensor with fewer than two dimensions is a single row. Its `column` is its
/// [`vector`](Self::vector), and its `factor` is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lines {
    /// The slot of [`Extent::Row`](crate::Extent::Row) with the state of the rows.
    pub row: &'static str,
    /// The slot of [`Extent::Column`](crate::Extent::Column) with the state of the columns.
    pub column: &'static str,
    /// The slot of [`Extent::Vector`](crate::Extent::Vector) with the state of tensors without
    /// rows.
    pub vector: &'static str,
    /// The slot of [`Extent::Row`](crate::Extent::Row) with the rows' factors. It is scratch.
    pub factor: &'static str,
}

/// A part of the state of a tensor's rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinePart {
    Rows,
    Factors,
    /// The columns, or the elements of a tensor without rows.
    Columns,
}

impl Lines {
    /// The part that the slot `name` stands for, in a tensor that has rows or has none.
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

/// Up to four sums over the elements of tensors. The WGSL text declares these two functions, and so
/// does the twin. A sum that overflows counts as 3.4e38.
///
/// ```wgsl
/// fn measure(p: vec4<f32>, g: vec4<f32>, s: State, h: Hyper, now: Step, tensor: OfTensor) -> Sums
/// fn conclude(sums: Totals, tensor: ptr<function, OfTensor>, shape: Shape, h: Hyper, now: Step)
/// ```
///
/// `Sums` has a `vec4<f32>` for each [name](Self::names), and `Totals` has an f32. `Shape` is in
/// `shaders/tensors/shape.wgsl`. Four elements of padding, all zero, must measure zero. Sums are
/// f32, so the squares of numbers above about 1e18 or below 1e-18 are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sum {
    /// The names of the sums, as in `sums.p_squared`.
    pub names: &'static [&'static str],
    /// Which elements are summed together.
    pub over: Over,
    /// The slots, of elements or tensors, that `measure` reads. All others read as zero.
    pub reads: &'static [&'static str],
}

/// Which elements are summed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// The elements of each tensor.
    Tensor,
    /// The elements of all tensors of all groups that have a rule of this name and are not frozen.
    /// A group concludes once, from the values and the shape of its first tensor. All its tensors
    /// get the result.
    Everything,
}
