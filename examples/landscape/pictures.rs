//! Paths as pictures: over the function, and as values over steps.

use anyhow::Result;
use report::{
    Axis, ContourMap, Figure, Grid, LineChart, Picture, Series, Table, Trajectory, number,
};

use crate::arguments::Task;
use crate::functions::{Function, Minimum};
use crate::race::{Path, Place};

/// Points of a function's curve.
const CURVE: u32 = 240;

/// The least that a logarithmic axis shows: what f32 makes of zero is noise.
const FLOOR: f64 = 1e-12;

/// Characters of a formula that a picture's title has room for.
const LONGEST: usize = 31;

/// With more minima than this, the lowest alone is marked.
const MOST_MARKED: usize = 16;

/// Paths of `contenders`, as they are drawn.
pub struct Drawn<'a> {
    pub task: &'a Task,
    /// What legends call them.
    pub labels: &'a [String],
    pub paths: &'a [Path],
}

impl Drawn<'_> {
    /// Where the paths go, and the values on them, each with the command that makes it.
    pub fn figures(&self, command: &str) -> Result<Vec<Figure>> {
        let figure = |picture, caption: &str| Figure {
            picture,
            caption: caption.into(),
            command: Some(command.into()),
        };
        Ok(vec![
            figure(self.over_function()?, &self.caption()),
            figure(self.over_steps()?, &self.value_caption()),
        ])
    }

    fn function(&self) -> &dyn Function {
        &*self.task.function
    }

    /// Fewer than were asked for after an interruption.
    fn steps(&self) -> u64 {
        let last = self.paths.iter().filter_map(|path| path.places.last());
        last.map(|place| place.step).max().unwrap_or(0)
    }

    fn caption(&self) -> String {
        let starts = self.task.starts.iter();
        let starts = starts.map(|&start| self.place_text(start));
        let mut caption = format!(
            "{} steps from {}",
            self.steps(),
            starts.collect::<Vec<_>>().join(", ")
        );
        if let Some(noise) = self.task.noise {
            let (sigma, seed) = (number::significant(noise.sigma, 3), noise.seed);
            caption += &format!(
                ", with noise of standard deviation {sigma} in each element of the gradient (seed {seed})"
            );
        }
        let lost = self.paths.iter().filter(|path| path.lost().is_some());
        let mut lost: Vec<_> = lost.map(|path| &*self.labels[path.contender]).collect();
        lost.dedup();
        if !lost.is_empty() {
            caption += &format!("; no finite number in the end: {}", lost.join(", "));
        }
        let count = self.function().minima().len();
        if count > MOST_MARKED {
            caption += &format!("; of {count} minima, the lowest alone is marked");
        }
        caption + "."
    }

    /// What legends call a path.
    fn name(&self, path: &Path) -> String {
        let label = &self.labels[path.contender];
        match self.task.starts.len() {
            1 => label.clone(),
            _ => format!("{label} from {}", self.place_text(path.start)),
        }
    }

    fn over_function(&self) -> Result<Picture> {
        match self.function().domain() {
            [x, y] => self.contours(*x, *y),
            [x] => self.curve(*x),
            _ => anyhow::bail!("A function of more than two variables cannot be drawn."),
        }
    }

    fn contours(&self, x: [f64; 2], y: [f64; 2]) -> Result<Picture> {
        let function = self.function();
        let paths = self.paths.iter().map(|path| Trajectory {
            name: self.name(path),
            points: path.places.iter().map(|place| place.at).collect(),
            look: Some(path.contender),
        });
        let map = ContourMap {
            title: title(function),
            x: Axis::linear("x"),
            y: Axis::linear("y"),
            grid: grid(function, x, y),
            minima: marked(function).iter().map(|minimum| minimum.at).collect(),
            paths: paths.collect(),
        };
        map.picture()
    }

    fn curve(&self, [least, most]: [f64; 2]) -> Result<Picture> {
        let function = self.function();
        let steps = 0..=CURVE;
        let curve = steps.map(|i| {
            let x = least + (most - least) * f64::from(i) / f64::from(CURVE);
            [x, function.derivatives([x, 0.0]).value]
        });
        let curve: Vec<_> = curve.collect();
        let values = curve.iter().map(|point| point[1]);
        let low = values.clone().fold(f64::MAX, f64::min);
        let high = values.fold(f64::MIN, f64::max);
        let margin = 0.05 * (high - low);
        let mut series = vec![Series::reference(function.formula(), curve)];
        series.extend(self.paths.iter().map(|path| {
            let points = path.places.iter().map(|place| [place.at[0], place.value]);
            Series::path(self.name(path), points.collect()).look(path.contender)
        }));
        let minima = function.minima();
        if !minima.is_empty() {
            let places = minima.iter().map(|minimum| [minimum.at[0], minimum.value]);
            series.push(Series::minima(places.collect()));
        }
        let chart = LineChart {
            title: title(function),
            x: Axis::linear("x").range(least, most),
            y: Axis::linear("f(x)").range(low - margin, high + margin),
            series,
        };
        chart.picture()
    }

    fn value_caption(&self) -> String {
        match self.function().lowest() {
            Some(Minimum { value, .. }) if value != 0.0 => format!(
                "How far the value is above the lowest minimum, {}.",
                number::significant(value, 6)
            ),
            Some(_) => "How far the value is above the lowest minimum, 0.".into(),
            None => "The value: the function has no minimum.".into(),
        }
    }

    fn over_steps(&self) -> Result<Picture> {
        let function = self.function();
        let lowest = function.lowest();
        let height = |place: &Place| match lowest {
            // Of no number and a number, `max` would take the number.
            Some(_) if place.value.is_nan() => f64::NAN,
            Some(lowest) => (place.value - lowest.value).max(FLOOR),
            None => place.value,
        };
        let series = self.paths.iter().map(|path| {
            let points = path.places.iter();
            let points = points.map(|place| [place.step as f64, height(place)]);
            Series::curve(self.name(path), points.collect()).look(path.contender)
        });
        let [low, high] = values_in_domain(function);
        let y = match lowest {
            // What flies off must not flatten all others.
            Some(lowest) => {
                let tops = self.paths.iter().flat_map(|path| &path.places).map(height);
                let (floor, top) = (
                    tops.clone().fold(f64::MAX, f64::min),
                    tops.fold(FLOOR, f64::max),
                );
                let axis = Axis::log("value above the minimum");
                axis.range(floor * 0.5, top.min(high - lowest.value) * 2.0)
            }
            None => {
                let margin = 0.05 * (high - low);
                Axis::linear("value").range(low - margin, high + margin)
            }
        };
        let chart = LineChart {
            title: format!("{}: value over steps", function.name()),
            x: Axis::linear("step"),
            y,
            series: series.collect(),
        };
        chart.picture()
    }

    /// What became of each path.
    pub fn table(&self) -> Table {
        let lowest = self.function().lowest();
        let mut columns: Vec<String> = ["rule", "start", "end", "value"].map(Into::into).to_vec();
        if lowest.is_some() {
            columns.push("above the minimum".into());
        }
        let rows = self.paths.iter().map(|path| {
            let end = path.end();
            let mut row = vec![
                self.labels[path.contender].clone(),
                self.place_text(path.start),
                self.place_text(end.at),
                number::significant(end.value, 4),
            ];
            if let Some(lowest) = lowest {
                row.push(number::significant(end.value - lowest.value, 2));
            }
            row
        });
        Table {
            caption: format!("After {} steps", self.steps()),
            columns,
            rows: rows.collect(),
        }
    }

    fn place_text(&self, point: [f64; 2]) -> String {
        let numbers = point[..self.function().dimensions()].iter();
        let numbers = numbers.map(|&x| number::significant(x, 4));
        format!("({})", numbers.collect::<Vec<_>>().join(", "))
    }
}

