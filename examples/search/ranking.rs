//! Finished trials in the order of their results.

use std::cmp::Ordering;

use trainer::data::Task;

use crate::journal::Outcome;
use crate::trial::Trial;

/// A trial that was finished.
pub struct Ranked<'a> {
    pub trial: &'a Trial,
    pub outcome: Outcome,
}

/// The best first: by validation accuracy where there are classes, then by validation loss. What
/// diverged comes last. Of equals, what was tried first.
pub fn ranking<'a>(
    trials: &'a [Trial],
    outcomes: &[Option<Outcome>],
    task: Task,
) -> Vec<Ranked<'a>> {
    let finished = trials.iter().zip(outcomes);
    let finished = finished.filter_map(|(trial, outcome)| {
        let outcome = (*outcome)?;
        Some(Ranked { trial, outcome })
    });
    let mut all: Vec<_> = finished.collect();
    all.sort_by(|a, b| compare(&a.outcome, &b.outcome, task));
    all
}

/// The better one is less.
pub fn compare(a: &Outcome, b: &Outcome, task: Task) -> Ordering {
    let diverged = |outcome: &Outcome| !outcome.loss.is_finite();
    let accuracy = |outcome: &Outcome| outcome.accuracy.unwrap_or(0.0);
    let by_accuracy = match task {
        Task::Classification => accuracy(b).total_cmp(&accuracy(a)),
        Task::Regression => Ordering::Equal,
    };
    let by_divergence = diverged(a).cmp(&diverged(b));
    by_divergence
        .then(by_accuracy)
        .then(a.loss.total_cmp(&b.loss))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(loss: f64, accuracy: f64) -> Outcome {
        Outcome {
            loss,
            accuracy: Some(accuracy),
            seconds: 1.0,
        }
    }

    #[test]
    fn accuracy_goes_before_loss_and_what_diverged_comes_last() {
        let trial = |lr: &str| Trial::new(format!("adam:lr={lr}").parse().unwrap(), 0).unwrap();
        let trials: Vec<_> = ["1", "2", "3", "4", "5"].map(trial).into();
        let outcomes = [
            Some(outcome(f64::NAN, 0.99)),
            Some(outcome(0.2, 0.9)),
            Some(outcome(0.1, 0.9)),
            None,
            Some(outcome(0.5, 0.95)),
        ];
        let order = |task| {
            let ranking = ranking(&trials, &outcomes, task);
            ranking
                .iter()
                .map(|ranked| ranked.trial.lr().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(order(Task::Classification), [5.0, 3.0, 2.0, 1.0]);
        assert_eq!(order(Task::Regression), [3.0, 2.0, 5.0, 1.0]);
    }
}
