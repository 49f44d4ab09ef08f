//! Which minimum a rule ends in, from starts all over the domain, and how fast.

use anyhow::{Result, ensure};
use flags::device::Device;
use report::{Axis, Basins, Cell, Interrupt, Picture, Progress, number};

use crate::arguments::Task;
use crate::contenders::Contender;
use crate::descent::{Entrant, Frame, Plan, couples};
use crate::functions::{Function, Minimum, Point};
use crate::race;

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

/// A rule's map of starts.
pub struct Map<'a> {
    task: &'a Task,
    minima: Vec<Minimum>,
    /// Rows and columns.
    side: usize,
    /// Row by row from low y to high.
    pub fates: Vec<Fate>,
    /// Steps done.
    pub done: u64,
}

/// N × N starts: the middles of as many cells of the domain, row by row from low y.
pub fn starts(function: &dyn Function, side: usize) -> Result<Vec<Point>> {
    let &[x, y] = function.domain() else {
        anyhow::bail!(
            "--basins draws a map, and {} has one variable: expected a function of two.",
            function.name()
        );
    };
    ensure!(
        !function.minima().is_empty(),
        "--basins shows which minimum each start ends in, and {} has none: expected another function.",
        function.name()
    );
    let middle = |[least, most]: [f64; 2], index: usize| {
        least + (most - least) * (index as f64 + 0.5) / side as f64
    };
    let rows = (0..side).map(|row| middle(y, row));
    let starts = rows.flat_map(|y| (0..side).map(move |column| [middle(x, column), y]));
    Ok(starts.collect())
}

/// Fails for a rule whose points would look at one another.
pub fn check(contender: &Contender) -> Result<()> {
    let rule = contender.rule()?;
    ensure!(
        !couples(&*rule),
        "--basins does not go with {}, which estimates one distance from all points together: expected another \
         rule.",
        contender.name()
    );
    Ok(())
}

impl<'a> Map<'a> {
    /// Descends from all of the task's starts, as [`starts`] made them; ends early if interrupted.
    /// All steps are `task.steps` parts of the progress.
    pub fn make(
        device: &Device,
        task: &'a Task,
        contender: &Contender,
        interrupt: &Interrupt,
        progress: &mut Progress,
    ) -> Result<Self> {
        let plan = Plan {
            function: &*task.function,
            entrants: vec![Entrant {
                rule: contender.rule()?,
                starts: task.starts.clone(),
            }],
            steps: task.steps,
            every: 1,
            schedule: task.schedule.clone(),
            noise: task.noise,
        };
        let mut map = Self {
            task,
            minima: task.function.minima(),
            side: task.starts.len().isqrt(),
            fates: vec![Fate::default(); task.starts.len()],
            done: 0,
        };
        map.observe(&plan.first());
        let mut descent = race::open(device, plan)?;
        while !interrupt.is_requested()
            && let Some(chunk) = descent.advance()?
        {
            chunk.frames.iter().for_each(|frame| map.observe(frame));
            progress.advance(chunk.done - map.done);
            map.done = chunk.done;
        }
        Ok(map)
    }

    fn observe(&mut self, frame: &Frame) {
        let reach = self.reach();
        let minima = &self.minima;
        for (fate, &at) in self.fates.iter_mut().zip(&frame.positions) {
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

    fn reach(&self) -> f64 {
        let sides = self.task.function.domain().iter();
        NEAR * sides.map(|[least, most]| most - least).fold(0.0, f64::max)
    }

    /// The parts of the starts that ended in a lowest minimum, and in another.
    pub fn shares(&self) -> [f64; 2] {
        let lowest = self.minima.iter().map(|minimum| minimum.value);
        let lowest = lowest.fold(f64::MAX, f64::min);
        // Those of Himmelblau's function are as low as one another, up to rounding.
        let is_lowest = |index: usize| self.minima[index].value - lowest < 1e-9;
        let settled = self.fates.iter().filter_map(|fate| fate.settled);
        let count = settled.clone().count() as f64;
        let in_lowest = settled.filter(|(index, _)| is_lowest(*index)).count() as f64;
        let all = self.fates.len() as f64;
        [in_lowest / all, (count - in_lowest) / all]
    }

    /// Where all points are now.
    pub fn last(&self) -> Frame {
        Frame {
            step: self.done,
            positions: self.fates.iter().map(|fate| fate.at).collect(),
        }
    }

    /// What the shades mean.
    fn speeds(&self, quarters: Option<[u64; 4]>) -> String {
        let reach = number::significant(self.reach(), 2);
        match quarters {
            Some([a, b, c, d]) => {
                format!(
                    "within {reach} of it after at most {a}, {b}, {c}, {d} steps (strong to pale)"
                )
            }
            None => format!("none comes within {reach} of a minimum"),
        }
    }

    /// The steps in which half of those settled that did.
    pub fn median_steps(&self) -> Option<u64> {
        self.quarters().map(|[_, half, ..]| half)
    }

    /// The steps in which the fastest quarter, half, three quarters and all of those settled that did.
    fn quarters(&self) -> Option<[u64; 4]> {
        let settled = self.fates.iter().filter_map(|fate| fate.settled);
        let mut steps: Vec<_> = settled.map(|(_, since)| since).collect();
        steps.sort_unstable();
        let last = steps.len().checked_sub(1)?;
        Some([1, 2, 3, 4].map(|quarter| steps[last * quarter / 4]))
    }

    /// The map, with its rule's `label` as title.
    pub fn picture(&self, label: &str) -> Result<Picture> {
        let quarters = self.quarters();
        // The middle of the shade of a quarter.
        let speed = |since: u64| {
            let slower = quarters.iter().flatten().filter(|most| since <= **most);
            (slower.count() as f64 - 0.5) / 4.0
        };
        let cells = self.fates.iter().map(|fate| Cell {
            minimum: fate.settled.map(|(index, _)| index),
            speed: fate.settled.map_or(0.0, |(_, since)| speed(since)),
        });
        let cells: Vec<_> = cells.collect();
        let function = &*self.task.function;
        let &[x, y] = function.domain() else {
            anyhow::bail!("A map of a function of one variable cannot be drawn.");
        };
        let basins = Basins {
            title: format!("{}: {label}", function.name()),
            x: Axis::linear("x of the start").range(x[0], x[1]),
            y: Axis::linear("y of the start").range(y[0], y[1]),
            cells: cells.chunks(self.side).map(<[Cell]>::to_vec).collect(),
            minima: self.minima.iter().map(|minimum| minimum.at).collect(),
            speeds: self.speeds(quarters),
        };
        basins.picture()
    }
}
