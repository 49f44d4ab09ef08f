//! The CPU twin: the same layout, rules and numbers without a GPU.
//!
//! In f64 it is the reference for GPU results. In f32 it is a multi-threaded fallback.

mod arena;
mod bytes;
mod checkpoint;
mod coded;
mod control;
mod copied;
mod gradients;
mod group;
mod lines;
mod step;
mod transfer;
mod turn;

use rayon::prelude::*;

pub use crate::rule::{Block, Real, Shape, Step, Sums, Twin, ema, pull};
use arena::{CHUNK, Values};
use gradients::{Scaler, clip_factor};
use group::{GroupState, StepPart, swap};
use turn::Work;

use crate::{Clip, Error, GroupStats, Layout, Options, Stats, layout::Arena};

/// Keeps the parameters, gradients and state of a [`Layout`] in memory, and steps them.
///
/// ```
/// use wgpu_optim::{Layout, cpu, rules::Sgd};
///
/// let mut layout = Layout::new();
/// let group = layout.group(Sgd { lr: 0.5, ..Default::default() })?;
/// let x = layout.tensor(group, "x", &[2])?;
///
/// let mut optimizer = cpu::Optimizer::<f64>::new(&layout)?;
/// optimizer.param_mut(x)?.copy_from_slice(&[1.0, 2.0]);
/// optimizer.grad_mut(x)?.copy_from_slice(&[4.0, -4.0]);
/// optimizer.step()?;
/// assert_eq!(optimizer.param(x)?, [-1.0, 4.0]);
/// # Ok::<(), wgpu_optim::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Optimizer<T> {
    layout: Layout,
    arena: Arena,
    params: Values<T>,
    grads: Values<T>,
    groups: Vec<GroupState<T>>,
    options: Options,
    scaler: Scaler,
    stats: Stats,
    evaluating: bool,
}

