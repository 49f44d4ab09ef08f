//! Lines over two axes.

use std::fmt::Write;

use anyhow::Result;

use crate::axis::{Axis, Scale};
use crate::canvas::UNIT;
use crate::frame::{self, Frame, Plan};
use crate::legend::{self, Entry, MARK, Sample};
use crate::marker::{Look, Shape};
use crate::picture::Picture;
use crate::polyline::{Point, commands, simplified, thinned};

/// How far a point may be from the line that stands for it, in units.
pub(crate) const TOLERANCE: f64 = 0.8;
/// Of a small picture, in pixels.
const SMALL: [f64; 2] = [336.0, 230.0];
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
        self.sized([frame::WIDTH, frame::HEIGHT])
    }

    /// One of many: two thirds as wide, with text of the same size.
    ///
    /// # Errors
    /// If no point has a place on the axes.
    pub fn small_picture(&self) -> Result<Picture> {
        self.sized(SMALL)
    }

    fn sized(&self, size: [f64; 2]) -> Result<Picture> {
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
            size,
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
        let leave = drawn
            .into_iter()
            .enumerate()
            .map(|(index, (series, look))| {
                draw(&mut markup, &frame, series, *look, index, is_alone) && look.is_some()
            });
        let leave: Vec<bool> = leave.collect();
        let entries = self.entries(&looks, &leave);
        let height = frame.bottom + legend::write(&mut markup, &entries, frame.bottom, frame.width);
        Ok(Picture::new(
            self.description(),
            [frame.width, height],
            markup,
        ))
    }

    /// The legend. `leave` says of each series whether it leaves the frame.
    fn entries(&self, looks: &[Option<Look>], leave: &[bool]) -> Vec<Entry> {
        let count = looks.iter().flatten().count();
        let all_leave = count > 1 && leave.iter().filter(|leaves| **leaves).count() == count;
        let mut entries = Vec::new();
        for ((series, look), leaves) in self.series.iter().zip(looks).zip(leave) {
            let name = match *leaves && !all_leave {
                true => format!("{} (leaves the frame)", series.name),
                false => series.name.clone(),
            };
            let is_plain = count == 1 && series.line == Line::Curve;
            let entry = (sample(series.line, *look, is_plain), name);
            if entry.0 != Sample::Background || !entries.contains(&entry) {
                entries.push(entry);
            }
        }
        if self.series.iter().any(|series| series.line == Line::Path) {
            entries.push((Sample::Start, "start".into()));
        }
        entries.sort_by_key(|entry| entry.0 == Sample::Background);
        if all_leave {
            entries.push((Sample::None, "All lines leave the frame.".into()));
        }
        // One line without a name needs no legend.
        entries.retain(|entry| !entry.1.is_empty());
        entries
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
            Line::Path => {
                draw_dots(markup, frame, &pieces, look);
                draw_start(markup, frame, &series.points);
                draw_end(markup, frame, &series.points, look);
            }
            _ if is_alone => {}
            _ => draw_marks(markup, frame, &pieces, look, index),
        }
    }
    match series.line {
        Line::Reference | Line::Background => false,
        // A loss that is not finite is no way out.
        Line::Curve => pieces
            .iter()
            .flatten()
            .any(|place| !frame.rect.contains(*place)),
        Line::Path => series
            .points
            .iter()
            .any(|point| frame.inside(*point).is_none()),
    }
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

/// Dots at the points of a path, as many as can be told apart.
pub(crate) fn draw_dots(markup: &mut String, frame: &Frame, pieces: &[Vec<Point>], look: Look) {
    let mut dots = String::new();
    let mut last: Option<Point> = None;
    let inside = |point: &&Point| frame.rect.contains(**point);
    for point in pieces.iter().flatten().filter(inside) {
        if last.is_none_or(|last| (point[0] - last[0]).hypot(point[1] - last[1]) > 7.0 * UNIT) {
            let [x, y] = point.map(|place| place.round() as i64);
            let _ = write!(dots, "M{x} {y}h0");
            last = Some(*point);
        }
    }
    let colour = look.colour().light;
    let _ = writeln!(
        markup,
        "<path stroke=\"{colour}\" stroke-width=\"16\" stroke-linecap=\"round\" d=\"{dots}\"/>"
    );
}

