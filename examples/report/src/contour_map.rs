//! A function of two variables seen from above, with the ways of optimizers through it.

use std::fmt::Write;

use anyhow::Result;
use contour::ContourBuilder;

use crate::axis::Axis;
use crate::frame::{Frame, Plan, WIDTH};
use crate::legend::{self, Entry, Sample};
use crate::levels::Levels;
use crate::line_chart::{self, TOLERANCE};
use crate::marker::Look;
use crate::palette;
use crate::picture::Picture;
use crate::polyline::{Point, commands, simplified};

/// Cells across and down.
const CELLS: [usize; 2] = [240, 192];
/// Of axes and data, in pixels.
const HEIGHT: f64 = 390.0;

/// A function's values over a rectangle.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    x: (f64, f64),
    y: (f64, f64),
    /// At the middles of cells, row by row from low y to high; one more cell on each side.
    values: Vec<f64>,
}

impl Grid {
    /// `value` of x and y, over the ranges `x` and `y`. It is asked for values a little beyond
    /// them, too; what is not finite counts as the highest.
    pub fn sample(x: (f64, f64), y: (f64, f64), value: impl Fn(f64, f64) -> f64) -> Self {
        let middle = |(low, high): (f64, f64), index: usize, cells: usize| {
            low + (high - low) * (index as f64 - 0.5) / cells as f64
        };
        let rows = (0..CELLS[1] + 2).map(|row| middle(y, row, CELLS[1]));
        let values = rows.flat_map(|y| {
            let value = &value;
            (0..CELLS[0] + 2).map(move |column| value(middle(x, column, CELLS[0]), y))
        });
        Self {
            x,
            y,
            values: values.collect(),
        }
    }
}

/// Contours with trajectories.
#[derive(Clone, Debug, PartialEq)]
pub struct ContourMap {
    pub title: String,
    /// The range is the grid's.
    pub x: Axis,
    /// The range is the grid's.
    pub y: Axis,
    pub grid: Grid,
    /// Where the function is lowest.
    pub minima: Vec<[f64; 2]>,
    pub paths: Vec<Trajectory>,
}

/// The way of one optimizer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trajectory {
    pub name: String,
    /// From the start on, one a step.
    pub points: Vec<[f64; 2]>,
    /// Which colour and shape; by default its index.
    pub look: Option<usize>,
}

impl ContourMap {
    /// # Errors
    /// If the function has no finite values, or only one.
    pub fn picture(&self) -> Result<Picture> {
        let [x, y] = [(&self.x, self.grid.x), (&self.y, self.grid.y)];
        let axis = |(axis, range): (&Axis, (f64, f64))| axis.clone().range(range.0, range.1);
        let [x, y] = [axis(x), axis(y)];
        let plan = Plan {
            title: &self.title,
            x: (&x, x.over([].into_iter(), 0.0)?),
            y: (&y, y.over([].into_iter(), 0.0)?),
            size: [WIDTH, HEIGHT],
            has_grid: false,
        };
        let frame = plan.draw()?;
        let levels = Levels::of(&self.grid.values)?;
        let mut markup = self.draw_levels(&frame, &levels)?;
        markup.push_str(&frame.outline());
        markup.push_str(&frame.markup);
        let mut entries = self.draw_paths(&mut markup, &frame);
        line_chart::draw_minima(&mut markup, &frame, &self.minima);
        if !self.paths.is_empty() {
            entries.extend(line_chart::ends_entries(!self.minima.is_empty()));
        } else if !self.minima.is_empty() {
            entries.push((Sample::Minimum, "minimum".into()));
        }
        entries.push((Sample::None, levels.remark()));
        let height = frame.bottom + legend::write(&mut markup, &entries, frame.bottom, WIDTH);
        Ok(Picture::new(self.description(), [WIDTH, height], markup))
    }

    fn description(&self) -> String {
        let names: Vec<_> = self.paths.iter().map(|path| &*path.name).collect();
        match names.is_empty() {
            true => format!("{}: contours", self.title),
            false => format!(
                "{}: contours with the paths of {}",
                self.title,
                names.join(", ")
            ),
        }
    }

