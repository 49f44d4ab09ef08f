//! Newton–Schulz, for Muon: it drives the singular values of a matrix towards one. Jordan et al.
//! 2024, <https://kellerjordan.github.io/posts/muon/>. The GPU's version is
//! `src/gpu/matrix/orthogonalize.rs`.

use rayon::prelude::*;

use crate::{rule::Real, vectors::vectorized};

/// Replaces `x` by the result of `steps` rounds of `A = X Xᵀ; X ← a X + (b A + c A²) X`. `x` is
/// row-major and already divided by its norm. If it has more rows than columns, X is its transpose.
pub(crate) fn orthogonalize<T: Real>(
    x: &mut [T],
    rows: usize,
    columns: usize,
    steps: u32,
    coefficients: [f64; 3],
) {
    let [a, b, c] = coefficients.map(T::from_f64);
    let side = rows.min(columns);
    let mut gram = vec![T::zero(); side * side];
    let mut polynomial = gram.clone();
    let mut product = vec![T::zero(); x.len()];
    for _ in 0..steps {
        let seen = View::of(x, rows, columns);
        let wide = rows <= columns;
        let [left, right] = match wide {
            true => [seen, seen.transposed()],
            false => [seen.transposed(), seen],
        };
        multiply(left, right, &mut gram);
        let square = View::of(&gram, side, side);
        multiply(square, square, &mut polynomial);
        for (squared, gram) in polynomial.iter_mut().zip(&gram) {
            *squared = b * *gram + c * *squared;
        }
        // It is symmetric, so it may be either factor.
        let symmetric = View::of(&polynomial, side, side);
        let [left, right] = match wide {
            true => [symmetric, seen],
            false => [seen, symmetric],
        };
        multiply(left, right, &mut product);
        for (x, product) in x.iter_mut().zip(&product) {
            *x = a * *x + *product;
        }
    }
}

/// A matrix as it lies in memory, or its transpose.
#[derive(Debug, Clone, Copy)]
struct View<'a, T> {
    elements: &'a [T],
    rows: usize,
    columns: usize,
    /// The distances from one row to the next, and from one column to the next.
    strides: [usize; 2],
}

impl<'a, T: Real> View<'a, T> {
    fn of(elements: &'a [T], rows: usize, columns: usize) -> Self {
        Self {
            elements,
            rows,
            columns,
            strides: [columns, 1],
        }
    }

    fn transposed(self) -> Self {
        let [row, column] = self.strides;
        Self {
            rows: self.columns,
            columns: self.rows,
            strides: [column, row],
            ..self
        }
    }

    /// `N` rows from `first` on, one column after another, with zeros below the last row. The
    /// innermost loop reads them in one go.
    fn packed<const N: usize>(&self, first: usize, packed: &mut [[T; N]]) {
        let [row, column] = self.strides;
        let count = self.rows.saturating_sub(first).min(N);
        if count == 0 {
            return;
        }
        // These loops follow the order of memory.
        if column == 1 {
            for i in 0..count {
                let elements = &self.elements[(first + i) * row..][..self.columns];
                for (packed, element) in packed.iter_mut().zip(elements) {
                    packed[i] = *element;
                }
            }
        } else {
            for (k, packed) in packed.iter_mut().enumerate() {
                let elements = &self.elements[k * column + first * row..];
                for (packed, element) in packed
                    .iter_mut()
                    .zip(elements.iter().step_by(row))
                    .take(count)
                {
                    *packed = *element;
                }
            }
        }
    }
}

/// Rows and columns of the result that one pass of the innermost loop computes. That many sums fit
/// the registers of any processor.
const ROWS: usize = 4;
const COLUMNS: usize = 8;

/// This many multiplications are worth another thread.
const WORTH_A_THREAD: usize = 1 << 16;

