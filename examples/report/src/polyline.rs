//! Lines of many points: cut at the frame, without points that nobody sees, and as SVG writes them
//! with the fewest characters. Coordinates are units of the picture.

use std::fmt::Write;

pub type Point = [f64; 2];

/// A rectangle, from its upper left to its lower right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rect {
    pub low: Point,
    pub high: Point,
}

impl Rect {
    /// Whether a point is inside or, but for rounding, on the edge.
    pub fn contains(&self, point: Point) -> bool {
        let edge = 1e-6;
        (0..2).all(|axis| (self.low[axis] - edge..=self.high[axis] + edge).contains(&point[axis]))
    }

    /// What of the way from `a` to `b` is inside (Liang and Barsky).
    fn inside(&self, a: Point, b: Point) -> Option<[Point; 2]> {
        let (mut from, mut to) = (0.0f64, 1.0f64);
        for axis in 0..2 {
            let way = b[axis] - a[axis];
            let [low, high] = [self.low[axis] - a[axis], self.high[axis] - a[axis]];
            if way == 0.0 {
                if low > 0.0 || high < 0.0 {
                    return None;
                }
                continue;
            }
            let (enter, leave) = (low / way, high / way);
            from = from.max(enter.min(leave));
            to = to.min(enter.max(leave));
        }
        let at = |part: f64| [0, 1].map(|axis| a[axis] + part * (b[axis] - a[axis]));
        let start = if from == 0.0 { a } else { at(from) };
        let end = if to == 1.0 { b } else { at(to) };
        (from <= to).then_some([start, end])
    }

    /// The pieces of a line that are inside.
    pub fn clip(&self, line: &[Point]) -> Vec<Vec<Point>> {
        let mut pieces: Vec<Vec<Point>> = Vec::new();
        let mut end = None;
        for pair in line.windows(2) {
            let Some([from, to]) = self.inside(pair[0], pair[1]) else {
                end = None;
                continue;
            };
            match pieces.last_mut() {
                Some(piece) if end == Some(from) => piece.push(to),
                _ => pieces.push(vec![from, to]),
            }
            end = Some(to);
        }
        match line {
            [point] if self.contains(*point) => vec![vec![*point]],
            _ => pieces,
        }
    }

    /// The part of a polygon that is inside (Sutherland and Hodgman).
    pub fn clip_polygon(&self, polygon: &[Point]) -> Vec<Point> {
        let mut rest = polygon.to_vec();
        for axis in 0..2 {
            for (limit, sign) in [(self.low[axis], 1.0), (self.high[axis], -1.0)] {
                rest = half_plane(&rest, axis, limit, sign);
            }
        }
        rest
    }
}

/// What of a polygon has `sign` times its coordinate at or above `sign` times `limit`.
fn half_plane(polygon: &[Point], axis: usize, limit: f64, sign: f64) -> Vec<Point> {
    let depth = |point: Point| sign * (point[axis] - limit);
    let mut kept = Vec::with_capacity(polygon.len());
    for (index, &point) in polygon.iter().enumerate() {
        let before = polygon[(index + polygon.len() - 1) % polygon.len()];
        let [from, to] = [depth(before), depth(point)];
        if (from < 0.0) != (to < 0.0) {
            let part = from / (from - to);
            kept.push([0, 1].map(|axis| before[axis] + part * (point[axis] - before[axis])));
        }
        if to >= 0.0 {
            kept.push(point);
        }
    }
    kept
}

/// Without the points that are within `tolerance` of the line through the others (Ramer, Douglas
/// and Peucker).
pub fn simplified(line: &[Point], tolerance: f64) -> Vec<Point> {
    let mut keep = vec![false; line.len()];
    let mut open = Vec::new();
    if let Some(last) = line.len().checked_sub(1) {
        (keep[0], keep[last]) = (true, true);
        open.push((0, last));
    }
    while let Some((first, last)) = open.pop() {
        let far = |index: &usize| distance(line[*index], line[first], line[last]);
        let farthest = (first + 1..last).max_by(|a, b| far(a).total_cmp(&far(b)));
        if let Some(index) = farthest.filter(|index| far(index) > tolerance) {
            keep[index] = true;
            open.extend([(first, index), (index, last)]);
        }
    }
    let kept = line.iter().zip(keep).filter(|(_, keep)| *keep);
    kept.map(|(point, _)| *point).collect()
}

/// Of `point` from the piece between `a` and `b`.
fn distance(point: Point, a: Point, b: Point) -> f64 {
    let way = [b[0] - a[0], b[1] - a[1]];
    let to = [point[0] - a[0], point[1] - a[1]];
    let length = way[0] * way[0] + way[1] * way[1];
    let part = match length > 0.0 {
        true => ((to[0] * way[0] + to[1] * way[1]) / length).clamp(0.0, 1.0),
        false => 0.0,
    };
    (to[0] - part * way[0]).hypot(to[1] - part * way[1])
}

