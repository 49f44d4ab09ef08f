//! Which minimum a rule ends in, from starts all over the domain, and how fast.

use anyhow::{Result, ensure};
use flags::device::Device;
use report::{Axis, Basins, Cell, Interrupt, Picture, Progress, number};

use crate::arguments::Task;
use crate::contenders::Contender;
use crate::descent::{Entrant, Frame, Plan, couples};
use crate::fates::Fates;
use crate::race;

/// A rule's map of starts.
pub struct Map<'a> {
    task: &'a Task,
    /// Rows and columns.
    side: usize,
    /// Row by row from low y to high.
    pub fates: Fates,
    /// Steps done.
    pub done: u64,
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
                schedule: contender.schedule.clone(),
                starts: task.starts.clone(),
            }],
            steps: task.steps,
            every: 1,
            noise: task.noise,
        };
        let mut map = Self {
            task,
            side: task.starts.len().isqrt(),
            fates: Fates::new(&*task.function, task.starts.len()),
            done: 0,
        };
        map.fates.observe(&plan.first());
        let mut descent = race::open(device, plan)?;
        while !interrupt.is_requested()
            && let Some(chunk) = descent.advance()?
        {
            chunk
                .frames
                .iter()
                .for_each(|frame| map.fates.observe(frame));
            progress.advance(chunk.done - map.done);
            map.done = chunk.done;
        }
        Ok(map)
    }

    /// Where all points are now.
    pub fn last(&self) -> Frame {
        Frame {
            step: self.done,
            positions: self.fates.all.iter().map(|fate| fate.at).collect(),
        }
    }

    /// What the shades mean.
    fn speeds(&self, quarters: Option<[u64; 4]>) -> String {
        let reach = number::significant(self.fates.reach, 2);
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
        self.fates.quarters().map(|[_, half, ..]| half)
    }

    /// The map, with its rule's `label` as title.
    pub fn picture(&self, label: &str) -> Result<Picture> {
        let quarters = self.fates.quarters();
        // The middle of the shade of a quarter.
        let speed = |since: u64| {
            let slower = quarters.iter().flatten().filter(|most| since <= **most);
            (slower.count() as f64 - 0.5) / 4.0
        };
        let cells = self.fates.all.iter().map(|fate| Cell {
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
            minima: self.fates.minima.iter().map(|minimum| minimum.at).collect(),
            speeds: self.speeds(quarters),
        };
        basins.picture()
    }
}