/// `result = left · right`, row-major. Each element is summed from first to last, so the number of
/// threads changes nothing.
fn multiply<T: Real>(left: View<'_, T>, right: View<'_, T>, result: &mut [T]) {
    let inner = left.columns;
    let columns = right.columns;
    let panels = columns.div_ceil(COLUMNS);
    let mut packed = vec![[T::zero(); COLUMNS]; panels * inner];
    let right = right.transposed();
    packed
        .par_chunks_mut(inner)
        .with_min_len(WORTH_A_THREAD.div_ceil(inner * COLUMNS))
        .enumerate()
        .for_each(|(panel, packed)| right.packed(panel * COLUMNS, packed));
    // Several strips share a panel, which stays in the cache meanwhile.
    let strips = 8;
    result
        .par_chunks_mut(strips * ROWS * columns)
        .with_min_len(WORTH_A_THREAD.div_ceil(strips * ROWS * columns * inner))
        .enumerate()
        .for_each(|(part, result)| {
            let first = part * strips * ROWS;
            let mut lefts = vec![[T::zero(); ROWS]; strips * inner];
            for (strip, lefts) in lefts.chunks_mut(inner).enumerate() {
                left.packed(first + strip * ROWS, lefts);
            }
            for (panel, right) in packed.chunks(inner).enumerate() {
                let at = panel * COLUMNS;
                let width = COLUMNS.min(columns - at);
                let strips = result.chunks_mut(ROWS * columns);
                for (result, left) in strips.zip(lefts.chunks(inner)) {
                    let sums = vectorized::<T, _>(
                        #[inline(always)]
                        || tile(left, right),
                    );
                    for (row, sums) in result.chunks_mut(columns).zip(&sums) {
                        row[at..at + width].copy_from_slice(&sums[..width]);
                    }
                }
            }
        });
}

