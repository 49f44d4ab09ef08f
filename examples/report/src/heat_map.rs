//! A table as a picture: a number in every cell, and how good it is as a shade.

use std::fmt::Write;

use anyhow::{Result, ensure};

use crate::canvas::{Anchor, FONT_SIZE, UNIT, label};
use crate::frame::{WIDTH, title};
use crate::number;
use crate::palette;
use crate::picture::Picture;
use crate::text;

const ROW: f64 = 28.0;
const SMALLEST_FONT: f64 = 11.0;

/// Which values are dark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    Higher,
    Lower,
}

/// Values of rows × columns.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatMap {
    pub title: String,
    /// What the rows are, and their names from top to bottom.
    pub rows: (String, Vec<String>),
    /// What the columns are, with their unit, and their names from left to right.
    pub columns: (String, Vec<String>),
    /// Row by row; `None` for a cell without a value.
    pub values: Vec<Vec<Option<f64>>>,
    /// Of the values, with what they are: `validation accuracy (%)`.
    pub unit: String,
    pub better: Better,
    /// Significant digits of the largest number in the cells.
    pub digits: usize,
}

impl HeatMap {
    /// # Errors
    /// If there are no cells, or not as many as names.
    pub fn picture(&self) -> Result<Picture> {
        self.check()?;
        let mut markup = String::new();
        let top = title(&mut markup, &self.title, WIDTH) + ROW;
        let widest = self.rows.1.iter().map(|name| text::width(name) * FONT_SIZE);
        let left = (widest.fold(0.0, f64::max) + 20.0).min(0.4 * WIDTH);
        let width = (WIDTH - 8.0 - left) / self.columns.1.len() as f64;
        let cells = Cells { left, top, width };
        let middle = left + 0.5 * (WIDTH - 8.0 - left);
        for (column, name) in self.columns.1.iter().enumerate() {
            let size = fitting(name, width - 4.0);
            let at = [cells.x(column) + 0.5 * width, top - 0.5 * ROW];
            label(
                &mut markup,
                name,
                at,
                Anchor::Middle,
                size,
                palette::FAINT_INK.light,
            );
        }
        let values: Vec<_> = self.all().collect();
        let mut numbers = number::alike(&values, self.digits).into_iter();
        for (row, name) in self.rows.1.iter().enumerate() {
            let at = [left - 8.0, cells.y(row) + 0.5 * ROW];
            let size = fitting(name, left - 12.0);
            label(&mut markup, name, at, Anchor::End, size, palette::INK.light);
            for (column, value) in self.values[row].iter().enumerate() {
                let value = value.filter(|value| !value.is_nan());
                let text = match value {
                    Some(_) => numbers.next().unwrap_or_default(),
                    None => "–".to_owned(),
                };
                self.cell(&mut markup, &cells, [row, column], value, &text);
            }
        }
        let bottom = cells.y(self.rows.1.len());
        let ink = palette::INK.light;
        let at = [middle, bottom + 0.5 * ROW];
        label(
            &mut markup,
            &self.columns.0,
            at,
            Anchor::Middle,
            FONT_SIZE,
            ink,
        );
        let better = match self.better {
            Better::Higher => "higher",
            Better::Lower => "lower",
        };
        let note = format!("{}, {better} is better", self.unit);
        let mut height = bottom + ROW;
        for line in text::lines(&note, (WIDTH - 16.0) / FONT_SIZE) {
            label(
                &mut markup,
                &line,
                [8.0, height + 10.0],
                Anchor::Start,
                FONT_SIZE,
                ink,
            );
            height += 20.0;
        }
        let description = format!(
            "{}: {} by {} and {}",
            self.title, self.unit, self.rows.0, self.columns.0
        );
        Ok(Picture::new(description, [WIDTH, height + 6.0], markup))
    }

    fn all(&self) -> impl Iterator<Item = f64> {
        let values = self.values.iter().flatten().flatten().copied();
        values.filter(|value| !value.is_nan())
    }

