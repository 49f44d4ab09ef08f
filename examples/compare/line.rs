//! An epoch as a line of JSON.

use serde::Serialize;
use trainer::data::Task;
use trainer::training::Epoch;

/// Losses are null where they are no finite numbers.
#[derive(Serialize)]
pub struct EpochLine<'a> {
    /// As the command line has it.
    optimizer: &'a str,
    seed: u64,
    epoch: u32,
    train_loss: f64,
    test_loss: f64,
    /// Null where the targets are numbers.
    test_accuracy: Option<f64>,
    /// Of training alone, since the start.
    seconds: f64,
}

impl<'a> EpochLine<'a> {
    pub fn new(optimizer: &'a str, seed: u64, epoch: &Epoch, task: Task) -> Self {
        Self {
            optimizer,
            seed,
            epoch: epoch.number,
            train_loss: epoch.train.loss,
            test_loss: epoch.test.loss,
            test_accuracy: (task == Task::Classification).then_some(epoch.test.accuracy),
            seconds: epoch.seconds,
        }
    }
}
