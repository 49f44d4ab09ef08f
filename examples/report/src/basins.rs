//! Where descent ends, by where it starts, and how fast it gets there.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Result, ensure};

use crate::axis::Axis;
use crate::canvas::UNIT;
use crate::frame::{Frame, Plan, WIDTH};
use crate::legend::{self, Entry, Sample};
use crate::marker::{Look, Shape};
use crate::number;
use crate::palette;
use crate::picture::Picture;

const HEIGHT: f64 = 390.0;
/// How much of the colour there is, from the slowest to the fastest.
const SHADES: [&str; 4] = [".3", ".5", ".72", "1"];

/// What became of one start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cell {
    /// The minimum it ended in; `None` for nowhere.
    pub minimum: Option<usize>,
    /// From 0, the slowest, to 1, the fastest.
    pub speed: f64,
}

/// A map of starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Basins {
    pub title: String,
    /// With its range.
    pub x: Axis,
    /// With its range.
    pub y: Axis,
    /// Row by row from low y to high, each from low x to high; all of one length.
    pub cells: Vec<Vec<Cell>>,
    pub minima: Vec<[f64; 2]>,
    /// What fast means, such as `within 1e-3 after 20 (strong) to 1000 steps (pale)`.
    pub speeds: String,
}

impl Basins {
    /// # Errors
    /// If there are no cells, rows have different lengths, or a minimum is not in the list.
    pub fn picture(&self) -> Result<Picture> {
        self.check()?;
        let none = || std::iter::empty();
        let plan = Plan {
            title: &self.title,
            x: (&self.x, self.x.over(none(), 0.0)?),
            y: (&self.y, self.y.over(none(), 0.0)?),
            size: [WIDTH, HEIGHT],
            has_grid: false,
        };
        let frame = plan.draw()?;
        let mut markup = self.draw_cells(&frame);
        markup.push_str(&self.draw_borders(&frame));
        markup.push_str(&frame.outline());
        markup.push_str(&frame.markup);
        self.draw_minima(&mut markup, &frame);
        let height =
            frame.bottom + legend::write(&mut markup, &self.entries(), frame.bottom, WIDTH);
        Ok(Picture::new(self.description(), [WIDTH, height], markup))
    }

    fn check(&self) -> Result<()> {
        let columns = self.cells.first().map_or(0, Vec::len);
        ensure!(columns > 0, "a map of basins without cells");
        ensure!(
            self.cells.iter().all(|row| row.len() == columns),
            "rows of basins have different lengths"
        );
        let minima = self.cells.iter().flatten().filter_map(|cell| cell.minimum);
        if let Some(last) = minima.max() {
            let count = self.minima.len();
            ensure!(last < count, "minimum {last} of basins with {count} minima");
        }
        Ok(())
    }

    fn description(&self) -> String {
        let count = self.minima.len();
        format!("{}: basins of {count} minima by the start", self.title)
    }

    /// The share of starts that end in each minimum, and nowhere.
    fn entries(&self) -> Vec<Entry> {
        let all = self.cells.len() * self.cells[0].len();
        let share = |minimum: Option<usize>| {
            let cells = self.cells.iter().flatten();
            let count = cells.filter(|cell| cell.minimum == minimum).count();
            count as f64 / all as f64
        };
        let mut entries = Vec::new();
        for (index, minimum) in self.minima.iter().enumerate().take(palette::SERIES.len()) {
            let [x, y] = minimum.map(|place| number::significant(place, 3));
            let part = number::percent(share(Some(index)), 0);
            entries.push((Sample::Field(Look(index)), format!("({x}, {y}): {part}")));
        }
        if self.minima.len() > palette::SERIES.len() {
            let rest = self.minima.len() - palette::SERIES.len();
            entries.push((
                Sample::None,
                format!("and {rest} more minima, in the same colours again"),
            ));
        }
        entries.push((Sample::Minimum, "minimum".into()));
        let lost = share(None);
        if lost > 0.0 {
            let part = number::percent(lost, 0);
            entries.push((
                Sample::None,
                format!("blank: {part} of the starts reach none"),
            ));
        }
        if !self.speeds.is_empty() {
            entries.push((Sample::None, self.speeds.clone()));
        }
        entries
    }

    /// The corner of a cell, in units: row 0 is at the bottom.
    fn corner(&self, frame: &Frame, row: usize, column: usize) -> [i64; 2] {
        let [low, high] = [frame.rect.low, frame.rect.high];
        let [rows, columns] = [self.cells.len(), self.cells[0].len()].map(|n| n as f64);
        let x = low[0] + (high[0] - low[0]) * column as f64 / columns;
        let y = high[1] - (high[1] - low[1]) * row as f64 / rows;
        [x, y].map(|place| place.round() as i64)
    }

