//! Names with a bar each.

use std::fmt::Write;

use anyhow::{Result, ensure};

use crate::axis::Axis;
use crate::canvas::{Anchor, FONT_SIZE, UNIT, label};
use crate::frame::{self, WIDTH};
use crate::marker::{Look, Shape};
use crate::palette;
use crate::picture::Picture;
use crate::text;

const ROW: f64 = 22.0;

/// One name with its value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bar {
    pub name: String,
    /// `None` for one without a value.
    pub value: Option<f64>,
    /// At the right: the value as text, or what there is to say.
    pub note: String,
    /// Stands out: in another colour, with a cross at its end.
    pub is_wrong: bool,
}

/// Bars from zero to the right, one below the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BarChart {
    pub title: String,
    /// Of the values; starts at zero unless its range says otherwise.
    pub axis: Axis,
    pub bars: Vec<Bar>,
    /// A line across all bars, and what it is.
    pub limit: Option<(f64, String)>,
}

impl BarChart {
    /// # Errors
    /// If there are no bars.
    pub fn picture(&self) -> Result<Picture> {
        ensure!(!self.bars.is_empty(), "a chart without bars");
        let values = self.bars.iter().filter_map(|bar| bar.value);
        let limit = self.limit.iter().map(|limit| limit.0);
        let ends = values.chain(limit).chain([0.0]);
        let span = self.axis.over(ends, 0.0)?;
        let mut markup = String::new();
        let top = frame::title(&mut markup, &self.title, WIDTH);
        let top = top + if self.limit.is_some() { 26.0 } else { 0.0 };
        let widest = |texts: &mut dyn Iterator<Item = &String>| {
            texts
                .map(|text| text::width(text) * FONT_SIZE)
                .fold(0.0, f64::max)
        };
        let left = widest(&mut self.bars.iter().map(|bar| &bar.name)) + 16.0;
        let left = left.min(0.5 * WIDTH);
        let notes = widest(&mut self.bars.iter().map(|bar| &bar.note));
        let right = WIDTH - 24.0 - notes.min(0.3 * WIDTH);
        let place =
            |value: f64| left + (right - left) * span.part(value).unwrap_or(0.0).clamp(0.0, 1.0);
        let bottom = top + ROW * self.bars.len() as f64;
        let [faint, ink] = [palette::FAINT_INK, palette::INK].map(|colour| colour.light);
        for (at, text) in span.ticks(5) {
            let x = left + (right - left) * (at - span.low) / (span.high - span.low);
            vertical(
                &mut markup,
                x,
                top,
                bottom,
                &format!("stroke=\"{}\" stroke-width=\"4\"", palette::RULED.light),
            );
            label(
                &mut markup,
                &text,
                [x, bottom + 11.0],
                Anchor::Middle,
                13.0,
                faint,
            );
        }
        for (index, bar) in self.bars.iter().enumerate() {
            let middle = top + ROW * (index as f64 + 0.5);
            label(
                &mut markup,
                &bar.name,
                [left - 8.0, middle],
                Anchor::End,
                FONT_SIZE,
                ink,
            );
            let end = bar.value.map_or(left, place);
            bar.draw(&mut markup, left, end, middle);
            label(
                &mut markup,
                &bar.note,
                [WIDTH - 8.0, middle],
                Anchor::End,
                FONT_SIZE,
                ink,
            );
        }
        if let Some((value, name)) = &self.limit {
            let x = place(*value);
            vertical(&mut markup, x, top, bottom, crate::legend::REFERENCE);
            let half = 0.5 * text::width(name) * FONT_SIZE;
            let at = [x.min(WIDTH - 8.0 - half).max(8.0 + half), top - 12.0];
            label(&mut markup, name, at, Anchor::Middle, FONT_SIZE, ink);
        }
        let middle = 0.5 * (left + right);
        label(
            &mut markup,
            &self.axis.label,
            [middle, bottom + 32.0],
            Anchor::Middle,
            FONT_SIZE,
            ink,
        );
        let names: Vec<_> = self
            .bars
            .iter()
            .map(|bar| format!("{} {}", bar.name, bar.note))
            .collect();
        let description = format!("{}: {}. {}", self.title, self.axis.label, names.join(", "));
        Ok(Picture::new(description, [WIDTH, bottom + 46.0], markup))
    }
}

impl Bar {
    fn draw(&self, markup: &mut String, left: f64, end: f64, middle: f64) {
        let look = Look(usize::from(self.is_wrong));
        let colour = look.colour().light;
        let [x, y] = [left * UNIT, (middle - 7.0) * UNIT].map(f64::round);
        let [width, height] = [(end - left) * UNIT, 14.0 * UNIT].map(f64::round);
        // Writing to a string does not fail.
        let _ = writeln!(
            markup,
            "<path fill=\"{colour}\" d=\"M{x} {y}h{width}v{height}h-{width}z\"/>"
        );
        if self.is_wrong {
            let cross = Shape::Cross.commands([end * UNIT, middle * UNIT], 6.0 * UNIT);
            let _ = writeln!(
                markup,
                "<path {} d=\"{cross}\"/>",
                crate::legend::mark(colour)
            );
        }
    }
}

fn vertical(markup: &mut String, x: f64, top: f64, bottom: f64, attributes: &str) {
    let [x, top, bottom] = [x, top, bottom].map(|place| (place * UNIT).round());
    let _ = writeln!(markup, "<path {attributes} d=\"M{x} {top}V{bottom}\"/>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_value_and_a_wrong_one_stands_out() {
        let bar = |name: &str, value: f64, is_wrong: bool| Bar {
            name: name.into(),
            value: Some(value),
            note: format!("{value} %"),
            is_wrong,
        };
        let chart = BarChart {
            title: "Errors".into(),
            axis: Axis::linear("error / budget (%)"),
            bars: vec![
                bar("sgd", 40.0, false),
                bar("adam", 80.0, false),
                bar("lion", 120.0, true),
            ],
            limit: Some((100.0, "budget".into())),
        };
        let svg = chart.picture().unwrap().svg();
        for text in ["Errors", "error / budget (%)", "sgd", "80 %", "budget"] {
            assert!(svg.contains(&format!(">{text}<")), "{text}");
        }
        let lengths = |look: usize| {
            let start = format!("<path fill=\"{}\" d=\"M", Look(look).colour().light);
            let bars = svg.lines().filter(|line| line.starts_with(&start));
            let length = |line: &str| {
                line.split(['h', 'v'])
                    .nth(2)
                    .unwrap()
                    .parse::<f64>()
                    .unwrap()
            };
            bars.map(length).collect::<Vec<_>>()
        };
        let (right, wrong) = (lengths(0), lengths(1));
        assert!((right[1] / right[0] - 2.0).abs() < 0.01, "{right:?}");
        assert!((wrong[0] / right[0] - 3.0).abs() < 0.01, "{wrong:?}");
        assert!(BarChart::default().picture().is_err());
    }
}