    fn check(&self) -> Result<()> {
        let [rows, columns] = [&self.rows, &self.columns].map(|names| names.1.len());
        ensure!(rows > 0 && columns > 0, "a heat map without cells");
        ensure!(
            self.values.len() == rows && self.values.iter().all(|row| row.len() == columns),
            "a heat map of {rows} × {columns} names has other values"
        );
        Ok(())
    }

    fn cell(
        &self,
        markup: &mut String,
        cells: &Cells,
        [row, column]: [usize; 2],
        value: Option<f64>,
        text: &str,
    ) {
        let level = value.map(|value| self.level(value));
        let fill = level.map_or(palette::MISSING, |level| palette::HEAT[level]);
        let [x, y] = [cells.x(column), cells.y(row)];
        let [left, top] = [x, y].map(|place| (place * UNIT).round());
        let [width, height] = [cells.width - 1.0, ROW - 1.0].map(|side| (side * UNIT).round());
        // Writing to a string does not fail.
        let _ = writeln!(
            markup,
            "<path fill=\"{}\" d=\"M{left} {top}h{width}v{height}h-{width}z\"/>",
            fill.light
        );
        let colour = match level {
            Some(level) if level >= palette::HEAT_TURNS => palette::PAPER,
            Some(_) => palette::INK,
            None => palette::FAINT_INK,
        };
        let at = [x + 0.5 * cells.width, y + 0.5 * ROW];
        let size = fitting(text, cells.width - 4.0);
        label(markup, text, at, Anchor::Middle, size, colour.light);
    }

    /// By rank, so that one value far off does not take the shades from all others.
    fn level(&self, value: f64) -> usize {
        let worse = |other: &f64| match self.better {
            Better::Higher => *other < value,
            Better::Lower => *other > value,
        };
        let count = self.all().count().saturating_sub(1).max(1);
        (self.all().filter(worse).count() * (palette::HEAT.len() - 1) + count / 2) / count
    }
}

/// Where cells are, in pixels.
struct Cells {
    left: f64,
    top: f64,
    width: f64,
}

impl Cells {
    fn x(&self, column: usize) -> f64 {
        self.left + self.width * column as f64
    }

    fn y(&self, row: usize) -> f64 {
        self.top + ROW * row as f64
    }
}

/// The size at which a text fits.
fn fitting(text: &str, width: f64) -> f64 {
    let size = width / text::width(text).max(0.1);
    size.clamp(SMALLEST_FONT, FONT_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(better: Better) -> HeatMap {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        HeatMap {
            title: "Loss".into(),
            rows: ("optimizer".into(), names(&["adam", "sgd"])),
            columns: ("learning rate".into(), names(&["0.01", "0.1"])),
            values: vec![vec![Some(0.25), Some(0.5)], vec![Some(1.5), None]],
            unit: "loss (nats)".into(),
            better,
            digits: 3,
        }
    }

    #[test]
    fn every_cell_has_its_number_and_the_best_is_the_strongest() {
        let svg = map(Better::Lower).picture().unwrap().svg();
        for text in [
            "adam",
            "sgd",
            "0.01",
            "learning rate",
            "loss (nats), lower",
            "0.25",
            "1.50",
            "–",
        ] {
            assert!(svg.contains(&format!(">{text}")), "{text}");
        }
        let strongest = palette::HEAT.len() - 1;
        assert_eq!(map(Better::Lower).level(0.25), strongest);
        assert_eq!(map(Better::Lower).level(1.5), 0);
        assert_eq!(map(Better::Higher).level(1.5), strongest);
    }

    #[test]
    fn cells_without_names_and_names_without_cells_are_errors() {
        let mut wrong = map(Better::Lower);
        wrong.values[1].pop();
        assert!(wrong.picture().is_err());
        wrong.rows.1.clear();
        wrong.values.clear();
        assert!(
            wrong
                .picture()
                .unwrap_err()
                .to_string()
                .contains("without cells")
        );
    }
}