    /// Runs of equal cells in a row, all runs of a colour and shade in one path.
    fn draw_cells(&self, frame: &Frame) -> String {
        let shade = |cell: &Cell| {
            let shade = (cell.speed.clamp(0.0, 1.0) * SHADES.len() as f64) as usize;
            cell.minimum.map(|minimum| {
                let colour = minimum % palette::SERIES.len();
                (colour, shade.min(SHADES.len() - 1))
            })
        };
        let mut paths: BTreeMap<(usize, usize), String> = BTreeMap::new();
        for (row, cells) in self.cells.iter().enumerate() {
            let mut column = 0;
            for run in cells.chunk_by(|a, b| shade(a) == shade(b)) {
                let [left, bottom] = self.corner(frame, row, column);
                column += run.len();
                let [right, top] = self.corner(frame, row + 1, column);
                if let Some(shade) = run.first().and_then(shade) {
                    let path = paths.entry(shade).or_default();
                    let (width, height) = (right - left, bottom - top);
                    // Writing to a string does not fail.
                    let _ = write!(path, "M{left} {top}h{width}v{height}h-{width}z");
                }
            }
        }
        let mut markup = String::from("<g shape-rendering=\"crispEdges\">\n");
        for ((colour, shade), path) in paths {
            let colour = palette::SERIES[colour].light;
            let opacity = SHADES[shade];
            let _ = writeln!(
                markup,
                "<path fill=\"{colour}\" fill-opacity=\"{opacity}\" d=\"{path}\"/>"
            );
        }
        markup.push_str("</g>\n");
        markup
    }

    /// A line between cells of different minima: the cue beside colour.
    fn draw_borders(&self, frame: &Frame) -> String {
        let mut path = String::new();
        for (row, cells) in self.cells.iter().enumerate() {
            for (column, cell) in cells.iter().enumerate() {
                let differs =
                    |other: Option<&Cell>| other.is_some_and(|other| other.minimum != cell.minimum);
                let [x, y] = self.corner(frame, row, column);
                if column > 0 && differs(cells.get(column - 1)) {
                    let [_, top] = self.corner(frame, row + 1, column);
                    let _ = write!(path, "M{x} {y}V{top}");
                }
                if row > 0 && differs(self.cells[row - 1].get(column)) {
                    let [right, _] = self.corner(frame, row, column + 1);
                    let _ = write!(path, "M{x} {y}H{right}");
                }
            }
        }
        let ink = palette::INK.light;
        format!("<path stroke=\"{ink}\" stroke-width=\"2\" d=\"{path}\"/>\n")
    }

    fn draw_minima(&self, markup: &mut String, frame: &Frame) {
        let places = self
            .minima
            .iter()
            .filter_map(|minimum| frame.inside(*minimum));
        let stars: String = places
            .map(|place| Shape::Star.commands(place, 6.0 * UNIT))
            .collect();
        let _ = writeln!(
            markup,
            "<path {} d=\"{stars}\"/>",
            legend::mark(palette::INK.light)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The left half ends in minimum 0, fast; the right one in 1, slowly; one cell nowhere.
    fn basins(size: usize) -> Basins {
        let cell = |row: usize, column: usize| match (row, column) {
            (0, 0) => Cell::default(),
            _ => Cell {
                minimum: Some(usize::from(2 * column >= size)),
                speed: if 2 * column < size { 1.0 } else { 0.0 },
            },
        };
        let rows = (0..size).map(|row| (0..size).map(|column| cell(row, column)).collect());
        Basins {
            title: "Where descent ends".into(),
            x: Axis::linear("x").range(-1.0, 1.0),
            y: Axis::linear("y").range(-1.0, 1.0),
            cells: rows.collect(),
            minima: vec![[-0.5, 0.0], [0.5, 0.0]],
            speeds: "strong: at once".into(),
        }
    }

    #[test]
    fn minima_have_colours_shares_and_a_border_between_them() {
        let svg = basins(10).picture().unwrap().svg();
        for text in [
            "(−0.5, 0): 49 %",
            "(0.5, 0): 50 %",
            "1 % of the starts reach none",
            "strong: at once",
        ] {
            assert!(svg.contains(text), "{text}");
        }
        let field = |look: usize, shade: &str| {
            let colour = Look(look).colour().light;
            svg.contains(&format!("fill=\"{colour}\" fill-opacity=\"{shade}\""))
        };
        assert!(field(0, "1") && field(1, ".3") && !field(0, ".3"));
        let border = svg
            .lines()
            .find(|line| line.contains("stroke-width=\"2\" d=\"M"))
            .unwrap();
        // Ten cells high between the halves, and two sides of the one that ends nowhere.
        assert_eq!(border.matches('M').count(), 12);
    }

    #[test]
    fn the_first_row_is_at_the_bottom() {
        let svg = basins(2).picture().unwrap().svg();
        // The cell that ends nowhere is the lower left: the left half's only field is above it.
        let y = |look: usize| {
            let colour = format!("fill=\"{}\" fill-opacity", Look(look).colour().light);
            let line = svg.lines().find(|line| line.contains(&colour)).unwrap();
            let (_, path) = line.split_once("d=\"M").unwrap();
            path.split([' ', 'h'])
                .nth(1)
                .unwrap()
                .parse::<f64>()
                .unwrap()
        };
        let fields = svg.matches('h').count();
        assert!(fields > 0 && y(0) < y(1), "{} {}", y(0), y(1));
    }

    #[test]
    fn equal_cells_are_one_field() {
        let small = basins(20).picture().unwrap().svg().len();
        let large = basins(200).picture().unwrap().svg().len();
        assert!(large < 15 * small, "{small} {large}");
    }

    #[test]
    fn wrong_cells_are_errors() {
        let mut wrong = basins(4);
        wrong.minima.pop();
        assert!(
            wrong
                .picture()
                .unwrap_err()
                .to_string()
                .contains("minimum 1")
        );
        wrong.cells[2].pop();
        assert!(wrong.picture().unwrap_err().to_string().contains("lengths"));
        wrong.cells.clear();
        assert!(wrong.picture().is_err());
    }
}