    /// Areas above each limit, one over the other, in an element that cuts them at the frame.
    fn draw_levels(&self, frame: &Frame, levels: &Levels) -> Result<String> {
        let [low, high] = [frame.rect.low, frame.rect.high];
        let [width, height] = [high[0] - low[0], high[1] - low[1]];
        let cell = [width / CELLS[0] as f64, height / CELLS[1] as f64];
        let highest = self.grid.values.iter().copied().filter(|v| v.is_finite());
        let highest = highest.fold(f64::MIN, f64::max);
        // Between neighbours, the logarithm is nearer to a straight line than the value is, but not
        // near a minimum.
        let log = |above: f64| (above + levels.limits[0]).ln();
        let finite = |value: &f64| if value.is_finite() { *value } else { highest };
        let values: Vec<_> = self
            .grid
            .values
            .iter()
            .map(|value| log(finite(value) - levels.lowest))
            .collect();
        let limits: Vec<_> = levels.limits.iter().map(|limit| log(*limit)).collect();
        let [columns, rows] = CELLS.map(|cells| cells + 2);
        let areas = ContourBuilder::new(columns, rows, true).contours(&values, &limits)?;
        let mut markup = format!(
            "<svg x=\"{}\" y=\"{}\" width=\"{width}\" height=\"{height}\">\n<path fill=\"{}\" d=\"M0 0h{width}v{height}H0z\"/>\n",
            low[0],
            low[1],
            palette::LEVELS[0].light
        );
        for (area, colour) in areas.iter().zip(&palette::LEVELS[1..]) {
            let mut path = String::new();
            for polygon in area.geometry() {
                for ring in std::iter::once(polygon.exterior()).chain(polygon.interiors()) {
                    let place = |[x, y]: Point| [(x - 1.0) * cell[0], height - (y - 1.0) * cell[1]];
                    let ring: Vec<Point> = ring.coords().map(|at| place([at.x, at.y])).collect();
                    path.push_str(&ring_commands(&ring));
                }
            }
            let _ = writeln!(
                markup,
                "<path fill=\"{}\" stroke=\"{}\" stroke-width=\"2\" fill-rule=\"evenodd\" d=\"{path}\"/>",
                colour.light,
                palette::CONTOUR.light
            );
        }
        markup.push_str("</svg>\n");
        Ok(markup)
    }

    fn draw_paths(&self, markup: &mut String, frame: &Frame) -> Vec<Entry> {
        let mut entries = Vec::new();
        // Ends are on top: a path may end where another starts.
        let (mut starts, mut ends) = (String::new(), String::new());
        for (index, path) in self.paths.iter().enumerate() {
            let look = Look(path.look.unwrap_or(index));
            let pieces = line_chart::pieces(frame, &path.points);
            let mut line = String::new();
            for inside in pieces.iter().flat_map(|piece| frame.rect.clip(piece)) {
                line.push_str(&commands(&simplified(&inside, TOLERANCE), false));
            }
            let _ = writeln!(markup, "<path {} d=\"{line}\"/>", legend::stroke(look));
            line_chart::draw_dots(markup, frame, &pieces, look);
            line_chart::draw_start(&mut starts, frame, &path.points);
            line_chart::draw_end(&mut ends, frame, &path.points, look);
            let is_outside = |point: &Point| frame.inside(*point).is_none();
            let name = match path.points.iter().any(is_outside) {
                true => format!("{} (leaves the frame)", path.name),
                false => path.name.clone(),
            };
            entries.push((Sample::Line(look), name));
        }
        markup.push_str(&starts);
        markup.push_str(&ends);
        entries
    }
}

/// A closed line, simplified from its two ends so that it keeps its shape.
fn ring_commands(ring: &[Point]) -> String {
    let (first, second) = ring.split_at(ring.len() / 2);
    let mut line = simplified(&[first, &second[..second.len().min(1)]].concat(), TOLERANCE);
    line.extend(simplified(second, TOLERANCE).into_iter().skip(1));
    commands(&line, true)
}

#[cfg(test)]
mod tests {
    use resvg::usvg::roxmltree::Document;

    use super::*;
    use crate::canvas::UNIT;

