//! A search for the hyperparameters that take a rule to the lowest value in the fewest steps. Each
//! candidate is a parameter group of its own, so that all advance together.

mod space;
#[cfg(test)]
mod tests;

use anyhow::{Context, Result};
use flags::device::Device;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use report::{Interrupt, Progress, number};
use wgpu_optim::Rule;
use wgpu_optim::schedule::Schedule;

use crate::arguments::Task;
use crate::contenders::Contender;
use crate::descent::{Entrant, Frame, Plan, copy, couples};
use crate::functions::{Function, Point};
use crate::race;

/// Starts beside each of the task's, so that nothing wins by the luck of one.
const NEIGHBOURS: usize = 4;

/// How far these are, as a part of the domain.
const SPREAD: f64 = 0.05;

/// The part of the candidates that is drawn from everywhere; the others are near the best of them.
const ANYWHERE: f64 = 0.5;

/// How many the others are near.
const BEST: usize = 8;

/// Most candidates that advance at the same time.
const TOGETHER: usize = 512;

/// A rule that looks at all points at once takes an optimizer for each, so there are fewer.
const MOST_COUPLED: usize = 32;

/// What is looked for: the value that counts as found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    pub value: f64,
    /// What it is above, which no value is below.
    lowest: f64,
}

impl Goal {
    /// A thousandth of the way from the start to the lowest minimum is left; where there is none, all
    /// of the way to the lowest value at the domain's edge but a hundredth.
    pub fn of(function: &dyn Function, start: Point) -> Self {
        let from = function.derivatives(start).value;
        let (lowest, part) = match function.lowest() {
            Some(lowest) => (lowest.value, 1e-3),
            None => (lowest_at_edge(function), 1e-2),
        };
        Self {
            value: lowest + part * (from - lowest),
            lowest,
        }
    }

    pub fn description(&self, steps: u64) -> String {
        format!(
            "fewest of {steps} steps until the value stays below {}",
            number::significant(self.value, 3)
        )
    }
}

fn lowest_at_edge(function: &dyn Function) -> f64 {
    let mut corners = vec![[0.0; 2]];
    for (axis, ends) in function.domain().iter().enumerate() {
        // The middle too: a saddle falls between corners.
        let places = [ends[0], 0.5 * (ends[0] + ends[1]), ends[1]];
        corners = corners
            .into_iter()
            .flat_map(|corner: Point| {
                places.map(|place| {
                    let mut corner = corner;
                    corner[axis] = place;
                    corner
                })
            })
            .collect();
    }
    let values = corners.iter().map(|&at| function.derivatives(at).value);
    values.fold(f64::MAX, f64::min)
}

/// How one point fares.
#[derive(Clone, Copy, Debug)]
struct Course {
    /// The step since which it is below the goal.
    since: Option<u64>,
    last: f64,
}

impl Course {
    const BEFORE: Self = Self {
        since: None,
        last: f64::INFINITY,
    };

    fn observe(&mut self, step: u64, value: f64, goal: &Goal) {
        let is_below = value <= goal.value;
        self.since = is_below.then(|| self.since.unwrap_or(step));
        self.last = value;
    }

    /// The steps it took; more than all of them if it is not there, the more the farther it is.
    fn score(&self, steps: u64, goal: &Goal) -> f64 {
        let steps = steps as f64;
        match self.since {
            Some(since) => since as f64,
            None if !self.last.is_finite() => f64::INFINITY,
            None => {
                let left = (self.last - goal.lowest) / (goal.value - goal.lowest);
                steps * (1.0 + left.max(1.0).log10())
            }
        }
    }
}

/// A set of hyperparameters, and its median over the starts.
struct Candidate {
    rule: Box<dyn Rule>,
    score: f64,
}

/// What a search found for one rule.
#[derive(Clone, Debug)]
pub struct Tuned {
    pub contender: Contender,
    /// Steps until the goal, as [`Goal::description`] has it; more than all if it is not reached.
    pub score: f64,
    /// The score of the rule as the user wrote it.
    pub before: f64,
    pub candidates: usize,
    /// What was searched.
    pub searched: Vec<&'static str>,
}

/// Searches for what suits a task.
pub struct Search<'a> {
    pub device: &'a Device,
    pub task: &'a Task,
    pub candidates: usize,
    pub seed: u32,
    pub goal: Goal,
    starts: Vec<Point>,
}

impl<'a> Search<'a> {
    pub fn new(device: &'a Device, task: &'a Task, candidates: usize, seed: u32) -> Self {
        Self {
            device,
            task,
            candidates,
            seed,
            goal: Goal::of(&*task.function, task.starts[0]),
            starts: starts(task, seed),
        }
    }

    /// How many candidates of `rule` there are where so many are asked for.
    pub fn count(rule: &dyn Rule, candidates: usize) -> usize {
        match couples(rule) {
            true => candidates.min(MOST_COUPLED),
            false => candidates,
        }
    }

