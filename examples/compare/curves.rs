//! The curves of a comparison, a few optimizers in each picture.

use anyhow::Result;
use report::number::{percent, significant};
use report::{Axis, Figure, LineChart, Picture, Section, Series};
use trainer::data::Task;
use trainer::training::{End, Epoch};

use crate::contest::Run;
use crate::page::View;
use crate::spread::Spread;
use crate::standing::{Goal, Standing};
use crate::table::goal_text;

/// Optimizers in a picture that are not there for comparison: with the baselines, no colour comes
/// twice.
const MOST_SHOWN: usize = 6;
/// From this ratio of the slowest training to the fastest, seconds are shown on a logarithmic axis.
const WIDE_TIMES: f64 = 5.0;
/// How far below the worst result the accuracies begin that are shown.
const BELOW_WORST: f64 = 0.1;

/// What is drawn upwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quantity {
    Accuracy,
    TestLoss,
    TrainLoss,
}

/// What is drawn to the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Steps,
    Seconds,
}

/// A section for each way to look at progress, or where optimizers share several pictures, for each
/// quantity as well.
pub fn sections(view: &View, standings: &[Standing]) -> Result<Vec<Section>> {
    let accuracy = (view.data.task == Task::Classification).then_some(Quantity::Accuracy);
    let over_steps = accuracy.into_iter();
    let over_steps = over_steps.chain([Quantity::TestLoss, Quantity::TrainLoss]);
    let over_time = accuracy.into_iter().chain([Quantity::TestLoss]);
    let curves = Curves { view, standings };
    let mut sections = Vec::new();
    for (progress, quantities) in [
        (Progress::Steps, over_steps.collect::<Vec<_>>()),
        (Progress::Seconds, over_time.collect()),
    ] {
        match curves.groups().len() {
            1 => sections.push(curves.section(&quantities, progress)?),
            _ => {
                for quantity in quantities {
                    sections.push(curves.section(&[quantity], progress)?);
                }
            }
        }
    }
    Ok(sections)
}

struct Curves<'a> {
    view: &'a View<'a>,
    /// The best first.
    standings: &'a [Standing],
}

