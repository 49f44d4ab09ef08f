//! Which tensors there are for the points of a plan: each point is one, so that rules that look at
//! whole tensors take a point for one.

use anyhow::Result;
use wgpu_optim::{
    Extent, Group, Layout, MatrixWork, Over, Rule, Tensor, rules, schedule::Schedule,
};

use super::{Entrant, Plan};
use crate::functions::Point;

/// Points that one optimizer can step without one's influence on another.
pub struct Course {
    pub layout: Layout,
    pub groups: Vec<Members>,
    /// Position of the first point among all of the plan.
    pub first: usize,
}

/// The points of a parameter group.
pub struct Members {
    pub group: Group,
    pub rate: Rate,
    /// The part of the function's Hessian that the rule takes.
    pub curvature: Option<Curvature>,
    pub tensors: Vec<Tensor>,
    pub starts: Vec<Point>,
    /// The number of the first start among those of its entrant, which noise depends on.
    pub first_start: usize,
}

/// A learning rate, and how it goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct Rate {
    /// What the schedule is a part of.
    pub whole: f64,
    pub schedule: Schedule,
}

impl Rate {
    /// At the step after `done` steps; None if it is as before.
    pub fn next(&self, done: u64) -> Option<f64> {
        let is_changing = self.schedule != Schedule::Constant;
        is_changing.then(|| self.whole * self.schedule.at(1.0, done))
    }
}

/// An input of a rule beside the gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Curvature {
    pub slot: &'static str,
    /// The whole Hessian and not its diagonal alone.
    pub whole: bool,
}

impl Course {
    fn new(first: usize) -> Self {
        Self {
            layout: Layout::new(),
            groups: Vec::new(),
            first,
        }
    }

    /// All points with their starts, in order.
    pub fn points(&self) -> impl Iterator<Item = (Tensor, Point)> {
        let members = self.groups.iter();
        members.flat_map(|members| {
            let starts = members.starts.iter().copied();
            members.tensors.iter().copied().zip(starts)
        })
    }

    /// For each point the number of its start.
    pub fn start_numbers(&self) -> impl Iterator<Item = usize> {
        let members = self.groups.iter();
        members.flat_map(|members| (members.first_start..).take(members.starts.len()))
    }

    fn add(
        &mut self,
        rule: Box<dyn Rule>,
        schedule: Schedule,
        starts: &[Point],
        first_start: usize,
        dimensions: usize,
    ) -> Result<()> {
        // Muon is for matrices alone.
        let shape = match rule.stages().matrix.map(|stage| stage.work) {
            Some(MatrixWork::Orthogonalize { .. }) => vec![1, dimensions],
            _ => vec![dimensions],
        };
        let (whole, curvature) = (rule.lr(), curvature(&*rule));
        let group = self.layout.group(rule)?;
        let mut tensors = Vec::with_capacity(starts.len());
        for _ in starts {
            let name = self.layout.tensors().len().to_string();
            tensors.push(self.layout.tensor(group, &name, &shape)?);
        }
        self.groups.push(Members {
            group,
            rate: Rate { whole, schedule },
            curvature,
            tensors,
            starts: starts.to_vec(),
            first_start,
        });
        Ok(())
    }
}

fn curvature(rule: &dyn Rule) -> Option<Curvature> {
    let slots = rule.slots();
    let input = slots.into_iter().find(|slot| slot.input && slot.used)?;
    Some(Curvature {
        slot: input.name,
        whole: input.extent == Extent::Pair,
    })
}

/// Whether points of `rule` that are stepped together influence one another.
pub fn couples(rule: &dyn Rule) -> bool {
    rule.stages()
        .sum
        .is_some_and(|sum| sum.over == Over::Everything)
}

/// The courses of `plan`, in the order of its points.
pub fn of(plan: &mut Plan<'_>) -> Result<Vec<Course>> {
    let dimensions = plan.function.dimensions();
    let mut courses: Vec<Course> = Vec::new();
    let mut first = 0;
    let mut shared = false;
    for entrant in std::mem::take(&mut plan.entrants) {
        let Entrant {
            mut rule,
            schedule,
            starts,
        } = entrant;
        if couples(&*rule) {
            for (number, start) in starts.iter().enumerate() {
                let mut course = Course::new(first + number);
                let (rule, schedule) = (copy(&mut *rule)?, schedule.clone());
                course.add(rule, schedule, &[*start], number, dimensions)?;
                courses.push(course);
            }
            shared = false;
        } else {
            if !shared {
                courses.push(Course::new(first));
            }
            if let Some(course) = courses.last_mut() {
                course.add(rule, schedule, &starts, 0, dimensions)?;
            }
            shared = true;
        }
        first += starts.len();
    }
    Ok(courses)
}

/// The same rule of the library's once more.
pub fn copy(rule: &mut dyn Rule) -> Result<Box<dyn Rule>> {
    let mut copy = rules::by_name(rule.name())?;
    for field in rule.hyperparameters() {
        copy.set(field.name, &field.value())?;
    }
    Ok(copy)
}
