//! The final table.

use report::Table;
use report::number::{percent, seconds, significant};
use trainer::data::Task;

use crate::contest::Entrant;
use crate::standing::{Goal, Standing};

/// The best optimizer first.
pub fn table(entrants: &[Entrant], standings: &[Standing], task: Task, goal: Goal) -> Table {
    let row = |standing: &Standing| row(&entrants[standing.entrant], standing, task);
    let mut table = Table {
        caption: caption(standings),
        columns: columns(task, goal),
        rows: standings.iter().map(row).collect(),
    };
    let is_remark = |row: &Vec<String>| row.last().is_some_and(|remark| !remark.is_empty());
    if !table.rows.iter().any(is_remark) {
        table.columns.pop();
        table.rows.iter_mut().for_each(|row| drop(row.pop()));
    }
    table
}

fn caption(standings: &[Standing]) -> String {
    let most = standings.iter().map(|standing| standing.runs).max();
    match most {
        Some(seeds) if seeds > 1 => {
            format!(
                "In order of the result; medians of {seeds} seeds. State is kept beside parameter and gradient."
            )
        }
        _ => "In order of the result. State is kept beside parameter and gradient.".to_owned(),
    }
}

/// What is to be reached, in words.
pub fn goal_text(goal: Goal) -> String {
    match goal {
        Goal::Accuracy(accuracy) => format!("{} %", significant(100.0 * accuracy, 4)),
        Goal::Loss(loss) => format!("loss {}", significant(loss, 3)),
        Goal::LossPart(part) => format!("{} % of the first loss", significant(100.0 * part, 3)),
    }
}

fn columns(task: Task, goal: Goal) -> Vec<String> {
    let mut columns = vec!["optimizer", "lr"];
    match task {
        Task::Classification => columns.extend(["last accuracy", "best", "test loss"]),
        Task::Regression => columns.extend(["last test loss", "best"]),
    }
    columns.extend(["train loss", "time/step"]);
    let mut columns: Vec<String> = columns.into_iter().map(str::to_owned).collect();
    columns.push(format!("to {}", goal_text(goal)));
    columns.extend(["state B/param".to_owned(), "remark".to_owned()]);
    columns
}

fn row(entrant: &Entrant, standing: &Standing, task: Task) -> Vec<String> {
    let loss = |loss: f64| match loss.is_finite() {
        true => significant(loss, 4),
        false => "–".to_owned(),
    };
    let accuracy = |accuracy: f64| match accuracy > 0.0 {
        true => percent(accuracy, 2),
        false => "–".to_owned(),
    };
    let mut row = vec![entrant.title.clone(), significant(entrant.lr, 4)];
    match task {
        Task::Classification => row.extend([
            accuracy(standing.accuracy),
            accuracy(standing.best_accuracy),
            loss(standing.test_loss),
        ]),
        Task::Regression => row.extend([loss(standing.test_loss), loss(standing.best_test_loss)]),
    }
    let to_goal = standing.seconds_to_goal;
    row.extend([
        loss(standing.train_loss),
        time(standing.seconds_per_step),
        to_goal.map_or_else(|| "–".to_owned(), time),
        significant(entrant.state_bytes_per_parameter, 3),
        remark(entrant, standing),
    ]);
    row
}

fn time(time: f64) -> String {
    match time.is_finite() {
        true => seconds(time),
        false => "–".to_owned(),
    }
}

fn remark(entrant: &Entrant, standing: &Standing) -> String {
    let mut remarks = Vec::new();
    for (seed, epoch) in &standing.diverged {
        let of_seed = match standing.runs {
            1 => String::new(),
            _ => format!(" with seed {seed}"),
        };
        remarks.push(format!("diverged at epoch {epoch}{of_seed}"));
    }
    if standing.reached > 0 && standing.reached < standing.runs {
        remarks.push(format!(
            "the goal with {} of {} seeds",
            standing.reached, standing.runs
        ));
    }
    if let Ok(Some(beside)) = entrant.candidate.beside() {
        remarks.push(format!("matrices alone, biases by {}", beside.title()));
    }
    if trainer::defaults::of(&entrant.candidate.text.name).is_some_and(|of| of.whole_batches) {
        remarks.push(format!("{} samples a step", entrant.batch_size));
    }
    remarks.join("; ")
}
