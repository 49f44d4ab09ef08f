//! What each optimizer came to, and in which order they stand.

use std::cmp::Ordering;

use trainer::data::Task;
use trainer::training::{End, Epoch};

use crate::contest::{Entrant, Run};
use crate::spread::Spread;

/// Test accuracy whose time is taken unless the user says otherwise.
const TARGET_ACCURACY: f64 = 0.95;
/// Test loss whose time is taken where there is no accuracy, as a part of the loss before training.
const TARGET_LOSS: f64 = 0.01;

/// What is to be reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    Accuracy(f64),
    Loss(f64),
    /// A part of the loss before training.
    LossPart(f64),
}

impl Goal {
    pub fn new(task: Task, wanted: Option<f64>) -> Self {
        match (task, wanted) {
            (Task::Classification, wanted) => Self::Accuracy(wanted.unwrap_or(TARGET_ACCURACY)),
            (Task::Regression, Some(loss)) => Self::Loss(loss),
            (Task::Regression, None) => Self::LossPart(TARGET_LOSS),
        }
    }

    /// Seconds of training up to the first epoch that reaches it.
    fn seconds(self, epochs: &[Epoch]) -> Option<f64> {
        let before = epochs.first()?.test.loss;
        let is_reached = |epoch: &&Epoch| match self {
            Self::Accuracy(accuracy) => epoch.test.accuracy >= accuracy && epoch.is_finite(),
            Self::Loss(loss) => epoch.test.loss <= loss,
            Self::LossPart(part) => epoch.test.loss <= part * before,
        };
        epochs.iter().find(is_reached).map(|epoch| epoch.seconds)
    }
}

/// What the trainings of one optimizer came to: medians over its seeds.
pub struct Standing {
    /// Its place among the entrants.
    pub entrant: usize,
    /// How many trainings went on to their last epoch, or diverged.
    pub runs: usize,
    /// Of the best epoch, where there are classes.
    pub best_accuracy: f64,
    /// After the last epoch; a training that diverged counts as the worst there is.
    pub accuracy: f64,
    pub best_test_loss: f64,
    pub test_loss: f64,
    pub train_loss: f64,
    pub seconds_per_step: f64,
    /// None where fewer than half of the seeds reached the goal.
    pub seconds_to_goal: Option<f64>,
    /// How many seeds reached the goal.
    pub reached: usize,
    /// Seeds and epochs in which the loss was no finite number any more.
    pub diverged: Vec<(u64, u32)>,
}

/// All that have finished a training, the best after the last epoch first.
pub fn standings(entrants: &[Entrant], runs: &[Run], task: Task, goal: Goal) -> Vec<Standing> {
    let mut all: Vec<_> = (0..entrants.len())
        .filter_map(|entrant| Standing::of(entrant, runs, goal))
        .collect();
    all.sort_by(|a, b| a.compare(b, task));
    all
}

impl Standing {
    fn of(entrant: usize, runs: &[Run], goal: Goal) -> Option<Self> {
        let own = runs.iter().filter(|run| run.entrant == entrant);
        let own: Vec<&Run> = own.filter(|run| run.end != End::Stopped).collect();
        let median = |value: &dyn Fn(&Run) -> f64| {
            let spread = Spread::of(own.iter().map(|run| value(run)));
            spread.map(|spread| spread.median)
        };
        let times: Vec<f64> = own
            .iter()
            .flat_map(|run| step_seconds(&run.epochs))
            .collect();
        let to_goal = own.iter().map(|run| goal.seconds(&run.epochs));
        let to_goal: Vec<f64> = to_goal.map(|time| time.unwrap_or(f64::INFINITY)).collect();
        let reached = to_goal.iter().filter(|time| time.is_finite()).count();
        let middle = Spread::of(to_goal).map(|spread| spread.median);
        let diverged = own.iter().filter_map(|run| match run.end {
            End::Diverged { epoch } => Some((run.seed, epoch)),
            _ => None,
        });
        Some(Self {
            entrant,
            runs: own.len(),
            best_accuracy: median(&|run| {
                best(run, |epoch| -epoch.test.accuracy).map_or(0.0, |a| -a)
            })?,
            accuracy: median(&|run| last(run).map_or(0.0, |epoch| epoch.test.accuracy))?,
            best_test_loss: median(&|run| {
                best(run, |epoch| epoch.test.loss).unwrap_or(f64::INFINITY)
            })?,
            test_loss: median(&|run| last(run).map_or(f64::INFINITY, |epoch| epoch.test.loss))?,
            train_loss: median(&|run| last(run).map_or(f64::INFINITY, |epoch| epoch.train.loss))?,
            seconds_per_step: Spread::of(times).map_or(f64::NAN, |spread| spread.median),
            seconds_to_goal: middle.filter(|seconds| seconds.is_finite()),
            reached,
            diverged: diverged.collect(),
        })
    }