#[inline(always)]
fn tile<T: Real>(left: &[[T; ROWS]], right: &[[T; COLUMNS]]) -> [[T; COLUMNS]; ROWS] {
    let mut sums = [[T::zero(); COLUMNS]; ROWS];
    for (left, right) in left.iter().zip(right) {
        for (sums, left) in sums.iter_mut().zip(left) {
            for (sum, right) in sums.iter_mut().zip(right) {
                *sum = *sum + *left * *right;
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;

    const MUON: [f64; 3] = [3.4445, -4.7750, 2.0315];

    const SHAPES: [[usize; 2]; 12] = [
        [1, 1],
        [1, 7],
        [7, 1],
        [3, 3],
        [4, 8],
        [5, 9],
        [33, 31],
        [31, 33],
        [64, 64],
        [20, 130],
        [130, 20],
        [100, 65],
    ];

    fn random(count: usize, seed: u64) -> Vec<f64> {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let values: Vec<f64> = (0..count).map(|_| random.random_range(-1.0..1.0)).collect();
        let norm = values.iter().map(|x| x * x).sum::<f64>().sqrt();
        values.iter().map(|x| x / norm).collect()
    }

    fn transposed<T: Real>(x: &[T], rows: usize, columns: usize) -> Vec<T> {
        (0..columns * rows)
            .map(|i| x[i % rows * columns + i / rows])
            .collect()
    }

    /// The definition, computed directly.
    fn by_definition(x: &[f64], rows: usize, columns: usize, steps: u32) -> Vec<f64> {
        if rows > columns {
            let wide = by_definition(&transposed(x, rows, columns), columns, rows, steps);
            return transposed(&wide, columns, rows);
        }
        let [a, b, c] = MUON;
        let product = |l: &[f64], r: &[f64], rows: usize, inner: usize, columns: usize| {
            let mut product = vec![0.0; rows * columns];
            for i in 0..rows {
                for k in 0..inner {
                    for j in 0..columns {
                        product[i * columns + j] += l[i * inner + k] * r[k * columns + j];
                    }
                }
            }
            product
        };
        let mut x = x.to_vec();
        for _ in 0..steps {
            let gram = product(&x, &transposed(&x, rows, columns), rows, columns, rows);
            let square = product(&gram, &gram, rows, rows, rows);
            let polynomial: Vec<_> = gram
                .iter()
                .zip(&square)
                .map(|(g, s)| b * g + c * s)
                .collect();
            let change = product(&polynomial, &x, rows, rows, columns);
            x = x
                .iter()
                .zip(&change)
                .map(|(x, change)| a * x + change)
                .collect();
        }
        x
    }

    /// The singular values, by Jacobi rotations of pairs of rows of the wide form.
    fn singular_values(x: &[f64], rows: usize, columns: usize) -> Vec<f64> {
        let (mut x, rows, columns) = match rows <= columns {
            true => (x.to_vec(), rows, columns),
            false => (transposed(x, rows, columns), columns, rows),
        };
        let dot = |x: &[f64], i: usize, j: usize| -> f64 {
            (0..columns)
                .map(|k| x[i * columns + k] * x[j * columns + k])
                .sum()
        };
        for _ in 0..12 {
            for i in 0..rows {
                for j in i + 1..rows {
                    let angle = 0.5 * (2.0 * dot(&x, i, j)).atan2(dot(&x, i, i) - dot(&x, j, j));
                    let (sin, cos) = angle.sin_cos();
                    for k in 0..columns {
                        let (p, q) = (x[i * columns + k], x[j * columns + k]);
                        x[i * columns + k] = cos * p + sin * q;
                        x[j * columns + k] = cos * q - sin * p;
                    }
                }
            }
        }
        (0..rows).map(|i| dot(&x, i, i).sqrt()).collect()
    }

    #[test]
    fn it_is_what_the_definition_says_in_both_precisions() {
        for (seed, [rows, columns]) in SHAPES.into_iter().enumerate() {
            for steps in [0, 1, 2, 5] {
                let x = random(rows * columns, seed as u64);
                let expected = by_definition(&x, rows, columns, steps);
                let mut found = x.clone();
                orthogonalize(&mut found, rows, columns, steps, MUON);
                let mut single: Vec<_> = x.iter().map(|x| *x as f32).collect();
                orthogonalize(&mut single, rows, columns, steps, MUON);
                for ((expected, found), single) in expected.iter().zip(&found).zip(&single) {
                    let shape = format!("{rows} × {columns}, {steps} steps");
                    assert!(
                        (expected - found).abs() < 1e-12,
                        "{shape}: {expected} {found}"
                    );
                    assert!((expected - f64::from(*single)).abs() < 1e-4, "{shape}");
                }
            }
        }
    }

    #[test]
    fn singular_values_end_near_one() {
        for [rows, columns] in [[1, 1], [1, 9], [9, 1], [8, 20], [40, 16], [30, 60]] {
            let mut x = random(rows * columns, 3);
            orthogonalize(&mut x, rows, columns, 5, MUON);
            for value in singular_values(&x, rows, columns) {
                assert!((0.65..1.25).contains(&value), "{rows} × {columns}: {value}");
            }
        }
    }

    #[test]
    fn a_transposed_matrix_has_the_transposed_result() {
        let [rows, columns] = [37, 70];
        let mut wide = random(rows * columns, 5);
        let mut tall = transposed(&wide, rows, columns);
        orthogonalize(&mut wide, rows, columns, 5, MUON);
        orthogonalize(&mut tall, columns, rows, 5, MUON);
        for (tall, wide) in tall.iter().zip(transposed(&wide, rows, columns)) {
            assert!((tall - wide).abs() < 1e-13);
        }
    }

    #[test]
    fn zero_stays_zero() {
        for [rows, columns] in SHAPES {
            let mut x = vec![0.0f32; rows * columns];
            orthogonalize(&mut x, rows, columns, 5, MUON);
            assert!(x.iter().all(|x| *x == 0.0));
        }
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let [rows, columns] = [150, 220];
        let x: Vec<_> = random(rows * columns, 6)
            .iter()
            .map(|x| *x as f32)
            .collect();
        let of_threads = |count| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(count)
                .build()
                .unwrap();
            let mut x = x.clone();
            pool.install(|| orthogonalize(&mut x, rows, columns, 5, MUON));
            x
        };
        assert!(of_threads(1) == of_threads(7));
    }
}