impl Curves<'_> {
    fn section(&self, quantities: &[Quantity], progress: Progress) -> Result<Section> {
        let groups = self.groups();
        let over = match progress {
            Progress::Steps => "over steps",
            Progress::Seconds => "over time",
        };
        let mut figures = Vec::new();
        for &quantity in quantities {
            let title = format!("{} {over}", self.name(quantity));
            let mut first = 1;
            for group in &groups {
                let last = first + group.len() - 1;
                let title = match groups.len() {
                    1 => title.clone(),
                    _ => format!("{title}: {}", places(first, last)),
                };
                first = last + 1;
                figures.push(Figure {
                    picture: self.picture(title, group, quantity, progress)?,
                    caption: self.caption(quantity).to_owned(),
                    command: None,
                });
            }
        }
        let what = match quantities {
            [quantity] => self.name(*quantity),
            _ => "Curves",
        };
        Ok(Section {
            title: format!("{what} {over}"),
            text: self.text(groups.len()),
            figures,
            tables: Vec::new(),
        })
    }

    fn name(&self, quantity: Quantity) -> &'static str {
        match quantity {
            Quantity::Accuracy => "Test accuracy",
            Quantity::TestLoss => "Test loss",
            Quantity::TrainLoss => "Training loss",
        }
    }

    fn caption(&self, quantity: Quantity) -> &'static str {
        match quantity {
            Quantity::Accuracy => "Scored after each epoch; curves begin below the frame.",
            Quantity::TestLoss => "Scored before training and after each epoch.",
            Quantity::TrainLoss => {
                "The mean over each epoch, every batch scored before its own step; the first point is before training."
            }
        }
    }

    fn text(&self, groups: usize) -> String {
        let mut sentences = Vec::new();
        if groups > 1 {
            sentences.push(
                "The order of the pictures is that of the result. The baselines are in all of them, and in grey is \
                 everyone else."
                    .to_owned(),
            );
        }
        if self.view.arguments.seeds > 1 {
            sentences.push(format!(
                "Lines are medians of {} seeds, bands go from the lowest to the highest.",
                self.view.arguments.seeds
            ));
        }
        sentences.join(" ")
    }

    /// Which standings share a picture: the best first, without the baselines, which are in each.
    fn groups(&self) -> Vec<Vec<usize>> {
        let all: Vec<usize> = (0..self.standings.len()).collect();
        if all.len() <= MOST_SHOWN + self.baselines().len() {
            return vec![all];
        }
        let others = all
            .into_iter()
            .filter(|place| !self.baselines().contains(place));
        let others: Vec<usize> = others.collect();
        let count = others.len().div_ceil(MOST_SHOWN);
        let size = others.len().div_ceil(count);
        others.chunks(size).map(<[usize]>::to_vec).collect()
    }

    /// Places of plain SGD and Adam among the standings.
    fn baselines(&self) -> Vec<usize> {
        let place = |name: &&str| {
            let is_it = |standing: &Standing| {
                self.view.entrants[standing.entrant]
                    .candidate
                    .text
                    .to_string()
                    == **name
            };
            self.standings.iter().position(is_it)
        };
        crate::arguments::BASELINES
            .iter()
            .filter_map(place)
            .collect()
    }

    fn picture(
        &self,
        title: String,
        group: &[usize],
        quantity: Quantity,
        progress: Progress,
    ) -> Result<Picture> {
        let baselines = self.baselines();
        let mut shown: Vec<usize> = baselines.iter().chain(group).copied().collect();
        shown.sort_unstable();
        shown.dedup();
        let mut series = Vec::new();
        let others = (0..self.standings.len()).filter(|place| !shown.contains(place));
        for place in others {
            let (points, _) = self.points(place, quantity, progress);
            series.push(Series::background("the others", points));
        }
        for &place in &shown {
            let look = match baselines.iter().position(|other| *other == place) {
                Some(baseline) => baseline,
                None => {
                    let own = group.iter().filter(|other| !baselines.contains(other));
                    baselines.len() + own.take_while(|other| **other != place).count()
                }
            };
            let (points, band) = self.points(place, quantity, progress);
            let mut line = Series::curve(self.legend(place, quantity), points).look(look);
            if self.view.arguments.seeds > 1 {
                line = line.band(band);
            }
            series.push(line);
        }
        let (x, y) = (self.x_axis(progress), self.y_axis(quantity));
        if let (Quantity::Accuracy, Goal::Accuracy(accuracy)) = (quantity, self.view.goal()) {
            let ends = self.ends(&series);
            let name = format!("target, {}", goal_text(self.view.goal()));
            let points = ends.map(|x| [x, 100.0 * accuracy]).to_vec();
            series.push(Series::reference(name, points));
        }
        LineChart {
            title,
            x,
            y,
            series,
        }
        .picture()
    }

    /// The least and the greatest x of all points.
    fn ends(&self, series: &[Series]) -> [f64; 2] {
        let all = series
            .iter()
            .flat_map(|series| &series.points)
            .map(|point| point[0]);
        let positive = all.clone().filter(|x| *x > 0.0);
        [
            positive.fold(f64::INFINITY, f64::min),
            all.fold(0.0, f64::max),
        ]
    }

    /// The name with the result.
    fn legend(&self, place: usize, quantity: Quantity) -> String {
        let standing = &self.standings[place];
        let title = &self.view.entrants[standing.entrant].title;
        let loss = |loss: f64| significant(loss, 3);
        let result = match quantity {
            Quantity::Accuracy => percent(standing.accuracy, 2),
            Quantity::TestLoss => loss(standing.test_loss),
            Quantity::TrainLoss => loss(standing.train_loss),
        };
        match standing.test_loss.is_finite() {
            true => format!("{title}, {result}"),
            false => format!("{title}, diverged"),
        }
    }

    /// Of the medians over the seeds that got so far, with what lies between.
    fn points(
        &self,
        place: usize,
        quantity: Quantity,
        progress: Progress,
    ) -> (Vec<[f64; 2]>, Vec<[f64; 2]>) {
        let entrant = self.standings[place].entrant;
        let own = self.view.runs.iter();
        let own = own.filter(|run| run.entrant == entrant && run.end != End::Stopped);
        let own: Vec<&Run> = own.collect();
        let most = own.iter().map(|run| run.epochs.len()).max().unwrap_or(0);
        let (mut points, mut band) = (Vec::new(), Vec::new());
        for number in 0..most {
            let epochs = || {
                let reached = own.iter().filter_map(|run| run.epochs.get(number));
                reached.filter(|epoch| epoch.is_finite())
            };
            let x = Spread::of(epochs().map(|epoch| progress.of(epoch)));
            let y = Spread::of(epochs().map(|epoch| quantity.of(epoch)));
            if let (Some(x), Some(y)) = (x, y) {
                points.push([x.median, y.median]);
                band.push([y.low, y.high]);
            }
        }
        (points, band)
    }

    fn x_axis(&self, progress: Progress) -> Axis {
        if progress == Progress::Steps {
            return Axis::linear("steps");
        }
        let times = (0..self.standings.len()).filter_map(|place| {
            let (points, _) = self.points(place, Quantity::TestLoss, progress);
            points.last().map(|point| point[0])
        });
        let wide = Spread::of(times).is_some_and(|times| times.high > WIDE_TIMES * times.low);
        match wide {
            true => Axis::log("training time (s)"),
            false => Axis::linear("training time (s)"),
        }
    }

    fn y_axis(&self, quantity: Quantity) -> Axis {
        if quantity != Quantity::Accuracy {
            let label = match self.view.data.task {
                Task::Classification => self.name(quantity).to_lowercase(),
                Task::Regression => format!("{} (mean square)", self.name(quantity).to_lowercase()),
            };
            return Axis::log(label);
        }
        let worst = self.standings.iter().map(|standing| standing.accuracy);
        let worst = worst.filter(|accuracy| *accuracy > 0.0).fold(1.0, f64::min);
        let low = (20.0 * (worst - BELOW_WORST)).floor().max(0.0) * 5.0;
        Axis::linear("test accuracy (%)").range(low, 100.0)
    }
}

/// Where in the order the optimizers of a picture are, baselines not counted.
fn places(first: usize, last: usize) -> String {
    match first == last {
        true => format!("place {first}"),
        false => format!("places {first} to {last}"),
    }
}

impl Quantity {
    fn of(self, epoch: &Epoch) -> f64 {
        match self {
            Self::Accuracy => 100.0 * epoch.test.accuracy,
            Self::TestLoss => epoch.test.loss,
            Self::TrainLoss => epoch.train.loss,
        }
    }
}

impl Progress {
    fn of(self, epoch: &Epoch) -> f64 {
        match self {
            Self::Steps => epoch.steps as f64,
            Self::Seconds => epoch.seconds,
        }
    }
}
