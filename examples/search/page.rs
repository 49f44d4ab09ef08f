//! The ranking as a table, the heat map, and the page.

use anyhow::Result;
use report::number::{percent, seconds, significant};
use report::{Better, Figure, HeatMap, Page, Picture, Section, Table, facts};
use trainer::data::Task;
use trainer::network::Score;

use crate::job::Job;
use crate::ranking::{Ranked, compare};

/// Learning rates with a column of their own; more share one with what is near.
const MOST_COLUMNS: usize = 10;

/// All that there is to show.
pub struct View<'a> {
    pub job: &'a Job,
    /// Its name.
    pub device: &'a str,
    pub ranking: &'a [Ranked<'a>],
    /// The best one's, trained with all training data.
    pub test: Option<Score>,
    /// The command that trains it again.
    pub command: &'a str,
}

impl View<'_> {
    fn is_classification(&self) -> bool {
        self.job.data.task == Task::Classification
    }

    /// The best one's result on the test data, in words.
    pub fn test_text(&self) -> Option<String> {
        let score = self.test?;
        Some(match self.job.data.task {
            Task::Classification => format!("test accuracy {}", percent(score.accuracy, 2)),
            Task::Regression => format!("test loss {:.6}", score.loss),
        })
    }

    /// The first `most` of the ranking.
    pub fn table(&self, most: usize) -> Result<Table> {
        let names = ["optimizer", "rank", "lr", "other hyperparameters"];
        let mut columns: Vec<String> = names.map(str::to_owned).to_vec();
        if self.is_classification() {
            columns.push("validation accuracy".to_owned());
        }
        columns.extend(["validation loss", "training"].map(str::to_owned));
        let rows = self.ranking.iter().take(most).enumerate();
        let rows = rows.map(|(index, ranked)| self.row(index + 1, ranked));
        Ok(Table {
            caption: format!("The best of {} trials first", self.ranking.len()),
            columns,
            rows: rows.collect::<Result<_>>()?,
        })
    }

    fn row(&self, rank: usize, Ranked { trial, outcome }: &Ranked) -> Result<Vec<String>> {
        let mut row = vec![
            self.job.arguments.optimizers[trial.of].title(),
            rank.to_string(),
            significant(trial.lr()?, 4),
            trial.rest(),
        ];
        if let (true, Some(accuracy)) = (self.is_classification(), outcome.accuracy) {
            row.push(percent(accuracy, 2));
        }
        row.push(match outcome.loss.is_finite() {
            true => significant(outcome.loss, 4),
            false => "diverged".to_owned(),
        });
        row.push(seconds(outcome.seconds));
        Ok(row)
    }

    pub fn page(&self) -> Result<Page> {
        let ranking = Section {
            title: "Ranking".to_owned(),
            tables: vec![self.table(self.ranking.len())?],
            ..Section::default()
        };
        Ok(Page {
            title: format!("{} trials on {}", self.ranking.len(), self.job.data.name),
            lead: self.lead()?,
            command: facts::command("search"),
            facts: self.facts(),
            sections: vec![self.map()?, ranking],
        })
    }

    fn lead(&self) -> Result<String> {
        let Some(best) = self.ranking.first() else {
            return Ok("No trial was finished.".to_owned());
        };
        let mut lead = format!("Best is {}", best.trial.candidate.explicit.title());
        if let (true, Some(accuracy)) = (self.is_classification(), best.outcome.accuracy) {
            lead += &format!(", with a validation accuracy of {}", percent(accuracy, 2));
        } else {
            lead += &format!(
                ", with a validation loss of {}",
                significant(best.outcome.loss, 4)
            );
        }
        lead += &match self.test_text() {
            Some(test) => format!(". Trained again on all training data: {test}."),
            None => format!(
                ", after {} of {} trials.",
                self.ranking.len(),
                self.job.trials.len()
            ),
        };
        Ok(lead)
    }

    fn map(&self) -> Result<Section> {
        let (picture, has_shared_columns) = self.heat_map()?;
        let mut text = String::from(
            "In each cell is the best trial, over all other hyperparameters. A dash stands where none was finished, or \
             none converged.",
        );
        if has_shared_columns {
            text += " A column has the learning rates from its own up to the next.";
        }
        Ok(Section {
            title: "Optimizers and learning rates".to_owned(),
            text,
            figures: vec![Figure {
                picture,
                caption:
                    "The best one again, on all training data, with its score on the test data:"
                        .to_owned(),
                command: Some(self.command.to_owned()),
            }],
            ..Section::default()
        })
    }

    /// And whether learning rates share columns.
    fn heat_map(&self) -> Result<(Picture, bool)> {
        let rates: Vec<f64> = self
            .ranking
            .iter()
            .map(|ranked| ranked.trial.lr())
            .collect::<Result<_>>()?;
        let columns = Columns::of(&rates);
        let rows = self.job.arguments.optimizers.len();
        let mut best: Vec<Vec<Option<&Ranked>>> = vec![vec![None; columns.names.len()]; rows];
        for (ranked, rate) in self.ranking.iter().zip(&rates) {
            let cell = &mut best[ranked.trial.of][columns.place(*rate)];
            let is_better = |other: &Ranked| {
                compare(&ranked.outcome, &other.outcome, self.job.data.task).is_lt()
            };
            if ranked.outcome.loss.is_finite() && cell.is_none_or(is_better) {
                *cell = Some(ranked);
            }
        }
        let value = |ranked: &Ranked| match self.is_classification() {
            true => 100.0 * ranked.outcome.accuracy.unwrap_or(f64::NAN),
            false => ranked.outcome.loss,
        };
        let values = best
            .iter()
            .map(|row| row.iter().map(|cell| cell.map(value)).collect());
        let titles = self
            .job
            .arguments
            .optimizers
            .iter()
            .map(|text| text.title());
        let (unit, better, digits) = match self.job.data.task {
            Task::Classification => ("validation accuracy (%)", Better::Higher, 4),
            Task::Regression => ("validation loss (mean square)", Better::Lower, 3),
        };
        let map = HeatMap {
            title: "Optimizer × learning rate".to_owned(),
            rows: ("optimizer".to_owned(), titles.collect()),
            columns: ("learning rate".to_owned(), columns.names),
            values: values.collect(),
            unit: unit.to_owned(),
            better,
            digits,
        };
        Ok((map.picture()?, columns.are_shared))
    }

    fn facts(&self) -> Vec<(String, String)> {
        let training = self.job.split.train.count;
        let own = [
            (
                "data",
                format!(
                    "{}: {training} to train on, {} to validate, {} to test at the end",
                    self.job.data.name, self.job.split.test.count, self.job.data.test.count
                ),
            ),
            (
                "network",
                format!(
                    "{}, {} parameters",
                    self.job.architecture,
                    self.job.architecture.parameter_count()
                ),
            ),
            ("epochs", self.job.arguments.training.epochs.to_string()),
            ("seed", self.job.arguments.seed.to_string()),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value));
        own.into_iter()
            .chain(facts::usual(self.device, None))
            .collect()
    }
}

