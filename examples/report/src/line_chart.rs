//! Lines over two axes.

use std::fmt::Write;

use anyhow::Result;

use crate::axis::{Axis, Scale};
use crate::canvas::UNIT;
use crate::frame::{self, Frame, Plan, WIDTH};
use crate::legend::{self, Entry, MARK, Sample};
use crate::marker::{Look, Shape};
use crate::picture::Picture;
use crate::polyline::{Point, commands, simplified, thinned};

/// How far a point may be from the line that stands for it, in units.
pub(crate) const TOLERANCE: f64 = 0.8;
/// Marks on a line.
const MARKS: usize = 6;

/// Lines over two axes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LineChart {
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    pub series: Vec<Series>,
}

/// What kind of line a series is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Line {
    /// In the series' colour, with a few marks of its shape.
    #[default]
    Curve,
    /// As a curve, with marks where it starts and where it ends and a dot at every point.
    Path,
    /// Dashes in the colour of the text: a limit, a target, the function itself.
    Reference,
    /// Thin and grey: what others are seen against. Those of one name share an entry of the legend.
    Background,
}

/// One line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    pub name: String,
    /// From the first to the last. A point that is not finite, or not above zero on a logarithmic
    /// axis, parts the line.
    pub points: Vec<[f64; 2]>,
    /// Low and high of a band around the line, at each point.
    pub band: Option<Vec<[f64; 2]>>,
    pub line: Line,
    /// Which colour, shape and dash; by default its index among the series that are no reference.
    pub look: Option<usize>,
}

impl Series {
    pub fn curve(name: impl Into<String>, points: Vec<[f64; 2]>) -> Self {
        Self {
            name: name.into(),
            points,
            ..Self::default()
        }
    }

    pub fn path(name: impl Into<String>, points: Vec<[f64; 2]>) -> Self {
        Self {
            line: Line::Path,
            ..Self::curve(name, points)
        }
    }

    pub fn reference(name: impl Into<String>, points: Vec<[f64; 2]>) -> Self {
        Self {
            line: Line::Reference,
            ..Self::curve(name, points)
        }
    }

    pub fn background(name: impl Into<String>, points: Vec<[f64; 2]>) -> Self {
        Self {
            line: Line::Background,
            ..Self::curve(name, points)
        }
    }

    /// With low and high at each point.
    pub fn band(self, band: Vec<[f64; 2]>) -> Self {
        Self {
            band: Some(band),
            ..self
        }
    }

    /// As the `index`th series of a chart looks.
    pub fn look(self, index: usize) -> Self {
        Self {
            look: Some(index),
            ..self
        }
    }

    fn values(&self) -> impl Iterator<Item = f64> {
        let band = self.band.iter().flatten().flatten().copied();
        self.points.iter().map(|point| point[1]).chain(band)
    }
}

impl LineChart {
    /// # Errors
    /// If no point has a place on the axes.
    pub fn picture(&self) -> Result<Picture> {
        let x = self.series.iter().flat_map(|series| &series.points);
        let y = self.series.iter().flat_map(Series::values);
        let x_margin = if self.x.scale == Scale::Log {
            0.02
        } else {
            0.0
        };
        let plan = Plan {
            title: &self.title,
            x: (&self.x, self.x.over(x.map(|point| point[0]), x_margin)?),
            y: (&self.y, self.y.over(y, 0.05)?),
            height: frame::HEIGHT,
            has_grid: true,
        };
        let frame = plan.draw()?;
        let mut markup = frame.markup.clone();
        let looks = self.looks();
        let drawn: Vec<_> = self.series.iter().zip(&looks).collect();
        for (series, look) in &drawn {
            if let (Some(band), Some(look)) = (&series.band, look) {
                draw_band(&mut markup, &frame, &series.points, band, *look);
            }
        }
        let is_alone = looks.iter().flatten().count() == 1;
        let mut entries = Vec::new();
        for (index, (series, look)) in drawn.into_iter().enumerate() {
            let leaves = draw(&mut markup, &frame, series, *look, index, is_alone);
            let name = match leaves {
                true => format!("{} (leaves the frame)", series.name),
                false => series.name.clone(),
            };
            let is_plain = is_alone && series.line == Line::Curve;
            let entry = (sample(series.line, *look, is_plain), name);
            if entry.0 != Sample::Background || !entries.contains(&entry) {
                entries.push(entry);
            }
        }
        if self.series.iter().any(|series| series.line == Line::Path) {
            entries.push((Sample::Start, "start".into()));
        }
        entries.sort_by_key(|entry| entry.0 == Sample::Background);
        // One line without a name needs no legend.
        entries.retain(|entry| !entry.1.is_empty());
        let height = frame.bottom + legend::write(&mut markup, &entries, frame.bottom);
        Ok(Picture::new(self.description(), [WIDTH, height], markup))
    }

    fn description(&self) -> String {
        let mut names: Vec<_> = self.series.iter().map(|series| &*series.name).collect();
        names.dedup();
        let names = names.join(", ");
        format!(
            "{}: {} over {}. {names}",
            self.title, self.y.label, self.x.label
        )
    }

    /// Of each series; `None` for references and for what is in the background.
    fn looks(&self) -> Vec<Option<Look>> {
        let mut count = 0;
        let look = |series: &Series| {
            matches!(series.line, Line::Curve | Line::Path).then(|| {
                count += 1;
                Look(series.look.unwrap_or(count - 1))
            })
        };
        self.series.iter().map(look).collect()
    }
}

fn sample(line: Line, look: Option<Look>, is_plain: bool) -> Sample {
    match look {
        None if line == Line::Background => Sample::Background,
        None => Sample::Reference,
        Some(look) if is_plain => Sample::PlainLine(look),
        Some(look) => Sample::Line(look),
    }
}

