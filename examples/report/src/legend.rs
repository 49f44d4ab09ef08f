//! What is what, below the data, where it covers nothing.

use std::fmt::Write;

use crate::canvas::{Anchor, FONT_SIZE, Label, UNIT};
use crate::frame::WIDTH;
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

/// Writes the entries below `top`; how high they are. All in pixels.
pub fn write(markup: &mut String, entries: &[Entry], top: f64) -> f64 {
    if entries.is_empty() {
        return 0.0;
    }
    let (named, remarks): (Vec<_>, Vec<_>) =
        entries.iter().partition(|entry| entry.0 != Sample::None);
    let widest = named.iter().map(|entry| text::width(&entry.1) * FONT_SIZE);
    let column = SAMPLE + widest.fold(0.0, f64::max) + GAP;
    let columns = (((WIDTH - 2.0 * MARGIN + GAP) / column) as usize).clamp(1, named.len().max(1));
    let mut row = 0;
    for (index, (sample, name)) in named.iter().enumerate() {
        let left = MARGIN + column * (index % columns) as f64;
        row = index / columns + 1;
        let middle = top + LINE * ((index / columns) as f64 + 0.5);
        sample.write(markup, left, middle);
        line(markup, name, left + SAMPLE, middle);
    }
    for (_, remark) in remarks {
        for part in text::lines(remark, (WIDTH - 2.0 * MARGIN) / FONT_SIZE) {
            line(markup, &part, MARGIN, top + LINE * (row as f64 + 0.5));
            row += 1;
        }
    }
    LINE * row as f64 + 8.0
}

fn line(markup: &mut String, text: &str, left: f64, middle: f64) {
    let label = Label {
        at: [left * UNIT, middle * UNIT],
        down: 0.35,
        anchor: Anchor::Start,
        size: FONT_SIZE,
        colour: palette::INK.light,
        is_bold: false,
        is_upright: false,
    };
    label.write(markup, text);
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
