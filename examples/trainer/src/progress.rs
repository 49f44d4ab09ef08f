//! How far a training is.

use serde::{Deserialize, Serialize};

use crate::network::{Score, batch_count};
use crate::training::{Epoch, Plan};

/// All that decides how a training goes on, beside its plan, its data, the network and the optimizer.
/// The order of the samples follows from the plan's seed and the number of epochs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// How many are complete.
    pub epochs: u32,
    /// Batches of the epoch after them.
    pub batches: usize,
    /// What those batches brought to the training score of their epoch.
    pub train: Score,
    /// After the last complete epoch.
    pub test: Option<Score>,
    pub best: Option<Best>,
}

/// The epoch after which the loss on the test data was smallest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    pub epoch: u32,
    pub test: Score,
}

impl Progress {
    /// Batches since the start.
    pub fn all_batches(&self, plan: &Plan) -> u64 {
        let per_epoch = batch_count(plan.samples, plan.batch_size) as u64;
        u64::from(self.epochs) * per_epoch + self.batches as u64
    }

    /// Samples since the start.
    pub fn samples(&self, plan: &Plan) -> u64 {
        let of_epoch = (self.batches * plan.batch_size).min(plan.samples);
        u64::from(self.epochs) * plan.samples as u64 + of_epoch as u64
    }

    /// After `epoch`.
    pub fn after(&self, epoch: &Epoch) -> Self {
        let best = self.best.filter(|best| best.test.loss <= epoch.test.loss);
        Self {
            epochs: epoch.number,
            batches: 0,
            train: Score::default(),
            test: Some(epoch.test),
            best: best.or(Some(Best {
                epoch: epoch.number,
                test: epoch.test,
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_epoch_is_the_first_with_the_smallest_test_loss() {
        let mut progress = Progress::default();
        for (number, loss) in (1..).zip([3.0, 1.0, 2.0, 1.0]) {
            let score = |loss| Score {
                loss,
                accuracy: 0.5,
            };
            progress = progress.after(&Epoch {
                number,
                train: score(0.0),
                test: score(loss),
                lr: 0.1,
                samples_per_second: 1.0,
                steps: 1,
                seconds: 1.0,
            });
        }
        assert_eq!(progress.best.map(|best| best.epoch), Some(2));
        assert_eq!((progress.epochs, progress.test.unwrap().loss), (4, 1.0));
    }
}