    /// The better one is less: by accuracy where there are classes, then by test loss.
    fn compare(&self, other: &Self, task: Task) -> Ordering {
        let by_loss = self.test_loss.total_cmp(&other.test_loss);
        match task {
            Task::Classification => other.accuracy.total_cmp(&self.accuracy).then(by_loss),
            Task::Regression => by_loss,
        }
    }
}

/// The last epoch of a training that did not diverge.
fn last(run: &Run) -> Option<&Epoch> {
    run.epochs.last().filter(|_| run.end == End::Complete)
}

/// The least value of all epochs with finite losses after training began.
fn best(run: &Run, value: impl Fn(&Epoch) -> f64) -> Option<f64> {
    let trained = run.epochs.iter().skip(1).filter(|epoch| epoch.is_finite());
    trained.map(value).min_by(f64::total_cmp)
}

/// Mean seconds of a step in each epoch.
fn step_seconds(epochs: &[Epoch]) -> Vec<f64> {
    let pairs = epochs.windows(2);
    pairs
        .filter(|pair| pair[1].steps > pair[0].steps)
        .map(|pair| (pair[1].seconds - pair[0].seconds) / (pair[1].steps - pair[0].steps) as f64)
        .collect()
}

#[cfg(test)]
mod tests {
    use trainer::network::Score;

    use super::*;

    fn epoch(number: u32, accuracy: f64, loss: f64) -> Epoch {
        let score = Score { loss, accuracy };
        Epoch {
            number,
            train: score,
            test: score,
            lr: 0.1,
            samples_per_second: 1.0,
            steps: 10 * u64::from(number),
            seconds: 2.0 * f64::from(number),
        }
    }

    fn run(entrant: usize, seed: u64, accuracies: &[f64], end: End) -> Run {
        let epochs = accuracies.iter().zip(0..);
        Run {
            entrant,
            seed,
            epochs: epochs
                .map(|(accuracy, number)| epoch(number, *accuracy, 1.0 - accuracy))
                .collect(),
            end,
        }
    }

    #[test]
    fn a_standing_is_the_median_of_its_seeds_and_a_diverged_one_is_the_worst() {
        let runs = [
            run(0, 1, &[0.1, 0.9, 0.8], End::Complete),
            run(0, 2, &[0.1, 0.6, 0.7], End::Complete),
            run(0, 3, &[0.1, 0.95], End::Diverged { epoch: 1 }),
            run(1, 1, &[0.1, 0.99], End::Stopped),
        ];
        let goal = Goal::Accuracy(0.75);
        let found = Standing::of(0, &runs, goal).unwrap();
        assert_eq!(
            (found.runs, found.accuracy, found.best_accuracy),
            (3, 0.7, 0.9)
        );
        assert!((found.test_loss - 0.3).abs() < 1e-12);
        assert_eq!(found.seconds_per_step, 0.2);
        assert_eq!((found.reached, found.seconds_to_goal), (2, Some(2.0)));
        assert_eq!(found.diverged, [(3, 1)]);
        assert!(Standing::of(1, &runs, goal).is_none(), "it was stopped");
    }

    #[test]
    fn a_goal_is_reached_at_the_end_of_the_first_epoch_that_has_it() {
        let epochs = run(0, 1, &[0.0, 0.5, 0.995, 0.2], End::Complete).epochs;
        assert_eq!(Goal::Accuracy(0.5).seconds(&epochs), Some(2.0));
        assert_eq!(Goal::Accuracy(0.999).seconds(&epochs), None);
        assert_eq!(Goal::Loss(0.1).seconds(&epochs), Some(4.0));
        assert_eq!(Goal::LossPart(0.6).seconds(&epochs), Some(2.0));
    }
}
