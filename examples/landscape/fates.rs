//! What becomes of starts all over the domain: the minimum that each is at, and since when.

use anyhow::{Result, ensure};

use crate::descent::Frame;
use crate::functions::{Function, Minimum, Point};

/// How near a minimum counts as there, as a part of the domain's longer side.
const NEAR: f64 = 0.01;

/// What became of one start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fate {
    /// The minimum that it is at, and the step since which it is.
    pub settled: Option<(usize, u64)>,
    /// Where it is.
    pub at: Point,
}

/// What became of all.
pub struct Fates {
    pub minima: Vec<Minimum>,
    /// How near counts as there.
    pub reach: f64,
    /// By start.
    pub all: Vec<Fate>,
}

/// N × N starts: the middles of as many cells of the domain, row by row from low y.
pub fn starts(function: &dyn Function, side: usize) -> Result<Vec<Point>> {
    let &[x, y] = function.domain() else {
        anyhow::bail!(
            "Basins are a map, and {} has one variable: expected a function of two.",
            function.name()
        );
    };
    ensure!(
        !function.minima().is_empty(),
        "Basins show which minimum each start ends in, and {} has none: expected another function.",
        function.name()
    );
    let middle = |[least, most]: [f64; 2], index: usize| {
        least + (most - least) * (index as f64 + 0.5) / side as f64
    };
    let rows = (0..side).map(|row| middle(y, row));
    let starts = rows.flat_map(|y| (0..side).map(move |column| [middle(x, column), y]));
    Ok(starts.collect())
}

impl Fates {
    /// Of `count` starts, before any of them is seen.
    pub fn new(function: &dyn Function, count: usize) -> Self {
        let sides = function.domain().iter();
        let longest = sides.map(|[least, most]| most - least).fold(0.0, f64::max);
        Self {
            minima: function.minima(),
            reach: NEAR * longest,
            all: vec![Fate::default(); count],
        }
    }

    pub fn observe(&mut self, frame: &Frame) {
        let (reach, minima) = (self.reach, &self.minima);
        for (fate, &at) in self.all.iter_mut().zip(&frame.positions) {
            fate.at = at;
            let is_near = |minimum: &Minimum| {
                let [dx, dy] = [at[0] - minimum.at[0], at[1] - minimum.at[1]];
                dx.hypot(dy) <= reach
            };
            // It is mostly where it was.
            let same = fate.settled.filter(|(index, _)| is_near(&minima[*index]));
            fate.settled = same.or_else(|| {
                let index = minima.iter().position(is_near)?;
                Some((index, frame.step))
            });
        }
    }

    /// The parts of the starts that ended in a lowest minimum, and in another.
    pub fn shares(&self) -> [f64; 2] {
        let lowest = self.minima.iter().map(|minimum| minimum.value);
        let lowest = lowest.fold(f64::MAX, f64::min);
        // Those of Himmelblau's function are as low as one another, up to rounding.
        let is_lowest = |index: usize| self.minima[index].value - lowest < 1e-9;
        let settled = self.all.iter().filter_map(|fate| fate.settled);
        let count = settled.clone().count() as f64;
        let in_lowest = settled.filter(|(index, _)| is_lowest(*index)).count() as f64;
        let all = self.all.len() as f64;
        [in_lowest / all, (count - in_lowest) / all]
    }

    /// The steps in which the fastest quarter, half, three quarters and all of those settled that did.
    pub fn quarters(&self) -> Option<[u64; 4]> {
        let settled = self.all.iter().filter_map(|fate| fate.settled);
        let mut steps: Vec<_> = settled.map(|(_, since)| since).collect();
        steps.sort_unstable();
        let last = steps.len().checked_sub(1)?;
        Some([1, 2, 3, 4].map(|quarter| steps[last * quarter / 4]))
    }
}