/// Of points that go from left to right, the first, the last, the lowest and the highest of each
/// column of `width`: no eye sees the difference.
pub fn thinned(line: &[Point], width: f64) -> Vec<Point> {
    let column = |point: &Point| (point[0] / width).floor();
    let mut thin = Vec::new();
    for points in line.chunk_by(|a, b| column(a) == column(b)) {
        let by_height = |a: &usize, b: &usize| points[*a][1].total_cmp(&points[*b][1]);
        let indices = 0..points.len();
        let lowest = indices.clone().min_by(by_height).unwrap_or(0);
        let highest = indices.max_by(by_height).unwrap_or(0);
        let mut kept = [0, lowest, highest, points.len() - 1];
        kept.sort_unstable();
        let mut last = None;
        for index in kept {
            if last.replace(index) != Some(index) {
                thin.push(points[index]);
            }
        }
    }
    thin
}

/// The commands of an SVG path through `line`, in whole units and relative to each other.
pub fn commands(line: &[Point], is_closed: bool) -> String {
    let mut text = String::new();
    let mut last: Option<[i64; 2]> = None;
    for point in line {
        let point = point.map(|place| place.round() as i64);
        let Some(before) = last.replace(point) else {
            // Writing to a string does not fail.
            let _ = write!(text, "M{} {}l", point[0], point[1]);
            continue;
        };
        let way = [point[0] - before[0], point[1] - before[1]];
        if way != [0, 0] {
            number(&mut text, way[0]);
            number(&mut text, way[1]);
        }
    }
    if text.ends_with('l') {
        text.push_str("0 0");
    }
    if is_closed {
        text.push('z');
    }
    text
}

/// A minus sign is a separator, too.
fn number(text: &mut String, value: i64) {
    if value >= 0 && !text.ends_with('l') {
        text.push(' ');
    }
    let _ = write!(text, "{value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQUARE: Rect = Rect {
        low: [0.0, 0.0],
        high: [10.0, 10.0],
    };

    #[test]
    fn a_line_that_leaves_the_frame_and_returns_is_two_lines() {
        let line = [[5.0, 5.0], [15.0, 5.0], [15.0, 8.0], [5.0, 8.0]];
        let pieces = SQUARE.clip(&line);
        assert_eq!(
            pieces,
            [vec![[5.0, 5.0], [10.0, 5.0]], vec![[10.0, 8.0], [5.0, 8.0]]]
        );
        assert!(SQUARE.clip(&[[11.0, 0.0], [11.0, 9.0]]).is_empty());
        // Past a corner.
        assert!(SQUARE.clip(&[[-6.0, 5.0], [5.0, 16.0]]).is_empty());
        assert_eq!(
            SQUARE.clip(&[[-5.0, 5.0], [15.0, 5.0]]),
            [vec![[0.0, 5.0], [10.0, 5.0]]]
        );
    }

    #[test]
    fn a_polygon_is_cut_at_the_frame() {
        let cut = SQUARE.clip_polygon(&[[5.0, 5.0], [15.0, 5.0], [15.0, 7.0], [5.0, 7.0]]);
        assert!(cut.iter().all(|point| SQUARE.contains(*point)));
        assert!(cut.contains(&[10.0, 5.0]) && cut.contains(&[10.0, 7.0]));
        assert!(
            SQUARE
                .clip_polygon(&[[20.0, 0.0], [21.0, 0.0], [21.0, 1.0]])
                .is_empty()
        );
    }

    #[test]
    fn points_on_the_way_are_left_out_and_corners_stay() {
        let line = [[0.0, 0.0], [1.0, 0.1], [2.0, 0.0], [2.0, 5.0]];
        assert_eq!(simplified(&line, 0.5), [[0.0, 0.0], [2.0, 0.0], [2.0, 5.0]]);
        // There and back again is no point.
        let back = [[0.0, 0.0], [9.0, 0.0], [0.0, 0.0]];
        assert_eq!(simplified(&back, 0.5), back);
    }

    #[test]
    fn a_column_keeps_its_peaks() {
        let line: Vec<_> = (0..1000)
            .map(|k| [f64::from(k) / 100.0, if k == 517 { 9.0 } else { 0.0 }])
            .collect();
        let thin = thinned(&line, 1.0);
        assert!(thin.len() <= 40 && thin.contains(&[5.17, 9.0]));
    }

    #[test]
    fn a_path_is_written_relative_and_without_needless_characters() {
        let path = commands(&[[1.0, 2.0], [1.2, 2.1], [4.0, 1.0], [3.0, 5.0]], true);
        assert_eq!(path, "M1 2l3-1-1 4z");
        assert_eq!(commands(&[[1.0, 2.0]], false), "M1 2l0 0");
    }
}
