//! Marks on lines: the second cue beside colour.

use std::f64::consts::PI;

use crate::palette::{self, Colour};
use crate::polyline::{Point, commands};

/// How a series looks: a colour and a shape, and from the ninth on a dash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look(pub usize);

impl Look {
    pub fn colour(self) -> Colour {
        palette::SERIES[self.0 % palette::SERIES.len()]
    }

    /// Another one beside the same colour from the ninth on.
    pub fn shape(self) -> Shape {
        let turn = self.0 / palette::SERIES.len();
        Shape::ALL[(self.0 + turn) % Shape::ALL.len()]
    }

    /// Lengths of dashes and gaps in pixels; none is a whole line.
    pub fn dash(self) -> &'static [u32] {
        let dashes: [&[u32]; 4] = [&[], &[7, 4], &[2, 4], &[9, 3, 2, 3]];
        dashes[self.0 / palette::SERIES.len() % dashes.len()]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Circle,
    Square,
    Triangle,
    Diamond,
    Nabla,
    Plus,
    Cross,
    Star,
}

impl Shape {
    pub const ALL: [Self; 8] = [
        Self::Circle,
        Self::Square,
        Self::Triangle,
        Self::Diamond,
        Self::Nabla,
        Self::Plus,
        Self::Cross,
        Self::Star,
    ];

    /// The commands of a path around `at`, `radius` units from the middle to the tips.
    pub fn commands(self, at: Point, radius: f64) -> String {
        if self == Self::Circle {
            let [x, y] = at.map(|place| place.round());
            let r = (0.8 * radius).round();
            return format!(
                "M{} {y}a{r} {r} 0 1 0 {} 0a{r} {r} 0 1 0-{} 0z",
                x - r,
                2.0 * r,
                2.0 * r
            );
        }
        let place = |[x, y]: Point| [at[0] + radius * x, at[1] + radius * y];
        commands(
            &self.outline().into_iter().map(place).collect::<Vec<_>>(),
            true,
        )
    }

    /// Around the origin, with tips about 1 away from it.
    fn outline(self) -> Vec<Point> {
        let polar = |turn: f64, radius: f64| {
            let angle = 2.0 * PI * turn;
            [radius * angle.sin(), -radius * angle.cos()]
        };
        let regular = |count: u32, first: f64, radius: f64| -> Vec<Point> {
            (0..count)
                .map(|k| polar(first + f64::from(k) / f64::from(count), radius))
                .collect()
        };
        let plus = |turned: f64| {
            let corners = (0..4).flat_map(move |arm| {
                let arm = turned + f64::from(arm) / 4.0;
                [
                    polar(arm - 0.05, 1.0),
                    polar(arm + 0.05, 1.0),
                    polar(arm + 0.125, 0.45),
                ]
            });
            corners.collect()
        };
        match self {
            Self::Circle => regular(24, 0.0, 0.8),
            Self::Square => regular(4, 0.125, 1.05),
            Self::Triangle => regular(3, 0.0, 1.1),
            Self::Diamond => regular(4, 0.0, 1.1),
            Self::Nabla => regular(3, 0.5, 1.1),
            Self::Plus => plus(0.0),
            Self::Cross => plus(0.125),
            Self::Star => (0..10)
                .map(|k| polar(f64::from(k) / 10.0, if k % 2 == 0 { 1.25 } else { 0.52 }))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_of_the_first_32_series_look_alike_and_the_first_8_differ_without_colour() {
        let looks: Vec<_> = (0..32).map(Look).collect();
        for (i, a) in looks.iter().enumerate() {
            for b in &looks[..i] {
                assert!(
                    (a.shape(), a.dash()) != (b.shape(), b.dash()),
                    "{a:?} {b:?}"
                );
            }
        }
    }

    #[test]
    fn shapes_surround_their_place() {
        for shape in Shape::ALL {
            assert!(
                shape.commands([100.0, 100.0], 16.0).ends_with('z'),
                "{shape:?}"
            );
            let [mut low, mut high] = [[0.0f64; 2]; 2];
            for point in shape.outline() {
                for axis in 0..2 {
                    low[axis] = low[axis].min(point[axis]);
                    high[axis] = high[axis].max(point[axis]);
                }
            }
            assert!(low.iter().all(|low| *low < -0.4) && high.iter().all(|high| *high > 0.4));
        }
    }
}