/// The minima that are marked: stars on a hundred would hide the paths.
fn marked(function: &dyn Function) -> Vec<Minimum> {
    let minima = function.minima();
    match function.lowest() {
        Some(lowest) if minima.len() > MOST_MARKED => vec![lowest],
        _ => minima,
    }
}

/// The name, and the formula where there is room for it.
fn title(function: &dyn Function) -> String {
    let (name, formula) = (function.name(), function.formula());
    match formula.chars().count() {
        0..=LONGEST => format!("{name}: {formula}"),
        _ => name.to_owned(),
    }
}

fn grid(function: &dyn Function, x: [f64; 2], y: [f64; 2]) -> Grid {
    let value = |x, y| function.derivatives([x, y]).value;
    Grid::sample((x[0], x[1]), (y[0], y[1]), value)
}

/// About the least and the largest value of the function in its domain.
fn values_in_domain(function: &dyn Function) -> [f64; 2] {
    const POINTS: u32 = 64;
    let along = |range: Option<&[f64; 2]>| {
        let [least, most] = range.copied().unwrap_or_default();
        (0..=POINTS).map(move |i| least + (most - least) * f64::from(i) / f64::from(POINTS))
    };
    let domain = function.domain();
    let values = along(domain.first())
        .flat_map(|x| along(domain.get(1)).map(move |y| function.derivatives([x, y]).value));
    values.fold([f64::MAX, f64::MIN], |[low, high], value| {
        [low.min(value), high.max(value)]
    })
}
