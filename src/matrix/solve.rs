//! Small dense systems by Cholesky, for the dense Newton. The GPU's version is
//! `src/gpu/matrix/solve.rs`.

use crate::rule::Real;

/// How a system was solved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Solved {
    /// The λ that was used, or 0 if none worked.
    pub damping: f64,
    /// Number of factorisations that failed before it.
    pub failures: u32,
    /// False if the system, or its solution, has a NaN or an infinity. The step is zero then.
    pub finite: bool,
}

/// λ after a first failure.
const FIRST_DAMPING: f64 = 1e-8;

/// No λ above this is tried, since it would soon overflow.
const MOST_DAMPING: f64 = 1e37;

/// Solves `(H + λI) d = g`. `step` holds g, and d replaces it. `hessian` is row-major, and only its
/// lower triangle is read. λ begins at `damping`. It grows tenfold, to at least 1e-8, until the
/// factorisation succeeds.
pub(crate) fn solve<T: Real>(hessian: &[T], step: &mut [T], damping: f64) -> Solved {
    let solved = match is_finite(hessian, step) {
        true => factorise_with_damping(hessian, step, damping),
        false => None,
    };
    if let Some((factor, damping, failures)) = solved {
        substitute_back(&factor, step);
        if step.iter().all(|x| x.is_finite()) {
            return Solved {
                damping,
                failures,
                finite: true,
            };
        }
    }
    step.fill(T::zero());
    Solved {
        damping: 0.0,
        failures: 0,
        finite: false,
    }
}

fn is_finite<T: Real>(hessian: &[T], step: &[T]) -> bool {
    let mut rows = hessian.chunks(step.len()).enumerate();
    step.iter().all(|x| x.is_finite())
        && rows.all(|(row, elements)| elements[..=row].iter().all(|x| x.is_finite()))
}

/// The factor, λ, and the number of failures before. `None` if λ became too large.
fn factorise_with_damping<T: Real>(
    hessian: &[T],
    step: &[T],
    damping: f64,
) -> Option<(Vec<T>, f64, u32)> {
    let mut factor = vec![T::zero(); (step.len() + 1) * step.len()];
    // λ has the precision of the factorisation, so that the reported λ is the one that was used.
    let mut damping = T::from_f64(damping);
    let mut failures = 0;
    while damping <= T::from_f64(MOST_DAMPING) {
        if factorise(hessian, step, damping, &mut factor) {
            return Some((factor, damping.to_f64()?, failures));
        }
        failures += 1;
        damping = (T::from_f64(10.0) * damping).max(T::from_f64(FIRST_DAMPING));
    }
    None
}

/// Computes column after column of the factor, each from the columns before it, into the rows of
/// `factor`. The right-hand side is one more row, below the last. The factorisation leaves there
/// what forward substitution would.
///
/// A pivot is a diagonal element minus what the columns before it explain. It has a rounding error
/// of up to n·ε of that element for the sum, and 16·ε for the errors that WGSL allows its division
/// and square root. The CPU is more precise, but both must decide alike. A pivot no larger than that
/// error cannot be distinguished from zero, so singular and indefinite matrices fail. Each diagonal
/// element is its own measure, so the units of the unknowns do not matter.
fn factorise<T: Real>(hessian: &[T], step: &[T], damping: T, factor: &mut [T]) -> bool {
    let count = step.len();
    let tolerance = T::from_f64(count as f64 + 16.0) * T::epsilon();
    for column in 0..count {
        let (above, below) = factor.split_at_mut((column + 1) * count);
        let of_column = &mut above[column * count..];
        let diagonal = hessian[column * count + column] + damping;
        let pivot = rest(diagonal, &of_column[..column], &of_column[..column]);
        if !(pivot.is_finite() && pivot > (tolerance * diagonal).max(T::zero())) {
            return false;
        }
        let root = pivot.sqrt();
        of_column[column] = root;
        for (row, of_row) in below.chunks_mut(count).enumerate() {
            let row = column + 1 + row;
            let given = match row == count {
                true => step[column],
                false => hessian[row * count + column],
            };
            of_row[column] = rest(given, &of_row[..column], &of_column[..column]) / root;
        }
    }
    true
}

