//! The frame of a chart: title, axes, ticks and grid, drawn by plotters, and where data goes in it.

use anyhow::Result;
use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::prelude::*;

use crate::axis::{Axis, Span, Tick};
use crate::canvas::{Anchor, Canvas, FONT_SIZE, Label, UNIT};
use crate::palette::{self, Colour};
use crate::polyline::{Point, Rect};
use crate::text;

/// Of a picture, in pixels.
pub const WIDTH: f64 = 480.0;
/// Of axes, data and what is between them, in pixels.
pub const HEIGHT: f64 = 330.0;
const TITLE_SIZE: f64 = 16.0;
/// How much wider bold text is.
const BOLD: f64 = 1.13;
const TITLE_LINE: f64 = 21.0;
const TICK_SIZE: f64 = 13.0;

/// What is around the data.
pub struct Plan<'a> {
    pub title: &'a str,
    pub x: (&'a Axis, Span),
    pub y: (&'a Axis, Span),
    /// Of the axes and the data in pixels, without the title.
    pub size: [f64; 2],
    /// Whether lines go through the data from the ticks.
    pub has_grid: bool,
}

/// A place for data.
pub struct Frame {
    pub rect: Rect,
    pub x: Span,
    pub y: Span,
    /// Of the picture, in pixels.
    pub width: f64,
    /// Down to the lowest label, in pixels.
    pub bottom: f64,
    /// The elements of axes and labels.
    pub markup: String,
}

impl Frame {
    /// Where a point of the data is, in units of the picture; `None` for what has no place on an
    /// axis.
    pub fn place(&self, [x, y]: Point) -> Option<Point> {
        let Rect { low, high } = self.rect;
        let (x, y) = (self.x.part(x)?, self.y.part(y)?);
        // Far outside is outside: keeps sums finite.
        let [x, y] = [x, y].map(|part| part.clamp(-1e6, 1e6));
        Some([
            low[0] + x * (high[0] - low[0]),
            high[1] - y * (high[1] - low[1]),
        ])
    }

    /// Where a point of the data is, if that is within the frame.
    pub fn inside(&self, point: Point) -> Option<Point> {
        self.place(point).filter(|place| self.rect.contains(*place))
    }

    /// The line around the data.
    pub fn outline(&self) -> String {
        let Rect { low, high } = self.rect;
        format!(
            "<rect fill=\"none\" stroke=\"{}\" stroke-width=\"4\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>\n",
            palette::FAINT_INK.light,
            low[0],
            low[1],
            high[0] - low[0],
            high[1] - low[1]
        )
    }
}

/// In units.
fn units(pixels: f64) -> i32 {
    (pixels * UNIT).round() as i32
}

pub fn rgb(colour: Colour) -> RGBColor {
    let part = |at: usize| u8::from_str_radix(&colour.light[at..at + 2], 16).unwrap_or_default();
    RGBColor(part(1), part(3), part(5))
}

/// In lines of about the same length.
fn balanced(title: &str, most: f64) -> Vec<String> {
    let lines = text::lines(title, most);
    let even = text::width(title) / lines.len().max(1) as f64 + 3.0;
    let even = text::lines(title, even.min(most));
    if even.len() == lines.len() {
        even
    } else {
        lines
    }
}

/// Writes a title in as many lines as it needs; how high they are, in pixels.
pub fn title(markup: &mut String, title: &str, width: f64) -> f64 {
    let lines = balanced(title, (width - 16.0) / (BOLD * TITLE_SIZE));
    for (index, line) in lines.iter().enumerate() {
        let label = Label {
            at: [0.5 * width * UNIT, (6.0 + TITLE_LINE * index as f64) * UNIT],
            down: 0.9,
            anchor: Anchor::Middle,
            size: TITLE_SIZE,
            colour: palette::INK.light,
            is_bold: true,
            is_upright: false,
        };
        label.write(markup, line);
    }
    TITLE_LINE * lines.len() as f64 + if lines.is_empty() { 4.0 } else { 10.0 }
}

impl Plan<'_> {
    pub fn draw(&self) -> Result<Frame> {
        let mut markup = String::new();
        let [width, height] = self.size;
        let top = title(&mut markup, self.title, width);
        let bottom = top + height;
        let x_ticks = self.x.1.ticks((width / 80.0) as usize);
        let y_ticks = self.y.1.ticks((height / 55.0) as usize);
        let canvas = Canvas {
            size: (units(width) as u32, units(bottom) as u32),
            markup: &mut markup,
        };
        let area = canvas.into_drawing_area();
        let widest = y_ticks.iter().map(|(_, text)| text::width(text));
        let widest = widest.fold(0.0, f64::max) * TICK_SIZE;
        let mut chart = ChartBuilder::on(&area)
            .margin_top(units(top))
            .margin_left(units(4.0))
            .margin_right(units(18.0))
            .margin_bottom(units(4.0))
            .x_label_area_size(units(42.0))
            .y_label_area_size(units(widest + FONT_SIZE + 18.0))
            .build_cartesian_2d(
                Divided::new(self.x.1, &x_ticks),
                Divided::new(self.y.1, &y_ticks),
            )?;
        let tick_style = ("sans-serif", units(TICK_SIZE));
        let mut mesh = chart.configure_mesh();
        if !self.has_grid {
            mesh.disable_mesh();
        }
        mesh.bold_line_style(rgb(palette::RULED).stroke_width(units(1.0) as u32))
            .light_line_style(TRANSPARENT)
            .axis_style(rgb(palette::FAINT_INK).stroke_width(units(1.0) as u32))
            .label_style(tick_style.into_font().color(&rgb(palette::FAINT_INK)))
            .axis_desc_style(
                ("sans-serif", units(FONT_SIZE))
                    .into_font()
                    .color(&rgb(palette::INK)),
            )
            .set_all_tick_mark_size(units(4.0))
            .x_desc(&self.x.0.label)
            .y_desc(&self.y.0.label)
            .x_label_formatter(&|place| text_of(&x_ticks, *place))
            .y_label_formatter(&|place| text_of(&y_ticks, *place))
            .draw()?;
        let (columns, rows) = chart.plotting_area().get_pixel_range();
        drop(chart);
        drop(area);
        Ok(Frame {
            rect: Rect {
                low: [f64::from(columns.start), f64::from(rows.start)],
                high: [f64::from(columns.end), f64::from(rows.end)],
            },
            x: self.x.1,
            y: self.y.1,
            width,
            bottom,
            markup,
        })
    }
}

/// An axis as plotters wants it.
struct Divided {
    span: Span,
    places: Vec<f64>,
}

impl Divided {
    fn new(span: Span, ticks: &[Tick]) -> Self {
        Self {
            span,
            places: ticks.iter().map(|(place, _)| *place).collect(),
        }
    }
}

impl Ranged for Divided {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, place: &f64, limit: (i32, i32)) -> i32 {
        let part = (place - self.span.low) / (self.span.high - self.span.low);
        limit.0 + (f64::from(limit.1 - limit.0) * part).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match hint.weight().allow_light_points() {
            true => Vec::new(),
            false => self.places.clone(),
        }
    }

    fn range(&self) -> Range<f64> {
        self.span.low..self.span.high
    }
}

fn text_of(ticks: &[Tick], place: f64) -> String {
    let tick = ticks.iter().find(|tick| tick.0 == place);
    tick.map_or_else(String::new, |tick| tick.1.clone())
}