impl<T: Real> Optimizer<T> {
    /// Creates an optimizer. Parameters and gradients start at zero, and state as each rule says.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn new(layout: &Layout) -> Result<Self, Error> {
        Self::with_options(layout, Options::default())
    }

    /// [`new`](Self::new) with clipping, loss scaling and the other options.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::Hyperparameter`] for options out of range.
    pub fn with_options(layout: &Layout, options: Options) -> Result<Self, Error> {
        options.check(layout)?;
        let arena = layout.arena();
        let mut groups = Vec::new();
        for group in layout.groups() {
            groups.push(GroupState::new(layout, &arena, &options, group)?);
        }
        Ok(Self {
            params: Values::zeros(arena.element_count(), 0, "parameters")?,
            grads: Values::zeros(arena.element_count(), 1, "gradients")?,
            layout: layout.clone(),
            arena,
            groups,
            scaler: Scaler::new(&options),
            stats: Stats {
                clip_factor: 1.0,
                ..Default::default()
            },
            options,
            evaluating: false,
        })
    }

    /// The factor for the next loss. It is 1 without a loss scale.
    pub fn loss_scale(&self) -> f64 {
        self.scaler.scale
    }

    /// Continues from another loss scale that was good for `good_steps` steps, for instance after
    /// loading a checkpoint.
    ///
    /// # Errors
    /// [`Error::Hyperparameter`] unless [`Options::loss_scale`] is set, `scale` is from 2⁻¹²⁶ to 2¹²⁶
    /// over the number of micro-batches, and `good_steps` are fewer than let the scale grow.
    pub fn set_loss_scale(&mut self, scale: f64, good_steps: u32) -> Result<(), Error> {
        self.options
            .check_loss_scale(&self.layout, scale, good_steps)?;
        self.scaler.scale = scale;
        self.scaler.good_steps = good_steps;
        Ok(())
    }

    /// The training statistics.
    pub fn stats(&self) -> Stats {
        let groups = self.groups.iter().map(|group| GroupStats {
            step_count: group.progress.step_count() - group.skips.count,
            skipped: group.skips.before + group.skips.count,
            lr: group.progress.last_lr(),
            damping: group.solved.damping,
            failures: group.solved.failures,
            unsolved: group.solved.unsolved,
        });
        Stats {
            loss_scale: self.scaler.scale,
            good_steps: u64::from(self.scaler.good_steps),
            groups: groups.collect(),
            ..self.stats.clone()
        }
    }

    /// Updates the parameters of all groups that are not frozen from their gradients. It uses all
    /// of rayon's threads where that pays.
    ///
    /// # Errors
    /// [`Error::Evaluating`] after [`evaluate`](Self::evaluate).
    pub fn step(&mut self) -> Result<(), Error> {
        self.check_training()?;
        let groups = self.layout.groups();
        let groups: Vec<_> = groups
            .filter(|group| !self.groups[group.0].progress.frozen)
            .collect();
        let grad_norm = self.options.skips().then(|| self.norm_of(&groups));
        let skipped = grad_norm == Some(None);
        // The scale that these gradients have.
        let unscale = 1.0 / (self.scaler.scale * f64::from(self.options.accumulate));
        if skipped {
            self.stats.skipped += 1;
        } else {
            self.stats.performed += 1;
            self.stats.grad_norm = grad_norm.flatten().map(|norm| norm * unscale);
        }
        if let Clip::GlobalNorm(most) = self.options.clip
            && let (false, Some(norm)) = (skipped, self.stats.grad_norm)
        {
            self.stats.clip_factor = clip_factor(norm, most);
        }
        let mut performed = Vec::new();
        for &group in &groups {
            let GroupState {
                rule,
                progress,
                skips,
                past,
                ..
            } = &mut self.groups[group.0];
            past.push(progress);
            let step = progress.advance(&**rule);
            if skipped {
                skips.skip(step);
            } else {
                performed.push((group, skips.perform(step)));
            }
            past.keep(skips.count);
        }
        self.perform(&performed, unscale * self.stats.clip_factor);
        for group in groups.iter().filter(|_| self.options.zero_grad) {
            let grads = &mut self.grads[self.arena.groups[group.0].clone()];
            let chunks = grads.par_chunks_mut(CHUNK);
            chunks.for_each(|grads| grads.fill(T::zero()));
        }
        if let Some(options) = &self.options.loss_scale {
            self.scaler.update(options, skipped);
        }
        Ok(())
    }

    /// Replaces the parameters to train with by those to evaluate with. The two differ if there is
    /// an [average](Options::average), or if a rule evaluates elsewhere
    /// ([`Declaration::evaluates_elsewhere`](crate::Declaration::evaluates_elsewhere)). Call it
    /// before evaluating, and at the end of training. In f32, parameters in fewer bits become the average
    /// rounded to the nearest, and [`train`](Self::train) restores both to the bit.
    pub fn evaluate(&mut self) {
        if !std::mem::replace(&mut self.evaluating, true) {
            self.switch(&|twin, block, _| twin.evaluate(block));
        }
    }

    /// Returns to the parameters to train with.
    pub fn train(&mut self) {
        if std::mem::take(&mut self.evaluating) {
            self.switch(&|twin, block, _| twin.train(block));
        }
    }

    /// Refuses what only parameters to train with allow: [`train`](Self::train) would mix others up.
    fn check_training(&self) -> Result<(), Error> {
        match self.evaluating {
            true => Err(Error::Evaluating),
            false => Ok(()),
        }
    }

    fn switch(&mut self, work: &Work<'_, T, ()>) {
        for group in self.layout.groups() {
            let range = self.arena.groups[group.0].clone();
            let GroupState {
                rule,
                progress,
                skips,
                state,
                ..
            } = &mut self.groups[group.0];
            if progress.step_count() == skips.count {
                // Before its first step, a group has no other parameters.
                continue;
            }
            if rule.evaluates_elsewhere() {
                let all = StepPart {
                    elements: 0..range.len(),
                    // This is not a step.
                    now: Step::default().rounded(),
                    tensor: None,
                };
                self.each_block(group, &[all], None, work);
            } else if let (Some(_), Some(average)) = (self.options.average, state.last_mut()) {
                let encoding = self.layout.storage(group).params;
                swap(encoding, &mut self.params[range], average, self.evaluating);
            }
        }
    }
}