/// Where a path starts, if that is inside.
pub(crate) fn draw_start(markup: &mut String, frame: &Frame, path: &[Point]) {
    if let Some(start) = path.first().and_then(|point| frame.inside(*point)) {
        let circle = Shape::Circle.commands(start, 5.0 * UNIT);
        let _ = writeln!(markup, "<path {} d=\"{circle}\"/>", legend::start());
    }
}

/// Where a path ends, if that is inside.
pub(crate) fn draw_end(markup: &mut String, frame: &Frame, path: &[Point], look: Look) {
    if let Some(end) = path.last().and_then(|point| frame.inside(*point)) {
        let shape = look.shape().commands(end, 6.5 * UNIT);
        let attributes = legend::mark(look.colour().light);
        let _ = writeln!(markup, "<path {attributes} d=\"{shape}\"/>");
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

#[cfg(test)]
mod tests {
    use resvg::usvg::roxmltree::{Document, Node};

    use super::*;

    fn chart(series: Vec<Series>) -> LineChart {
        LineChart {
            title: "Loss of SGD & Adam".into(),
            x: Axis::linear("time (s)"),
            y: Axis::log("loss (nats)"),
            series,
        }
    }

    fn curve(name: &str, scale: f64) -> Series {
        let points = (0..100).map(|k| [f64::from(k), scale * 0.9f64.powi(k)]);
        Series::curve(name, points.collect())
    }

    fn texts<'a>(document: &'a Document<'a>) -> Vec<&'a str> {
        let texts = document
            .descendants()
            .filter(|node| node.has_tag_name("text"));
        texts.filter_map(|node| node.text()).collect()
    }

    fn paths<'a>(
        document: &'a Document<'a>,
        attribute: &'a str,
    ) -> impl Iterator<Item = Node<'a, 'a>> {
        let paths = document
            .descendants()
            .filter(|node| node.has_tag_name("path"));
        paths.filter(move |node| node.has_attribute(attribute))
    }

    #[test]
    fn a_chart_names_axes_series_and_what_is_drawn() {
        let band = (0..100).map(|k| [0.5 * 0.9f64.powi(k), 2.0 * 0.9f64.powi(k)]);
        let target = Series::reference("target", vec![[0.0, 0.1], [99.0, 0.1]]);
        let svg = chart(vec![
            curve("sgd", 1.0).band(band.collect()),
            curve("adam", 2.0),
            target,
        ]);
        let svg = svg.picture().unwrap().svg();
        let document = Document::parse(&svg).unwrap();
        let texts = texts(&document);
        for text in [
            "Loss of SGD & Adam",
            "time (s)",
            "loss (nats)",
            "sgd",
            "adam",
            "target",
            "0.1",
        ] {
            assert!(texts.contains(&text), "{text} is not in {texts:?}");
        }
        assert!(!texts.contains(&"start"));
        assert_eq!(paths(&document, "fill-opacity").count(), 1);
        // The target, in the chart and in the legend.
        assert_eq!(paths(&document, "stroke-dasharray").count(), 2);
    }

    #[test]
    fn series_differ_in_colour_and_in_shape() {
        let svg = chart(vec![curve("sgd", 1.0), curve("adam", 2.0)])
            .picture()
            .unwrap()
            .svg();
        let marks = |look: Look| {
            let start = format!("<path fill=\"{}\"", look.colour().light);
            let lines = svg.lines().filter(|line| line.starts_with(&start));
            lines.collect::<String>()
        };
        // Circles are arcs, squares are not; some on the line and one in the legend.
        let [circles, squares] = [marks(Look(0)), marks(Look(1))];
        assert!(circles.contains('a') && !squares.contains("a16"));
        for marks in [circles, squares] {
            let count = marks.matches('z').count();
            assert!((4..=MARKS + 1).contains(&count), "{count}");
        }
    }

    #[test]
    fn the_legend_is_below_the_data() {
        let picture = chart(vec![curve("sgd", 1.0), curve("adam", 2.0)])
            .picture()
            .unwrap();
        let svg = picture.svg();
        let document = Document::parse(&svg).unwrap();
        let y = |text: &str| {
            let node = document
                .descendants()
                .find(|node| node.text() == Some(text));
            node.unwrap()
                .attribute("y")
                .unwrap()
                .parse::<f64>()
                .unwrap()
        };
        assert!(y("adam") > y("time (s)") && y("sgd") > y("time (s)"));
        assert!(y("adam") < picture.size()[1] * UNIT);
    }

    #[test]
    fn a_path_that_leaves_the_frame_is_cut_and_said_so() {
        let mut chart = chart(vec![Series::path(
            "sgd",
            vec![[0.0, 1.0], [5.0, 2.0], [9.0, 1e9]],
        )]);
        chart.y = Axis::linear("f").range(0.0, 3.0);
        let picture = chart.picture().unwrap();
        let svg = picture.svg();
        let document = Document::parse(&svg).unwrap();
        let texts = texts(&document);
        assert!(texts.contains(&"sgd (leaves the frame)") && texts.contains(&"start"));
        // No coordinate is outside of the picture.
        let far = svg
            .split(['M', 'l', '-', ' ', '"'])
            .filter_map(|word| word.parse::<f64>().ok());
        assert!(far.fold(0.0, f64::max) < 1e4);
        chart.y = Axis::linear("f");
        assert!(!chart.picture().unwrap().svg().contains("leaves the frame"));
    }

    #[test]
    fn if_all_lines_leave_the_frame_one_remark_says_so() {
        let rising = |name: &str| Series::curve(name, vec![[0.0, 1.0], [9.0, 5.0]]);
        let others =
            [(); 2].map(|()| Series::background("the others", vec![[0.0, 1.0], [9.0, 9.0]]));
        let mut chart = chart(
            others
                .into_iter()
                .chain([rising("sgd"), rising("adam")])
                .collect(),
        );
        chart.y = Axis::linear("f").range(0.0, 3.0);
        let svg = chart.picture().unwrap().svg();
        let document = Document::parse(&svg).unwrap();
        let texts = texts(&document);
        let names = ["sgd", "adam", "the others", "All lines leave the frame."];
        let legend = texts.iter().filter(|text| names.contains(text));
        assert!(legend.eq(&names), "{texts:?}");
        chart
            .series
            .push(Series::curve("lion", vec![[0.0, 1.0], [9.0, 1.0]]));
        let svg = chart.picture().unwrap().svg();
        assert!(svg.contains("adam (leaves the frame)") && !svg.contains("All lines"));
    }

    #[test]
    fn a_value_without_a_place_parts_the_line() {
        let points = vec![
            [0.0, 1.0],
            [1.0, 2.0],
            [2.0, f64::NAN],
            [3.0, 0.0],
            [4.0, 1.0],
            [5.0, 2.0],
        ];
        let svg = chart(vec![Series::curve("sgd", points)])
            .picture()
            .unwrap()
            .svg();
        let line = svg
            .lines()
            .find(|line| line.contains("stroke-linejoin"))
            .unwrap();
        assert_eq!(line.matches('M').count(), 2);
        let nothing = chart(vec![Series::curve("sgd", vec![[0.0, f64::NAN]])]).picture();
        assert!(nothing.unwrap_err().to_string().contains("loss (nats)"));
    }

    #[test]
    fn a_long_noisy_line_stays_small() {
        let points = (0..100_000).map(|k| {
            let noise = f64::from(k).sin() * 43_758.5;
            [f64::from(k), 1.0 + noise.fract().abs()]
        });
        let svg = chart(vec![Series::curve("sgd", points.collect())])
            .picture()
            .unwrap()
            .svg();
        assert!(svg.len() < 40_000, "{}", svg.len());
    }
}
