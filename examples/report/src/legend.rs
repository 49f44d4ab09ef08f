//! What is what, below the data, where it covers nothing.

use std::fmt::Write;

use crate::canvas::{Anchor, FONT_SIZE, UNIT, label};
use crate::marker::{Look, Shape};
use crate::palette;
use crate::text;

const LINE: f64 = 20.0;
const MARGIN: f64 = 12.0;
/// From an entry's sample to its text.
const SAMPLE: f64 = 34.0;
const GAP: f64 = 16.0;
/// Marks, from the middle to the tips.
pub const MARK: f64 = 4.5;

/// What stands before a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// A series' line, with its shape.
    Line(Look),
    /// A series' line without a shape, since it is the only one.
    PlainLine(Look),
    /// A line that is no series.
    Reference,
    /// A line that others are seen against.
    Background,
    /// A field in a series' colour.
    Field(Look),
    /// Where trajectories start.
    Start,
    /// Where a function is lowest.
    Minimum,
    /// A remark.
    None,
}

/// A name with a sample of how it looks.
pub type Entry = (Sample, String);

/// Writes the entries of a picture of `width` below `top`; how high they are. All in pixels.
pub fn write(markup: &mut String, entries: &[Entry], top: f64, width: f64) -> f64 {
    if entries.is_empty() {
        return 0.0;
    }
    let (named, remarks): (Vec<_>, Vec<_>) =
        entries.iter().partition(|entry| entry.0 != Sample::None);
    let widths: Vec<_> = named
        .iter()
        .map(|entry| SAMPLE + text::width(&entry.1) * FONT_SIZE + GAP)
        .collect();
    let places = places(&widths, width - 2.0 * MARGIN + GAP);
    for ((sample, name), [left, row]) in named.iter().zip(&places) {
        let middle = top + LINE * (row + 0.5);
        sample.write(markup, *left, middle);
        line(markup, name, left + SAMPLE, middle);
    }
    let mut row = places.last().map_or(0.0, |place| place[1] + 1.0);
    for (_, remark) in remarks {
        for part in text::lines(remark, (width - 2.0 * MARGIN) / FONT_SIZE) {
            line(markup, &part, MARGIN, top + LINE * (row + 0.5));
            row += 1.0;
        }
    }
    LINE * row + 8.0
}

/// Left edge and row of entries within `room`: in columns where there are two or more, else one
/// behind the other.
fn places(widths: &[f64], room: f64) -> Vec<[f64; 2]> {
    let column = widths.iter().copied().fold(1.0, f64::max);
    let columns = (room / column) as usize;
    if columns >= 2 {
        let place = |index: usize| {
            [
                MARGIN + column * (index % columns) as f64,
                (index / columns) as f64,
            ]
        };
        return (0..widths.len()).map(place).collect();
    }
    let (mut left, mut row) = (0.0, 0.0);
    let place = |width: &f64| {
        if left > 0.0 && left + width > room {
            (left, row) = (0.0, row + 1.0);
        }
        left += width;
        [MARGIN + left - width, row]
    };
    widths.iter().map(place).collect()
}

fn line(markup: &mut String, text: &str, left: f64, middle: f64) {
    let ink = palette::INK.light;
    label(markup, text, [left, middle], Anchor::Start, FONT_SIZE, ink);
}

/// The attributes of a series' line.
pub fn stroke(look: Look) -> String {
    let colour = look.colour().light;
    let dash = look
        .dash()
        .iter()
        .map(|part| (part * UNIT as u32).to_string());
    let dash: Vec<_> = dash.collect();
    let dash = match dash.is_empty() {
        true => String::new(),
        false => format!(" stroke-dasharray=\"{}\"", dash.join(" ")),
    };
    format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"8\" stroke-linejoin=\"round\"{dash}")
}

/// The attributes of a line that is no series.
pub const REFERENCE: &str =
    "fill=\"none\" stroke=\"#1B1F24\" stroke-width=\"6\" stroke-dasharray=\"20 14\"";

/// The attributes of a line that others are seen against.
pub fn background() -> String {
    let colour = palette::BACKGROUND.light;
    format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"5\" stroke-linejoin=\"round\"")
}

/// The attributes of marks in a colour, with a rim that parts them from lines.
pub fn mark(colour: &str) -> String {
    let rim = palette::PAPER.light;
    format!("fill=\"{colour}\" stroke=\"{rim}\" stroke-width=\"3\"")
}

/// The attributes of the mark where trajectories start.
pub fn start() -> String {
    let (fill, rim) = (palette::PAPER.light, palette::INK.light);
    format!("fill=\"{fill}\" stroke=\"{rim}\" stroke-width=\"8\"")
}

impl Sample {
    fn write(self, markup: &mut String, left: f64, middle: f64) {
        let [x, y] = [left * UNIT, middle * UNIT].map(f64::round);
        let centre = [x + 13.0 * UNIT, y];
        let line = format!("M{x} {y}h{}", 26.0 * UNIT);
        // Writing to a string does not fail.
        let mut path = |attributes: &str, commands: &str| {
            let _ = writeln!(markup, "<path {attributes} d=\"{commands}\"/>");
        };
        match self {
            Self::Line(look) => {
                path(&stroke(look), &line);
                let shape = look.shape().commands(centre, MARK * UNIT);
                path(&mark(look.colour().light), &shape);
            }
            Self::PlainLine(look) => path(&stroke(look), &line),
            Self::Reference => path(REFERENCE, &line),
            Self::Background => path(&background(), &line),
            Self::Field(look) => {
                let [x, y] = [x + 4.0 * UNIT, y - 6.0 * UNIT];
                let field = format!("M{x} {y}h{0}v{1}h-{0}z", 18.0 * UNIT, 12.0 * UNIT);
                path(&format!("fill=\"{}\"", look.colour().light), &field);
            }
            Self::Start => path(&start(), &Shape::Circle.commands(centre, 5.0 * UNIT)),
            Self::Minimum => path(
                &mark(palette::INK.light),
                &Shape::Star.commands(centre, 6.0 * UNIT),
            ),
            Self::None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stand_in_columns_or_where_they_fit() {
        let columns = places(&[200.0, 210.0, 190.0], 470.0);
        assert_eq!(columns, [[12.0, 0.0], [222.0, 0.0], [12.0, 1.0]]);
        let flowing = places(&[300.0, 80.0, 80.0, 90.0], 470.0);
        assert_eq!(
            flowing,
            [[12.0, 0.0], [312.0, 0.0], [392.0, 0.0], [12.0, 1.0]]
        );
    }
}