    fn bowl(paths: Vec<Trajectory>) -> ContourMap {
        ContourMap {
            title: "x² + y²".into(),
            x: Axis::linear("x"),
            y: Axis::linear("y"),
            grid: Grid::sample((-2.0, 2.0), (-1.0, 1.0), |x, y| x * x + y * y),
            minima: vec![[0.0, 0.0]],
            paths,
        }
    }

    fn path(name: &str, points: &[[f64; 2]]) -> Trajectory {
        Trajectory {
            name: name.into(),
            points: points.to_vec(),
            look: None,
        }
    }

    #[test]
    fn a_map_has_every_level_and_names_every_path() {
        let map = bowl(vec![
            path("sgd", &[[1.0, 0.5], [0.5, 0.25]]),
            path("adam", &[[1.0, 0.5], [0.0, 0.1]]),
        ]);
        let svg = map.picture().unwrap().svg();
        Document::parse(&svg).unwrap();
        for level in palette::LEVELS {
            assert!(svg.contains(level.light), "{level:?}");
        }
        for text in [
            "x² + y²",
            ">sgd<",
            ">adam<",
            ">start<",
            ">minimum<",
            "contours ",
        ] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(!svg.contains("leaves the frame"));
        assert!(svg.len() < 20_000, "{}", svg.len());
    }

    #[test]
    fn a_path_that_leaves_the_frame_is_cut_and_said_so() {
        for away in [[9.0, 0.5], [f64::NAN, 0.0], [1e300, 1e300]] {
            let map = bowl(vec![path("sgd", &[[1.0, 0.5], [1.5, 0.6], away])]);
            let svg = map.picture().unwrap().svg();
            assert!(svg.contains("sgd (leaves the frame)"), "{away:?}");
            let end = Look(0).shape().commands([0.0, 0.0], 6.5 * UNIT);
            assert!(
                !svg.contains(&end[end.find('a').unwrap()..]),
                "{away:?} has no end inside"
            );
        }
    }

    #[test]
    fn a_contour_is_where_the_function_has_its_value() {
        let map = bowl(vec![]);
        let levels = Levels::of(&map.grid.values).unwrap();
        let frame = Frame {
            rect: crate::polyline::Rect {
                low: [0.0, 0.0],
                high: [2000.0, 1000.0],
            },
            x: map
                .x
                .clone()
                .range(-2.0, 2.0)
                .over([].into_iter(), 0.0)
                .unwrap(),
            y: map
                .y
                .clone()
                .range(-1.0, 1.0)
                .over([].into_iter(), 0.0)
                .unwrap(),
            width: 0.0,
            bottom: 0.0,
            markup: String::new(),
        };
        let svg = map.draw_levels(&frame, &levels).unwrap();
        // The inner ring: a circle around the middle, in an area that begins with it.
        let ring = svg.lines().nth(2).unwrap();
        let (_, ring) = ring.rsplit_once('M').unwrap();
        let start: Vec<f64> = ring
            .split('l')
            .next()
            .unwrap()
            .split(' ')
            .map(|number| number.parse().unwrap())
            .collect();
        let [x, y] = [start[0] / 500.0 - 2.0, 1.0 - start[1] / 500.0];
        let value = x * x + y * y;
        let wanted = levels.limits[0] + levels.lowest;
        assert!(
            (value - wanted).abs() < 0.1 * wanted,
            "{value} instead of {wanted}"
        );
    }

    #[test]
    fn levels_spread_over_valleys() {
        let rosenbrock = |x: f64, y: f64| (1.0 - x).powi(2) + 100.0 * (y - x * x).powi(2);
        let grid = Grid::sample((-2.0, 2.0), (-1.0, 3.0), rosenbrock);
        let levels = Levels::of(&grid.values).unwrap();
        assert!(
            levels.limits[0] < 1.0 && levels.limits[8] > 500.0,
            "{:?}",
            levels.limits
        );
    }

    #[test]
    fn a_function_without_contours_is_an_error() {
        for (value, problem) in [(1.0, "everywhere"), (f64::NAN, "finite")] {
            let map = ContourMap {
                grid: Grid::sample((0.0, 1.0), (0.0, 1.0), |_, _| value),
                ..bowl(vec![])
            };
            let error = map.picture().unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