    /// The best hyperparameters of a contender's rule that were found: in two rounds, the second near
    /// the best of the first. None if interrupted.
    pub fn tune(
        &self,
        contender: &Contender,
        interrupt: &Interrupt,
        progress: &mut Progress,
    ) -> Result<Option<Tuned>> {
        // Each rule's search is the same whichever others there are.
        let mut random = ChaCha8Rng::seed_from_u64(self.seed.into());
        let mut own = contender.rule()?;
        let schedule = &contender.schedule;
        let count = Self::count(&*own, self.candidates);
        let first = ((count as f64 * ANYWHERE) as usize).max(1);
        let mut rules = vec![copy(&mut *own)?];
        while rules.len() < first {
            rules.push(space::draw(contender.name(), &mut random)?);
        }
        let Some(mut candidates) = self.judge(rules, schedule, interrupt, progress)? else {
            return Ok(None);
        };
        let before = candidates[0].score;
        sort(&mut candidates);
        candidates.truncate(BEST);
        let mut near = Vec::new();
        while near.len() < count - first {
            let parent = random.random_range(0..candidates.len());
            near.push(space::draw_near(
                &mut *candidates[parent].rule,
                &mut random,
            )?);
        }
        let Some(second) = self.judge(near, schedule, interrupt, progress)? else {
            return Ok(None);
        };
        candidates.extend(second);
        sort(&mut candidates);
        let mut best = candidates.swap_remove(0);
        Ok(Some(Tuned {
            contender: contender.with(&mut *best.rule)?,
            score: best.score,
            before,
            candidates: count,
            searched: space::searched(&mut *own),
        }))
    }

    /// Lets all of `rules` descend. None if interrupted.
    fn judge(
        &self,
        mut rules: Vec<Box<dyn Rule>>,
        schedule: &Schedule,
        interrupt: &Interrupt,
        progress: &mut Progress,
    ) -> Result<Option<Vec<Candidate>>> {
        let mut candidates = Vec::with_capacity(rules.len());
        while !rules.is_empty() {
            let rest = rules.split_off(rules.len().min(TOGETHER));
            let Some(scores) = self.scores(&mut rules, schedule, interrupt)? else {
                return Ok(None);
            };
            progress.advance(rules.len() as u64);
            let judged = rules.into_iter().zip(scores);
            candidates.extend(judged.map(|(rule, score)| Candidate { rule, score }));
            rules = rest;
        }
        Ok(Some(candidates))
    }

    fn scores(
        &self,
        rules: &mut [Box<dyn Rule>],
        schedule: &Schedule,
        interrupt: &Interrupt,
    ) -> Result<Option<Vec<f64>>> {
        let entrants = rules.iter_mut().map(|rule| {
            Ok(Entrant {
                rule: copy(&mut **rule)?,
                schedule: schedule.clone(),
                starts: self.starts.clone(),
            })
        });
        let task = self.task;
        let plan = Plan {
            function: &*task.function,
            entrants: entrants.collect::<Result<_>>()?,
            steps: task.steps,
            every: 1,
            noise: task.noise,
        };
        let mut courses = vec![Course::BEFORE; rules.len() * self.starts.len()];
        let mut observe = |frame: &Frame| {
            for (course, &at) in courses.iter_mut().zip(&frame.positions) {
                let value = task.function.derivatives(at).value;
                course.observe(frame.step, value, &self.goal);
            }
        };
        observe(&plan.first());
        let mut descent = race::open(self.device, plan)?;
        while let Some(chunk) = descent.advance()? {
            chunk.frames.iter().for_each(&mut observe);
            if interrupt.is_requested() {
                return Ok(None);
            }
        }
        let score = |course: &Course| course.score(task.steps, &self.goal);
        let by_rule = courses.chunks(self.starts.len());
        let scores = by_rule.map(|courses| median(courses.iter().map(score).collect()));
        scores
            .collect::<Option<_>>()
            .context("A search needs a start.")
            .map(Some)
    }
}

/// The task's starts, and some around each.
fn starts(task: &Task, seed: u32) -> Vec<Point> {
    let mut random = ChaCha8Rng::seed_from_u64(seed.into());
    // The candidates come from stream 0.
    random.set_stream(1);
    let mut starts = task.starts.clone();
    for start in &task.starts {
        for _ in 0..NEIGHBOURS {
            let mut near = *start;
            for (x, [least, most]) in near.iter_mut().zip(task.function.domain()) {
                let reach = SPREAD * (most - least);
                *x = (*x + random.random_range(-reach..reach)).clamp(*least, *most);
            }
            starts.push(near);
        }
    }
    starts
}

/// The best first; of equals, the earlier.
fn sort(candidates: &mut [Candidate]) {
    candidates.sort_by(|a, b| a.score.total_cmp(&b.score));
}

/// The middle one; the upper one of an even number.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