/// The pieces between points without a place.
pub(crate) fn pieces(frame: &Frame, points: &[Point]) -> Vec<Vec<Point>> {
    let places: Vec<_> = points.iter().map(|point| frame.place(*point)).collect();
    let pieces = places.split(Option::is_none);
    let pieces = pieces.map(|piece| piece.iter().copied().flatten().collect());
    pieces
        .filter(|piece: &Vec<Point>| !piece.is_empty())
        .collect()
}

/// Draws a line; whether any of it is outside.
fn draw(
    markup: &mut String,
    frame: &Frame,
    series: &Series,
    look: Option<Look>,
    index: usize,
    is_alone: bool,
) -> bool {
    let pieces = pieces(frame, &series.points);
    let mut path = String::new();
    for piece in &pieces {
        for inside in frame.rect.clip(piece) {
            let is_ordered = inside.windows(2).all(|pair| pair[0][0] <= pair[1][0]);
            let thin = match is_ordered && inside.len() > 1000 {
                true => thinned(&inside, 0.5 * UNIT),
                false => inside,
            };
            path.push_str(&commands(&simplified(&thin, TOLERANCE), false));
        }
    }
    let attributes = match look {
        Some(look) => legend::stroke(look),
        None if series.line == Line::Background => legend::background(),
        None => legend::REFERENCE.to_owned(),
    };
    // Writing to a string does not fail.
    let _ = writeln!(markup, "<path {attributes} d=\"{path}\"/>");
    if let Some(look) = look {
        match series.line {
            Line::Path => draw_ends(markup, frame, &pieces, look),
            _ if is_alone => {}
            _ => draw_marks(markup, frame, &pieces, look, index),
        }
    }
    let outside = |point: &Point| !frame.rect.contains(*point);
    series.line == Line::Path && pieces.iter().flatten().any(outside)
}

/// A few marks along a line, at other places for each series.
fn draw_marks(markup: &mut String, frame: &Frame, pieces: &[Vec<Point>], look: Look, index: usize) {
    let inside = pieces
        .iter()
        .flatten()
        .filter(|point| frame.rect.contains(**point));
    let inside: Vec<_> = inside.copied().collect();
    let shift = index as f64 * 0.618 % 1.0;
    let width = frame.rect.high[0] - frame.rect.low[0];
    let mut marks = String::new();
    let mut last = None;
    for k in 0..MARKS {
        let wanted = frame.rect.low[0] + width * (k as f64 + shift) / MARKS as f64;
        let off = |index: &usize| (inside[*index][0] - wanted).abs();
        let nearest = (0..inside.len()).min_by(|a, b| off(a).total_cmp(&off(b)));
        let near = nearest.filter(|index| inside.len() < 2 * MARKS || off(index) < width / 12.0);
        if let Some(index) = near.filter(|_| last != near) {
            last = near;
            marks.push_str(&look.shape().commands(inside[index], MARK * UNIT));
        }
    }
    let attributes = legend::mark(look.colour().light);
    let _ = writeln!(markup, "<path {attributes} d=\"{marks}\"/>");
}

/// Where a path starts and where it ends, if that is inside, and dots between.
pub(crate) fn draw_ends(markup: &mut String, frame: &Frame, pieces: &[Vec<Point>], look: Look) {
    let all = || pieces.iter().flatten().copied();
    let inside = |point: &Point| frame.rect.contains(*point);
    let mut dots = String::new();
    let mut last: Option<Point> = None;
    for point in all().filter(inside) {
        // As many as can be told apart.
        if last.is_none_or(|last| (point[0] - last[0]).hypot(point[1] - last[1]) > 7.0 * UNIT) {
            let [x, y] = point.map(|place| place.round() as i64);
            let _ = write!(dots, "M{x} {y}h0");
            last = Some(point);
        }
    }
    let colour = look.colour().light;
    let _ = writeln!(
        markup,
        "<path stroke=\"{colour}\" stroke-width=\"16\" stroke-linecap=\"round\" d=\"{dots}\"/>"
    );
    if let Some(start) = all().next().filter(inside) {
        let circle = Shape::Circle.commands(start, 5.0 * UNIT);
        let _ = writeln!(markup, "<path {} d=\"{circle}\"/>", legend::start());
    }
    if let Some(end) = all().last().filter(inside) {
        let shape = look.shape().commands(end, 6.5 * UNIT);
        let _ = writeln!(markup, "<path {} d=\"{shape}\"/>", legend::mark(colour));
    }
}

fn draw_band(markup: &mut String, frame: &Frame, points: &[Point], band: &[Point], look: Look) {
    let edges: Vec<_> = points.iter().zip(band).collect();
    let edge = |side: usize| {
        let places = edges
            .iter()
            .map(|(point, band)| frame.place([point[0], band[side]]));
        let line: Vec<_> = places.flatten().collect();
        simplified(&thinned(&line, 0.5 * UNIT), TOLERANCE)
    };
    let mut outline = edge(0);
    outline.extend(edge(1).into_iter().rev());
    let path = commands(&frame.rect.clip_polygon(&outline), true);
    let colour = look.colour().light;
    let _ = writeln!(
        markup,
        "<path fill=\"{colour}\" fill-opacity=\".2\" d=\"{path}\"/>"
    );
}

/// Entries that a map of trajectories shares with a chart.
pub(crate) fn ends_entries(has_minima: bool) -> Vec<Entry> {
    let mut entries = vec![(Sample::Start, "start".to_owned())];
    if has_minima {
        entries.push((Sample::Minimum, "minimum".to_owned()));
    }
    entries
}
