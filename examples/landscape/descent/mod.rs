//! Optimizers that descend a function side by side: the library's own steps, on the GPU or on the
//! CPU, with a gradient kernel for all points.

mod courses;
pub mod cpu;
pub mod gpu;
pub mod noise;
#[cfg(test)]
mod tests;

use anyhow::Result;
use wgpu_optim::Rule;
use wgpu_optim::schedule::Schedule;

use crate::functions::{Function, Point};

pub use courses::{copy, couples};
pub use noise::Noise;

/// A rule, and the points that descend by it, each by itself.
pub struct Entrant {
    pub rule: Box<dyn Rule>,
    /// Of the part of the rule's learning rate.
    pub schedule: Schedule,
    pub starts: Vec<Point>,
}

/// Who descends what, and for how long.
pub struct Plan<'a> {
    pub function: &'a dyn Function,
    pub entrants: Vec<Entrant>,
    /// At least 1.
    pub steps: u64,
    /// Each how many steps positions are kept, beside the last step's. At least 1.
    pub every: u64,
    pub noise: Option<Noise>,
}

impl Plan<'_> {
    /// Where all points begin.
    pub fn first(&self) -> Frame {
        let starts = self.entrants.iter().flat_map(|entrant| &entrant.starts);
        Frame {
            step: 0,
            positions: starts.copied().collect(),
        }
    }

    fn keeps(&self, step: u64) -> bool {
        step.is_multiple_of(self.every) || step == self.steps
    }
}

/// Where all points are after a step, by entrant and then by start. An f32 each on a GPU.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// 0 is the start.
    pub step: u64,
    pub positions: Vec<Point>,
}

/// The course of a [`Plan`] on some device.
pub trait Descent {
    /// Takes some of the steps that are left, and gives those that are kept of them. None once no
    /// step is left.
    fn advance(&mut self) -> Result<Option<Chunk>>;
}

/// Some steps, one after another.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// How many steps are done in all.
    pub done: u64,
    /// Those that are kept.
    pub frames: Vec<Frame>,
}
