//! The descent on the CPU: in f32 where there is no GPU, in f64 to check one against.

use anyhow::Result;
use wgpu_optim::Tensor;
use wgpu_optim::cpu::{Optimizer, Real};

use super::courses::{self, Course, Members};
use super::{Chunk, Descent, Frame, Plan, noise};
use crate::functions::Point;

/// Steps of all points between two chances to stop, and steps at most.
const CHUNK: u64 = 1 << 16;
const MOST_STEPS: u64 = 256;

pub struct OnCpu<'a, T> {
    plan: Plan<'a>,
    parts: Vec<(Course, Optimizer<T>)>,
    done: u64,
}

impl<'a, T: Real> OnCpu<'a, T> {
    pub fn new(mut plan: Plan<'a>) -> Result<Self> {
        let mut parts = Vec::new();
        for course in courses::of(&mut plan)? {
            let mut optimizer = Optimizer::new(&course.layout)?;
            for (tensor, start) in course.points() {
                for (x, start) in optimizer.param_mut(tensor)?.iter_mut().zip(start) {
                    *x = T::from_f64(start);
                }
            }
            parts.push((course, optimizer));
        }
        Ok(Self {
            plan,
            parts,
            done: 0,
        })
    }

    fn positions(&self) -> Result<Vec<Point>> {
        let parts = self.parts.iter();
        let points = parts.flat_map(|(course, optimizer)| {
            let points = course.points();
            points.map(|(tensor, _)| position(optimizer, tensor))
        });
        points.collect()
    }

    fn step(&mut self) -> Result<()> {
        let plan = &self.plan;
        for (course, optimizer) in &mut self.parts {
            for members in &course.groups {
                if let Some(lr) = members.rate.next(self.done) {
                    optimizer.set_lr(members.group, lr)?;
                }
                if members.curvature.is_some() {
                    optimizer.refresh(members.group)?;
                }
                differentiate(plan, members, optimizer, self.done as u32 + 1)?;
            }
            optimizer.step()?;
        }
        self.done += 1;
        Ok(())
    }
}

fn position<T: Real>(optimizer: &Optimizer<T>, tensor: Tensor) -> Result<Point> {
    let mut position = [0.0; 2];
    for (to, from) in position.iter_mut().zip(optimizer.param(tensor)?) {
        *to = from.to_f64().unwrap_or(f64::NAN);
    }
    Ok(position)
}

/// Fills the gradients of a group's points, and what its rule takes beside.
fn differentiate<T: Real>(
    plan: &Plan<'_>,
    members: &Members,
    optimizer: &mut Optimizer<T>,
    step: u32,
) -> Result<()> {
    for (number, &tensor) in members.tensors.iter().enumerate() {
        let found = plan.function.derivatives(position(optimizer, tensor)?);
        let mut gradient = found.gradient.map(T::from_f64);
        if let Some(noise) = plan.noise {
            let start = (members.first_start + number) as u32;
            let normals = noise::normals(noise.seed, step, start);
            for (element, normal) in gradient.iter_mut().zip(normals) {
                *element = *element + T::from_f64(noise.sigma) * T::from_f64(normal.into());
            }
        }
        let grad = optimizer.grad_mut(tensor)?;
        let count = grad.len();
        grad.copy_from_slice(&gradient[..count]);
        if let Some(curvature) = members.curvature {
            let [xx, xy, yy] = found.hessian.map(T::from_f64);
            let state = optimizer.state_mut(tensor, curvature.slot)?;
            let values = if curvature.whole && count == 2 {
                [xx, xy, xy, yy]
            } else {
                [xx, yy, yy, yy]
            };
            let count = state.len();
            state.copy_from_slice(&values[..count]);
        }
    }
    Ok(())
}

impl<T: Real> Descent for OnCpu<'_, T> {
    fn advance(&mut self) -> Result<Option<Chunk>> {
        if self.done == self.plan.steps {
            return Ok(None);
        }
        let points = self
            .parts
            .iter()
            .map(|(course, _)| course.points().count() as u64);
        let steps = (CHUNK / points.sum::<u64>().max(1)).clamp(1, MOST_STEPS);
        let mut frames = Vec::new();
        for _ in 0..steps.min(self.plan.steps - self.done) {
            self.step()?;
            if self.plan.keeps(self.done) {
                frames.push(Frame {
                    step: self.done,
                    positions: self.positions()?,
                });
            }
        }
        Ok(Some(Chunk {
            done: self.done,
            frames,
        }))
    }
}
