//! What is kept of the rows and columns of a tensor's matrices.

use std::ops::Range;

use rayon::prelude::*;

use super::{Real, Step, Twin, twin::bounded, zeros};
use crate::{Error, layout::Matrices, rule::LinePart};

/// Rows that one thread takes at a time.
const ROWS: usize = 64;

/// As in `shaders/lines/`.
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

    /// Moves all of it by the means of what `twin` makes of `grads`, once they are `scaled`.
    pub fn step(
        &mut self,
        twin: &dyn Twin<T>,
        grads: &[T],
        scaled: impl Fn(T) -> T + Sync,
        now: Step<T>,
    ) {
        let Matrices {
            rows,
            columns,
            has_rows,
            ..
        } = self.matrices;
        for (matrix, grads) in grads.chunks(rows * columns).enumerate() {
            // Sums of up to ROWS rows each, in order, so that they do not depend on the threads.
            let of_rows = |grads: &[T]| {
                let mut row_sums = Vec::with_capacity(ROWS);
                let mut column_sums = vec![0.0f64; columns];
                for row in grads.chunks(columns) {
                    let mut row_sum = 0.0;
                    for (g, column_sum) in row.iter().zip(&mut column_sums) {
                        let value = twin.line(scaled(*g)).to_f64().unwrap_or(f64::NAN);
                        row_sum += value;
                        *column_sum += value;
                    }
                    row_sums.push(row_sum);
                }
                (row_sums, column_sums)
            };
            let parts: Vec<_> = grads.par_chunks(ROWS * columns).map(of_rows).collect();
            let mut column_sums = vec![0.0; columns];
            let mut row_sums = Vec::with_capacity(rows);
            for (of_rows, of_columns) in parts {
                row_sums.extend(of_rows);
                for (sum, more) in column_sums.iter_mut().zip(of_columns) {
                    *sum += more;
                }
            }
            let moved = |kept: &mut T, sum: f64, length: usize| {
                *kept = twin.move_line(*kept, bounded(sum / length as f64), now);
            };
            let of_matrix = |count: usize| matrix * count..(matrix + 1) * count;
            for (kept, sum) in self.columns[of_matrix(columns)].iter_mut().zip(column_sums) {
                moved(kept, sum, rows);
            }
            if !has_rows {
                continue;
            }
            let kept = &mut self.rows[of_matrix(rows)];
            for (kept, sum) in kept.iter_mut().zip(row_sums) {
                moved(kept, sum, columns);
            }
            let sum: f64 = kept.iter().filter_map(|row| row.to_f64()).sum();
            let mean = bounded(sum / rows as f64);
            for (factor, row) in self.factors[of_matrix(rows)].iter_mut().zip(kept) {
                *factor = twin.row_factor(*row, mean);
            }
        }
    }

    /// The factor and the column of each of `elements` of the tensor.
    pub fn gather(&self, elements: Range<usize>) -> [Vec<T>; 2] {
        let Matrices { rows, columns, .. } = self.matrices;
        let row = |element| element / columns;
        let column = |element| row(element) / rows * columns + element % columns;
        let factors = elements.clone().map(|element| self.factors[row(element)]);
        let columns = elements.map(|element| self.columns[column(element)]);
        [factors.collect(), columns.collect()]
    }
}
