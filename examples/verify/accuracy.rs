//! How far results are from the truth.

use super::problem::{Mark, Problem, View};

/// The distance from `|value|` to the next larger f32.
pub fn ulp(value: f32) -> f64 {
    let value = value.abs();
    f64::from(f32::from_bits(value.to_bits() + 1)) - f64::from(value)
}

/// What the parameters must be at some marks, and what errors are measured by.
pub struct Truth {
    /// By mark.
    pub values: Vec<Vec<f64>>,
    /// The largest distance of any parameter from its start.
    movement: f64,
    /// The RMS of these distances.
    rms_movement: f64,
    /// The largest magnitude of any parameter.
    largest: f64,
    /// The RMS of the parameters.
    pub rms_value: f64,
}

impl Truth {
    pub fn new(problem: &Problem, marks: &[Mark], values: Vec<Vec<f64>>) -> Self {
        let (mut movement, mut largest) = (0.0f64, 0.0f64);
        let [mut movements, mut all] = [MeanSquare::default(), MeanSquare::default()];
        let of_params = |(mark, _): &(&Mark, _)| !matches!(mark.view, View::State(_));
        for (mark, values) in marks.iter().zip(&values).filter(of_params) {
            for (start, value) in problem.params[mark.tensor].iter().zip(values) {
                let moved = (value - f64::from(*start)).abs();
                movement = movement.max(moved);
                movements.add(moved);
                largest = largest.max(value.abs());
                all.add(*value);
            }
        }
        Self {
            values,
            movement,
            rms_movement: movements.root(),
            largest,
            rms_value: all.root(),
        }
    }

    /// An ulp of the largest value.
    pub fn ulp(&self) -> f64 {
        ulp(self.largest as f32)
    }

    /// A distance as a part of the largest movement.
    pub fn relative(&self, distance: f64) -> f64 {
        part_of(distance, self.movement)
    }

    /// An RMS of distances as a part of the RMS movement.
    pub fn relative_rms(&self, rms: f64) -> f64 {
        part_of(rms, self.rms_movement)
    }

    /// The RMS of the distances of `found` from the truth.
    pub fn rms(&self, found: &[Vec<f64>]) -> f64 {
        let pairs = found.iter().flatten().zip(self.values.iter().flatten());
        let mut distances = MeanSquare::default();
        pairs.for_each(|(found, right)| distances.add(distance(*found, *right)));
        distances.root()
    }

    /// How far `found` is off at the marks that it has values for. Elements that are off by more
    /// than `turn` are counted instead.
    pub fn deviation(&self, found: &[Vec<f64>], turn: f64) -> Deviation {
        let mut deviation = Deviation::default();
        for (mark, (found, right)) in found.iter().zip(&self.values).enumerate() {
            for (element, (&found, &right)) in found.iter().zip(right).enumerate() {
                let distance = distance(found, right);
                if distance > turn && distance.is_finite() {
                    deviation.turned += 1;
                } else if distance > deviation.largest {
                    deviation.largest = distance;
                    deviation.place = Some(Place {
                        mark,
                        element,
                        found,
                        right,
                    });
                }
            }
        }
        deviation
    }
}

fn part_of(distance: f64, movement: f64) -> f64 {
    if distance == 0.0 {
        return 0.0;
    }
    // JSON has no infinity.
    (distance / movement).min(f64::MAX)
}

/// NaN must not pass as small.
fn distance(found: f64, right: f64) -> f64 {
    let distance = (found - right).abs();
    match distance.is_nan() {
        true => f64::INFINITY,
        false => distance,
    }
}

#[derive(Default)]
struct MeanSquare {
    sum: f64,
    count: usize,
}

impl MeanSquare {
    fn add(&mut self, value: f64) {
        self.sum += value * value;
        self.count += 1;
    }

    fn root(&self) -> f64 {
        (self.sum / self.count.max(1) as f64).sqrt()
    }
}

/// How far results are off.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Deviation {
    pub largest: f64,
    /// Elements that went another way altogether.
    pub turned: usize,
    /// Where it is largest.
    pub place: Option<Place>,
}

/// An element that is off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    pub mark: usize,
    pub element: usize,
    pub found: f64,
    pub right: f64,
}