/// Learning rates, each with a column of its own, or one for each half of a power of ten.
struct Columns {
    names: Vec<String>,
    /// The least of each column.
    lows: Vec<f64>,
    are_shared: bool,
}

impl Columns {
    fn of(rates: &[f64]) -> Self {
        let mut distinct = rates.to_vec();
        distinct.sort_by(f64::total_cmp);
        distinct.dedup();
        if distinct.len() <= MOST_COLUMNS {
            let names = distinct.iter().map(|rate| significant(*rate, 3));
            return Self {
                names: names.collect(),
                lows: distinct,
                are_shared: false,
            };
        }
        let ends = distinct.first().zip(distinct.last());
        let (low, high) = ends.map_or((0.0, 0.0), |(low, high)| (half(*low), half(*high)));
        let lows = (low as i32..=high as i32).map(bound);
        let lows: Vec<f64> = lows.collect();
        Self {
            names: lows
                .iter()
                .map(|low| format!("{}…", significant(*low, 1)))
                .collect(),
            lows,
            are_shared: true,
        }
    }

    /// The column of a learning rate.
    fn place(&self, rate: f64) -> usize {
        self.lows
            .partition_point(|low| *low <= rate)
            .saturating_sub(1)
    }
}

/// Which half of a power of ten a learning rate is in, counted from 1.
fn half(rate: f64) -> f64 {
    let power = rate.log10().floor();
    let upper = rate >= 3.0 * 10f64.powf(power);
    2.0 * power + f64::from(u8::from(upper))
}

/// The least learning rate of a half: 1 or 3 times a power of ten.
fn bound(half: i32) -> f64 {
    let digit = if half.rem_euclid(2) == 0 { 1 } else { 3 };
    format!("{digit}e{}", half.div_euclid(2))
        .parse()
        .unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_learning_rates_share_columns_of_half_a_power_of_ten() {
        let rates: Vec<f64> = (1..=40).map(|k| 1e-4 * f64::from(k)).collect();
        let columns = Columns::of(&rates);
        assert_eq!(columns.names, ["1e-4…", "3e-4…", "0.001…", "0.003…"]);
        let places = [1e-4, 2.9e-4, 3e-4, 9.9e-4, 1e-3, 4e-3].map(|rate| columns.place(rate));
        assert_eq!(places, [0, 0, 1, 1, 2, 3]);
    }

    #[test]
    fn few_learning_rates_have_a_column_each() {
        let columns = Columns::of(&[0.1, 0.001, 0.1]);
        assert_eq!(columns.names, ["0.001", "0.1"]);
        assert_eq!((columns.place(0.001), columns.place(0.1)), (0, 1));
    }
}
