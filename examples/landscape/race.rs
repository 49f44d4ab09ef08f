//! Rules side by side from the same starts, and the paths that they take.

use anyhow::{Result, ensure};
use flags::device::Device;
use report::{Interrupt, Progress};

use crate::arguments::Task;
use crate::contenders::Contender;
use crate::descent::cpu::OnCpu;
use crate::descent::gpu::OnGpu;
use crate::descent::{Descent, Entrant, Frame, Plan};
use crate::functions::{Function, Point};

/// Most positions that are kept, of 24 bytes each.
const MOST_KEPT: u64 = 40_000_000;

/// The way of one rule from one start.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// Position among the contenders.
    pub contender: usize,
    pub start: Point,
    /// From step 0 on.
    pub places: Vec<Place>,
}

/// A point on a path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    pub step: u64,
    pub at: Point,
    /// The function there, without noise.
    pub value: f64,
}

impl Path {
    /// The last place that is finite: the start at least.
    pub fn end(&self) -> Place {
        let mut places = self.places.iter().rev();
        let finite = places.find(|place| place.is_finite());
        *finite.unwrap_or(&self.places[0])
    }

    /// From which step on it is no finite number.
    pub fn lost(&self) -> Option<u64> {
        let mut places = self.places.iter();
        places
            .find(|place| !place.is_finite())
            .map(|place| place.step)
    }
}

impl Place {
    fn is_finite(&self) -> bool {
        self.at.iter().all(|x| x.is_finite()) && self.value.is_finite()
    }
}

/// The descent of `plan` on `device`.
pub fn open<'a>(device: &Device, plan: Plan<'a>) -> Result<Box<dyn Descent + 'a>> {
    Ok(match device {
        Device::Gpu(gpu) => {
            let descent = OnGpu::new(&gpu.device, &gpu.queue, plan);
            Box::new(pollster::block_on(descent)?)
        }
        Device::Cpu => Box::new(OnCpu::<f32>::new(plan)?),
    })
}

/// Whoever wants to know of each kept step as soon as it is there.
pub type Observer<'a> = dyn FnMut(&Frame) -> Result<()> + 'a;

/// Who takes part, from where, and on what.
#[derive(Clone, Copy)]
pub struct Race<'a> {
    pub device: &'a Device,
    pub task: &'a Task,
    pub contenders: &'a [Contender],
    /// Each how many steps positions are kept.
    pub every: u64,
}

impl Race<'_> {
    /// The paths by contender and then by start: as far as they got before an interruption. All of
    /// the steps are `task.steps` parts of the progress.
    pub fn run(
        &self,
        interrupt: &Interrupt,
        progress: &mut Progress,
        observe: &mut Observer<'_>,
    ) -> Result<Vec<Path>> {
        self.check()?;
        let plan = self.plan()?;
        let first = plan.first();
        let mut paths = self.paths();
        let mut keep = |frame: &Frame| {
            observe(frame)?;
            for (path, &at) in paths.iter_mut().zip(&frame.positions) {
                path.places
                    .push(place(&*self.task.function, frame.step, at));
            }
            Ok::<_, anyhow::Error>(())
        };
        let mut descent = open(self.device, plan)?;
        keep(&first)?;
        let mut done = 0;
        while !interrupt.is_requested()
            && let Some(chunk) = descent.advance()?
        {
            chunk.frames.iter().try_for_each(&mut keep)?;
            progress.advance(chunk.done - done);
            done = chunk.done;
        }
        Ok(paths)
    }

    fn check(&self) -> Result<()> {
        let kept = self.task.steps / self.every + 2;
        let paths = (self.contenders.len() * self.task.starts.len()) as u64;
        ensure!(
            kept * paths <= MOST_KEPT,
            "{paths} paths of {kept} places each are more than fit into memory: expected at most {MOST_KEPT} \
             places. --every {} keeps fewer.",
            (self.task.steps * paths).div_ceil(MOST_KEPT / 2)
        );
        Ok(())
    }

    fn plan(&self) -> Result<Plan<'_>> {
        let entrants = self.contenders.iter().map(|contender| {
            Ok(Entrant {
                rule: contender.rule()?,
                schedule: contender.schedule.clone(),
                starts: self.task.starts.clone(),
            })
        });
        Ok(Plan {
            function: &*self.task.function,
            entrants: entrants.collect::<Result<_>>()?,
            steps: self.task.steps,
            every: self.every,
            noise: self.task.noise,
        })
    }

    /// Paths without a place yet.
    fn paths(&self) -> Vec<Path> {
        let starts = &self.task.starts;
        let contenders = 0..self.contenders.len();
        let paths = contenders.flat_map(|contender| {
            starts.iter().map(move |&start| Path {
                contender,
                start,
                places: Vec::new(),
            })
        });
        paths.collect()
    }
}

pub fn place(function: &dyn Function, step: u64, at: Point) -> Place {
    Place {
        step,
        at,
        value: function.derivatives(at).value,
    }
}
