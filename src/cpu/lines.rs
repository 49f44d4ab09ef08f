//! The state of the rows and columns of a tensor's matrices.

use std::ops::Range;

use rayon::prelude::*;

use super::arena::{CHUNK, zeros};
use crate::{
    Error,
    rule::{LaneSum, LinePart, Real, Step, Twin, bounded, wide},
    shape::Matrices,
    vectors::vectorized,
};

/// Rows that one thread takes at a time.
const ROWS: usize = 64;

/// The same state as in `shaders/lines/`.
#[derive(Debug, Clone)]
pub(super) struct LineState<T> {
    matrices: Matrices,
    factors: Vec<T>,
    columns: Vec<T>,
    rows: Vec<T>,
}

impl<T: Real> LineState<T> {
    pub fn new(matrices: Matrices) -> Result<Self, Error> {
        let Matrices {
            count,
            rows,
            columns,
            has_rows,
        } = matrices;
        let mut factors = zeros(count * rows, "rows")?;
        if !has_rows {
            factors.fill(T::one());
        }
        Ok(Self {
            matrices,
            factors,
            columns: zeros(count * columns, "columns")?,
            rows: zeros(if has_rows { count * rows } else { 0 }, "rows")?,
        })
    }

    /// All of it. `from` is of the same matrices.
    pub fn take_over(&mut self, from: &Self) {
        let Self {
            matrices: _,
            factors,
            columns,
            rows,
        } = from;
        self.factors.copy_from_slice(factors);
        self.columns.copy_from_slice(columns);
        self.rows.copy_from_slice(rows);
    }

    pub fn part(&self, part: LinePart) -> &[T] {
        match part {
            LinePart::Rows => &self.rows,
            LinePart::Factors => &self.factors,
            LinePart::Columns => &self.columns,
        }
    }

    pub fn part_mut(&mut self, part: LinePart) -> &mut [T] {
        match part {
            LinePart::Rows => &mut self.rows,
            LinePart::Factors => &mut self.factors,
            LinePart::Columns => &mut self.columns,
        }
    }

    /// Updates the state with the means of the values that `twin` computes from the `scaled`
    /// gradients.
    pub fn step(
        &mut self,
        twin: &dyn Twin<T>,
        grads: &[T],
        scaled: impl Fn(T) -> T + Copy + Sync,
        now: Step<T>,
    ) {
        let Matrices {
            rows,
            columns,
            has_rows,
            ..
        } = self.matrices;
        if !has_rows {
            return self.step_vector(twin, grads, scaled, now);
        }
        for (matrix, grads) in grads.chunks(rows * columns).enumerate() {
            // Each thread sums up to ROWS rows. The partial sums are added in order, so that the
            // result does not depend on the number of threads.
            let of_rows = |grads: &[T]| sums(twin, grads, scaled, columns);
            let parts: Vec<_> = grads.par_chunks(ROWS * columns).map(of_rows).collect();
            let mut column_sums = vec![0.0; columns];
            let mut row_sums = Vec::with_capacity(rows);
            for (of_rows, of_columns) in parts {
                row_sums.extend(of_rows);
                for (sum, more) in column_sums.iter_mut().zip(of_columns) {
                    *sum += more;
                }
            }
            let means = |sums: Vec<f64>, length: usize| {
                let sums = sums.into_iter();
                sums.map(|sum| bounded(sum / length as f64))
                    .collect::<Vec<_>>()
            };
            let of_matrix = |count: usize| matrix * count..(matrix + 1) * count;
            let kept = &mut self.columns[of_matrix(columns)];
            twin.move_lines(kept, &means(column_sums, rows), now);
            let kept = &mut self.rows[of_matrix(rows)];
            twin.move_lines(kept, &means(row_sums, columns), now);
            let sum: f64 = kept.iter().filter_map(|row| row.to_f64()).sum();
            let mean = bounded(sum / rows as f64);
            for (factor, row) in self.factors[of_matrix(rows)].iter_mut().zip(kept) {
                *factor = twin.row_factor(*row, mean);
            }
        }
    }

    /// Each column of a vector has one element, which is its mean.
    fn step_vector(
        &mut self,
        twin: &dyn Twin<T>,
        grads: &[T],
        scaled: impl Fn(T) -> T + Copy + Sync,
        now: Step<T>,
    ) {
        let step = |(kept, grads): (&mut [T], &[T])| {
            let mut values = vec![T::zero(); grads.len()];
            vectorized::<T, _>(
                #[inline(always)]
                || fill(&mut values, grads, scaled),
            );
            twin.lines(&mut values);
            for value in &mut values {
                *value = bounded(wide(*value));
            }
            twin.move_lines(kept, &values, now);
        };
        let kept = self.columns.par_chunks_mut(CHUNK);
        kept.zip(grads.par_chunks(CHUNK)).for_each(step);
    }

    /// The factor and the column value of each of the tensor's `elements`.
    pub fn gather(&self, elements: Range<usize>) -> [Vec<T>; 2] {
        let Matrices { rows, columns, .. } = self.matrices;
        let mut factors = Vec::with_capacity(elements.len());
        let mut of_columns = Vec::with_capacity(elements.len());
        let mut at = elements.start;
        while at < elements.end {
            let (row, column) = (at / columns, at % columns);
            let count = (columns - column).min(elements.end - at);
            factors.resize(factors.len() + count, self.factors[row]);
            let first = row / rows * columns + column;
            of_columns.extend_from_slice(&self.columns[first..first + count]);
            at += count;
        }
        [factors, of_columns]
    }
}

/// The sums over the rows of `grads`, and the sums over their columns.
fn sums<T: Real>(
    twin: &dyn Twin<T>,
    grads: &[T],
    scaled: impl Fn(T) -> T + Copy,
    columns: usize,
) -> (Vec<f64>, Vec<f64>) {
    let mut row_sums = Vec::with_capacity(grads.len() / columns);
    let mut column_sums = vec![0.0; columns];
    let mut values = vec![T::zero(); columns];
    for row in grads.chunks(columns) {
        vectorized::<T, _>(
            #[inline(always)]
            || fill(&mut values, row, scaled),
        );
        twin.lines(&mut values);
        let mut row_sum = LaneSum::default();
        vectorized::<T, _>(
            #[inline(always)]
            || {
                row_sum.add(&values, |value| value);
                for (sum, &value) in column_sums.iter_mut().zip(&values) {
                    *sum += wide(value);
                }
            },
        );
        row_sums.push(row_sum.total());
    }
    (row_sums, column_sums)
}

/// This is a function, so that its arguments are local and the loop need not reload them.
#[inline(always)]
fn fill<T: Real>(values: &mut [T], grads: &[T], scaled: impl Fn(T) -> T) {
    for (value, &g) in values.iter_mut().zip(grads) {
        *value = scaled(g);
    }
}