fn rest<T: Real>(given: T, row: &[T], column: &[T]) -> T {
    let products = row.iter().zip(column).map(|(a, b)| *a * *b);
    products.fold(given, |rest, product| rest - product)
}

/// Solves `Lᵀ d = y`, from the last unknown to the first. y is the last row of the factor.
fn substitute_back<T: Real>(factor: &[T], step: &mut [T]) {
    let count = step.len();
    step.copy_from_slice(&factor[count * count..]);
    for last in (0..count).rev() {
        let of_row = &factor[last * count..][..=last];
        let found = step[last] / of_row[last];
        step[last] = found;
        for (left, factor) in step[..last].iter_mut().zip(of_row) {
            *left = *left - *factor * found;
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn random(count: usize, seed: u64) -> Vec<f64> {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        (0..count).map(|_| random.random_range(-1.0..1.0)).collect()
    }

    /// B Bᵀ / n + shift, for a square B.
    fn definite(count: usize, shift: f64, seed: u64) -> Vec<f64> {
        let b = random(count * count, seed);
        let mut h = vec![0.0; count * count];
        for i in 0..count {
            for j in 0..count {
                let products = (0..count).map(|k| b[i * count + k] * b[j * count + k]);
                h[i * count + j] = products.sum::<f64>() / count as f64;
            }
            h[i * count + i] += shift;
        }
        h
    }

    fn rounded<T: Real>(values: &[f64]) -> Vec<T> {
        values.iter().map(|x| T::from_f64(*x)).collect()
    }

    /// The largest element of (H + λI) d − g.
    fn residual(hessian: &[f64], d: &[f64], g: &[f64], damping: f64) -> f64 {
        let rows = hessian.chunks(d.len()).zip(d).zip(g);
        rows.map(|((row, d_i), g)| {
            let products = row.iter().zip(d).map(|(h, d)| h * d);
            (products.sum::<f64>() + damping * d_i - g).abs()
        })
        .fold(0.0, f64::max)
    }

    #[test]
    fn a_known_system_is_solved() {
        let mut step = [10.0, 8.0];
        let hessian = [4.0, f64::NAN, 2.0, 3.0];
        let solved = solve(&hessian, &mut step, 0.0);
        assert!(
            (step[0] - 1.75).abs() < 1e-15 && (step[1] - 1.5).abs() < 1e-15,
            "{step:?}"
        );
        let expected = Solved {
            damping: 0.0,
            failures: 0,
            finite: true,
        };
        assert_eq!(solved, expected);
        let mut step = [6.0f32];
        assert_eq!(solve(&[3.0], &mut step, 1.0).damping, 1.0);
        assert_eq!(step, [1.5]);
    }

    #[test]
    fn well_conditioned_systems_are_solved_at_once() {
        for (seed, count) in [1, 2, 3, 10, 63, 64, 65, 200, 256].into_iter().enumerate() {
            let hessian = definite(count, 0.5, seed as u64);
            let g = random(count, 100 + seed as u64);
            let mut step = g.clone();
            let solved = solve(&hessian, &mut step, 1e-3);
            assert_eq!(
                (solved.damping, solved.failures, solved.finite),
                (1e-3, 0, true)
            );
            assert!(residual(&hessian, &step, &g, 1e-3) < 1e-13, "{count}");
            let mut single = rounded::<f32>(&g);
            let solved = solve(&rounded::<f32>(&hessian), &mut single, 1e-3);
            assert_eq!((solved.failures, solved.finite), (0, true));
            let single: Vec<_> = single.iter().map(|x| f64::from(*x)).collect();
            assert!(residual(&hessian, &single, &g, 1e-3) < 2e-5, "{count}");
        }
    }

    /// Checks that λ is raised, and that the result solves the system with that λ.
    fn fails<T: Real>(hessian: &[f64], what: &str) -> Solved {
        let count = hessian.len().isqrt();
        let g = vec![1.0; count];
        let mut step = rounded::<T>(&g);
        let solved = solve(&rounded::<T>(hessian), &mut step, 0.0);
        assert!(solved.finite && solved.failures > 0, "{what}: {solved:?}");
        let expected = 1e-8 * 10f64.powi(solved.failures as i32 - 1);
        assert!(
            (solved.damping / expected - 1.0).abs() < 1e-5,
            "{what}: {solved:?}"
        );
        solved
    }

    #[test]
    fn singular_matrices_fail_until_the_damping_is_above_their_rounding() {
        for count in [1, 2, 3, 17, 64, 256] {
            let zero = vec![0.0; count * count];
            assert_eq!(fails::<f64>(&zero, "zero").failures, 1);
            assert_eq!(fails::<f32>(&zero, "zero").failures, 1);
        }
        for count in [2, 3, 17, 64, 256] {
            for seed in 0..40 {
                let v = random(count, seed);
                let rank_1: Vec<_> = (0..count * count)
                    .map(|i| v[i / count] * v[i % count])
                    .collect();
                let what = format!("rank 1 of {count}, {seed}");
                fails::<f64>(&rank_1, &what);
                fails::<f32>(&rank_1, &what);
                if count > 64 {
                    break;
                }
            }
        }
        // The last unknown is the sum of the others.
        let mut hessian = definite(20, 0.5, 1);
        for i in 0..19 {
            let sum = (0..19).map(|k| hessian[i * 20 + k]).sum();
            hessian[i * 20 + 19] = sum;
            hessian[19 * 20 + i] = sum;
        }
        hessian[399] = (0..19).map(|k| hessian[19 * 20 + k]).sum();
        fails::<f64>(&hessian, "dependent");
        fails::<f32>(&hessian, "dependent");
    }

    #[test]
    fn indefinite_matrices_fail_until_the_damping_outweighs_them() {
        for count in [1, 2, 30, 256] {
            let mut hessian = definite(count, 0.5, 9);
            hessian[count * count - 1] = -3.0;
            assert_eq!(
                fails::<f64>(&hessian, "indefinite").damping.log10().round(),
                1.0
            );
            assert_eq!(
                fails::<f32>(&hessian, "indefinite").damping.log10().round(),
                1.0
            );
        }
        fails::<f64>(&[0.0, 1.0, 1.0, 0.0], "a saddle");
        fails::<f32>(&[0.0, 1.0, 1.0, 0.0], "a saddle");
    }

    #[test]
    fn units_make_no_difference() {
        let scale = [1e-12f32, 1.0, 1e12];
        let hessian: Vec<_> = (0..9)
            .map(|i| scale[i / 3] * scale[i % 3] * if i % 4 == 0 { 2.0 } else { 1.0 })
            .collect();
        let mut step = scale;
        assert_eq!(solve(&hessian, &mut step, 0.0).failures, 0);
        for (step, scale) in step.iter().zip(scale) {
            assert!((step * scale - 0.25).abs() < 1e-6, "{step}");
        }
    }

    #[test]
    fn what_is_not_finite_gives_no_step() {
        let none = Solved {
            damping: 0.0,
            failures: 0,
            finite: false,
        };
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut step = [1.0, 2.0];
            assert_eq!(solve(&[1.0, 0.0, bad, 1.0], &mut step, 0.5), none);
            assert_eq!(step, [0.0; 2]);
            let mut step = [1.0, bad];
            assert_eq!(solve(&[1.0, 0.0, 0.0, 1.0], &mut step, 0.5), none);
            assert_eq!(step, [0.0; 2]);
        }
        let mut step = [1.0f32];
        assert_eq!(solve(&[-3e38], &mut step, 0.0), none);
        let mut step = [1e35f32];
        assert_eq!(solve(&[0.0], &mut step, 0.0), none);
        assert_eq!(step, [0.0]);
    }
}
