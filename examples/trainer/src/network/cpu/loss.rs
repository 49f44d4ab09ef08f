//! Losses and their gradients: the CPU's side of `shaders/losses/`.

use ndarray::{Array2, ArrayView1};

use super::Scalar;
use super::activation::sigmoid;
use crate::network::{Loss, Score};

/// Sum of losses, hits and number of some samples.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    pub loss: f64,
    pub hits: usize,
    pub count: usize,
}

impl Tally {
    pub fn add(&mut self, more: Self) {
        self.loss += more.loss;
        self.hits += more.hits;
        self.count += more.count;
    }

    pub fn score(&self) -> Score {
        self.part_of(self.count)
    }

    /// As part of the score of `count` samples.
    pub fn part_of(&self, count: usize) -> Score {
        let count = count as f64;
        Score {
            loss: self.loss / count,
            accuracy: self.hits as f64 / count,
        }
    }
}

/// The batch's tally, and the gradient of its mean loss with respect to the answers,
/// `[rows, outputs]`.
pub(super) fn score<T: Scalar>(
    loss: Loss,
    answers: &Array2<T>,
    targets: &Array2<T>,
) -> (Tally, Array2<T>) {
    let (rows, outputs) = answers.dim();
    let mut tally = Tally {
        count: rows,
        ..Tally::default()
    };
    let mut delta = Array2::zeros((rows, outputs));
    let rows = T::from_f64(rows as f64);
    for ((z, t), d) in answers
        .outer_iter()
        .zip(targets.outer_iter())
        .zip(delta.outer_iter_mut())
    {
        let terms = z.iter().zip(t.iter()).zip(d);
        tally.loss += match loss {
            Loss::CrossEntropy => {
                let largest = z.fold(T::neg_infinity(), |a, &b| a.max(b));
                let log_sum = z.fold(T::zero(), |sum, &z| sum + (z - largest).exp()).ln();
                let mut sum = T::zero();
                for ((&z, &t), d) in terms {
                    let log_probability = z - largest - log_sum;
                    sum = sum - t * log_probability;
                    *d = (log_probability.exp() - t) / rows;
                }
                sum
            }
            Loss::BinaryCrossEntropy => {
                let outputs = T::from_f64(outputs as f64);
                let mut sum = T::zero();
                for ((&z, &t), d) in terms {
                    sum += z.max(T::zero()) - t * z + (-z.abs()).exp().ln_1p();
                    *d = (sigmoid(z) - t) / (rows * outputs);
                }
                sum / outputs
            }
            Loss::Mse => {
                let outputs = T::from_f64(outputs as f64);
                let mut sum = T::zero();
                for ((&z, &t), d) in terms {
                    sum += (z - t) * (z - t);
                    *d = (z - t + z - t) / (rows * outputs);
                }
                sum / outputs
            }
        }
        .to_f64()
        .unwrap_or(f64::NAN);
        tally.hits += usize::from(largest_index(z) == largest_index(t));
    }
    (tally, delta)
}

/// Where the largest element is: the first of equals.
fn largest_index<T: Scalar>(row: ArrayView1<'_, T>) -> usize {
    let mut best = 0;
    for (index, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn losses_have_the_values_that_their_definitions_give() {
        let answers = array![[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]];
        let targets = array![[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]];
        let mean = |loss| {
            let (tally, delta) = score::<f64>(loss, &answers, &targets);
            (tally.loss / tally.count as f64, delta)
        };
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} instead of {b}");
        // Equal answers to three classes: each has probability one third.
        let (loss, delta) = mean(Loss::CrossEntropy);
        near(loss, 3f64.ln());
        near(delta[[0, 0]], (1.0 / 3.0 - 1.0) / 2.0);
        // ln 2 at 0; at 1, ln(1 + e) for a target of 0 and 1 less for a target of 1.
        let (loss, _) = mean(Loss::BinaryCrossEntropy);
        let at_one = (1.0 + 1f64.exp()).ln();
        near(loss, (3.0 * 2f64.ln() + 3.0 * at_one - 1.0) / 6.0);
        // Squares 1, 0, 0 and 1, 1, 0, over six outputs.
        let (loss, delta) = mean(Loss::Mse);
        near(loss, 3.0 / 6.0);
        near(delta[[0, 0]], -2.0 / 6.0);
    }
}
