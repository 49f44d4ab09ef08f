//! A backend for plotters that writes SVG without repetition: what is the same on most elements
//! stands on the picture once.

use std::convert::Infallible;
use std::fmt::Write;

use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind,
    FontTransform,
};

use crate::text;

/// Units per pixel: plotters counts in whole numbers, and curves want finer ones.
pub const UNIT: f64 = 4.0;
/// Of text, in pixels.
pub const FONT_SIZE: f64 = 14.0;

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

/// Adds elements to `markup`.
pub struct Canvas<'a> {
    pub size: (u32, u32),
    pub markup: &'a mut String,
}

impl Canvas<'_> {
    fn add(&mut self, element: std::fmt::Arguments<'_>) -> Drawn {
        // Writing to a string does not fail.
        let _ = self.markup.write_fmt(element);
        Ok(())
    }
}

fn hex(BackendColor { rgb, .. }: BackendColor) -> String {
    format!("#{:02X}{:02X}{:02X}", rgb.0, rgb.1, rgb.2)
}

/// Nobody sees it.
fn is_clear(style: &impl BackendStyle) -> bool {
    style.color().alpha == 0.0
}

fn stroke(style: &impl BackendStyle) -> String {
    let width = style.stroke_width();
    format!("stroke=\"{}\" stroke-width=\"{width}\"", hex(style.color()))
}

fn paint(style: &impl BackendStyle, fill: bool) -> String {
    match fill {
        true => format!("fill=\"{}\"", hex(style.color())),
        false => format!("fill=\"none\" {}", stroke(style)),
    }
}

fn points(path: impl IntoIterator<Item = BackendCoord>) -> String {
    let points = path.into_iter().map(|(x, y)| format!("{x},{y}"));
    points.collect::<Vec<_>>().join(" ")
}

impl DrawingBackend for Canvas<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, color: BackendColor) -> Drawn {
        let fill = hex(color);
        self.add(format_args!(
            "<path fill=\"{fill}\" d=\"M{x} {y}h1v1h-1z\"/>\n"
        ))
    }

    fn draw_line<S: BackendStyle>(&mut self, a: BackendCoord, b: BackendCoord, style: &S) -> Drawn {
        if is_clear(style) {
            return Ok(());
        }
        let stroke = stroke(style);
        self.add(format_args!(
            "<path {stroke} d=\"M{} {}L{} {}\"/>\n",
            a.0, a.1, b.0, b.1
        ))
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        upper_left: BackendCoord,
        bottom_right: BackendCoord,
        style: &S,
        fill: bool,
    ) -> Drawn {
        if is_clear(style) {
            return Ok(());
        }
        let paint = paint(style, fill);
        self.add(format_args!(
            "<rect {paint} x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>\n",
            upper_left.0,
            upper_left.1,
            bottom_right.0 - upper_left.0,
            bottom_right.1 - upper_left.1
        ))
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Drawn {
        if is_clear(style) {
            return Ok(());
        }
        let (paint, points) = (paint(style, false), points(path));
        self.add(format_args!("<polyline {paint} points=\"{points}\"/>\n"))
    }

    fn draw_circle<S: BackendStyle>(
        &mut self,
        (x, y): BackendCoord,
        radius: u32,
        style: &S,
        fill: bool,
    ) -> Drawn {
        if is_clear(style) {
            return Ok(());
        }
        let paint = paint(style, fill);
        self.add(format_args!(
            "<circle {paint} cx=\"{x}\" cy=\"{y}\" r=\"{radius}\"/>\n"
        ))
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Drawn {
        if is_clear(style) {
            return Ok(());
        }
        let (paint, points) = (paint(style, true), points(path));
        self.add(format_args!("<polygon {paint} points=\"{points}\"/>\n"))
    }

    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, at: BackendCoord) -> Drawn {
        if style.color().alpha == 0.0 || text.is_empty() {
            return Ok(());
        }
        let anchor = match style.anchor().h_pos {
            HPos::Left => Anchor::Start,
            HPos::Center => Anchor::Middle,
            HPos::Right => Anchor::End,
        };
        // From the line that letters stand on.
        let down = match style.anchor().v_pos {
            VPos::Top => 0.76,
            VPos::Center => 0.35,
            VPos::Bottom => -0.24,
        };
        let label = Label {
            at: [f64::from(at.0), f64::from(at.1)],
            down,
            anchor,
            size: style.size() / UNIT,
            colour: &hex(style.color()),
            is_bold: false,
            is_upright: matches!(style.transform(), FontTransform::Rotate270),
        };
        label.write(self.markup, text);
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

/// A line of text.
#[derive(Clone, Copy, Debug)]
pub struct Label<'a> {
    /// In units.
    pub at: [f64; 2],
    /// How far the line that letters stand on is below `at`, in parts of the size.
    pub down: f64,
    pub anchor: Anchor,
    /// In pixels.
    pub size: f64,
    pub colour: &'a str,
    pub is_bold: bool,
    /// Read from below.
    pub is_upright: bool,
}

impl Label<'_> {
    pub fn write(&self, markup: &mut String, text: &str) {
        let [x, y] = self.at.map(|place| place.round());
        let down = (self.down * self.size * UNIT).round();
        let place = match self.is_upright {
            true => format!("transform=\"translate({x} {y})rotate(-90)\" y=\"{down}\""),
            false => format!("x=\"{x}\" y=\"{}\"", y + down),
        };
        let anchor = match self.anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let size = match self.size == FONT_SIZE {
            true => String::new(),
            false => format!(" font-size=\"{}\"", (self.size * UNIT).round()),
        };
        let weight = if self.is_bold {
            " font-weight=\"600\""
        } else {
            ""
        };
        let (colour, text) = (self.colour, text::escaped(text));
        // Writing to a string does not fail.
        let _ = writeln!(
            markup,
            "<text {place} fill=\"{colour}\"{anchor}{size}{weight}>{text}</text>"
        );
    }
}

/// Writes a line of text with its middle at the height of `at`; in pixels.
pub fn label(
    markup: &mut String,
    text: &str,
    at: [f64; 2],
    anchor: Anchor,
    size: f64,
    colour: &str,
) {
    let label = Label {
        at: at.map(|place| place * UNIT),
        down: 0.35,
        anchor,
        size,
        colour,
        is_bold: false,
        is_upright: false,
    };
    label.write(markup, text);
}
