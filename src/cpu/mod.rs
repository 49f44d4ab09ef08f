//! The CPU twin: the same layout, rules and numbers without a GPU.
//!
//! In f64 it is the truth that GPU results are checked against; in f32 it is a multi-threaded
//! fallback.

mod gradients;
mod twin;

use std::{ops::Range, sync::Arc};

use rayon::prelude::*;

pub use twin::{Block, Real, Step, Twin};

use gradients::{Scaler, clip_factor, norm};

use crate::{
    Clip, Error, Group, GroupStats, Layout, LossScale, Options, Rule, Slot, Stats, Tensor,
    layout::{Arena, TensorEntry},
    progress::{Progress, Skips},
    rule::position_of,
};

/// Elements that one thread takes at a time.
const CHUNK: usize = 16 * 1024;

/// Keeps parameters, gradients and state of a [`Layout`] in memory and steps them.
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
    params: Vec<T>,
    grads: Vec<T>,
    groups: Vec<GroupState<T>>,
    options: Options,
    scaler: Scaler,
    stats: Stats,
    evaluating: bool,
}

#[derive(Debug, Clone)]
struct GroupState<T> {
    rule: Arc<dyn Rule>,
    progress: Progress,
    skips: Skips,
    slots: Vec<Slot>,
    /// One arena per slot, indexed from the group's start; empty if not in use.
    state: Vec<Vec<T>>,
}

/// What is done with each block of a group.
type Work<'a, T> = dyn Fn(&dyn Twin<T>, Block<'_, T>) + Sync + 'a;

impl<T: Real> Optimizer<T> {
    /// Parameters and gradients start at zero, state as each rule says.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn new(layout: &Layout) -> Result<Self, Error> {
        Self::with_options(layout, Options::default())
    }

    /// [`new`](Self::new) with clipping, loss scaling and the rest.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::Hyperparameter`] for options out of range.
    pub fn with_options(layout: &Layout, options: Options) -> Result<Self, Error> {
        options.check(layout)?;
        let arena = layout.arena();
        let mut groups = Vec::new();
        for (group, rule) in layout.groups().zip(&layout.groups) {
            let slots = options.element_slots(&**rule);
            let mut state = Vec::new();
            for slot in &slots {
                let count = if slot.used {
                    arena.groups[group.0].len()
                } else {
                    0
                };
                let mut values = zeros(count, slot.name)?;
                // Padding starts at zero whatever the tensors start at, so that it stays zero.
                for tensor in layout.tensors_in(&arena, group).filter(|_| slot.used) {
                    values[tensor].fill(T::from_f64(slot.start));
                }
                state.push(values);
            }
            groups.push(GroupState {
                progress: Progress::new(&**rule),
                skips: Skips::default(),
                slots,
                state,
                rule: rule.clone(),
            });
        }
        Ok(Self {
            params: zeros(arena.element_count(), "parameters")?,
            grads: zeros(arena.element_count(), "gradients")?,
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

    /// The parameters of `tensor`, row-major.
    ///
    /// # Errors
    /// [`Error::UnknownHandle`] for another layout's tensor, here and below.
    pub fn param(&self, tensor: Tensor) -> Result<&[T], Error> {
        let range = self.range(tensor)?;
        Ok(&self.params[range])
    }

    /// The parameters of `tensor`, to be written.
    pub fn param_mut(&mut self, tensor: Tensor) -> Result<&mut [T], Error> {
        let range = self.range(tensor)?;
        Ok(&mut self.params[range])
    }

    /// The gradient of `tensor`.
    pub fn grad(&self, tensor: Tensor) -> Result<&[T], Error> {
        let range = self.range(tensor)?;
        Ok(&self.grads[range])
    }

    /// The gradient of `tensor`, to be written before each step.
    pub fn grad_mut(&mut self, tensor: Tensor) -> Result<&mut [T], Error> {
        let range = self.range(tensor)?;
        Ok(&mut self.grads[range])
    }

    /// The state `slot` (such as `"exp_avg"`) of `tensor`.
    ///
    /// # Errors
    /// [`Error::UnknownState`] if the tensor's rule keeps none of that name.
    pub fn state(&self, tensor: Tensor, slot: &str) -> Result<&[T], Error> {
        let (group, slot, range) = self.state_range(tensor, slot)?;
        Ok(&self.groups[group.0].state[slot][range])
    }

    /// The state `slot` of `tensor`, to be written.
    pub fn state_mut(&mut self, tensor: Tensor, slot: &str) -> Result<&mut [T], Error> {
        let (group, slot, range) = self.state_range(tensor, slot)?;
        Ok(&mut self.groups[group.0].state[slot][range])
    }

    /// The learning rate of `group`'s next step.
    pub fn lr(&self, group: Group) -> Result<f64, Error> {
        Ok(self.progress(group)?.lr())
    }

    /// Sets the learning rate of `group` from the next step on.
    ///
    /// # Errors
    /// [`Error::Hyperparameter`] unless `lr` is finite and not negative.
    pub fn set_lr(&mut self, group: Group, lr: f64) -> Result<(), Error> {
        let (progress, rule) = self.progress_mut(group)?;
        progress.set_lr(rule, lr)
    }

    /// Steps that `group` has performed.
    pub fn step_count(&self, group: Group) -> Result<u64, Error> {
        let recorded = self.progress(group)?.step_count();
        Ok(recorded - self.groups[group.0].skips.count)
    }

    /// Continues at another step count, as after loading a checkpoint.
    ///
    /// # Errors
    /// [`Error::StepCount`] beyond 2⁵².
    pub fn set_step_count(&mut self, group: Group, t: u64) -> Result<(), Error> {
        self.progress_mut(group)?.0.set_step_count(t)?;
        self.groups[group.0].skips = Skips::default();
        Ok(())
    }

    /// A number that `group`'s rule keeps one of, such as `"weight_sum"`.
    ///
    /// # Errors
    /// [`Error::UnknownState`] names those there are.
    pub fn group_state(&self, group: Group, slot: &str) -> Result<f64, Error> {
        self.progress(group)?.state(self.layout.rule(group)?, slot)
    }

    /// Sets a number that `group`'s rule keeps one of, as after loading a checkpoint.
    ///
    /// # Errors
    /// [`Error::UnknownState`]; [`Error::Hyperparameter`] unless `value` is finite.
    pub fn set_group_state(&mut self, group: Group, slot: &str, value: f64) -> Result<(), Error> {
        let (progress, rule) = self.progress_mut(group)?;
        progress.set_state(rule, slot, value)
    }

    /// Leaves `group` out of the steps to come, or takes it in again. A frozen group's parameters,
    /// state and step count stay as they are.
    pub fn set_frozen(&mut self, group: Group, frozen: bool) -> Result<(), Error> {
        self.progress_mut(group)?.0.frozen = frozen;
        Ok(())
    }

    /// Says that the inputs of `group`'s rule were filled anew (through
    /// [`state_mut`](Self::state_mut)) for its next step.
    pub fn refresh(&mut self, group: Group) -> Result<(), Error> {
        self.progress_mut(group)?.0.refreshed = true;
        Ok(())
    }

    /// What the next loss is to be multiplied by; 1 without a loss scale.
    pub fn loss_scale(&self) -> f64 {
        self.scaler.scale
    }

    /// Goes on from another loss scale, as after loading a checkpoint.
    ///
    /// # Errors
    /// [`Error::Hyperparameter`] unless [`Options::loss_scale`] is set and `scale` is a normal f32
    /// above zero.
    pub fn set_loss_scale(&mut self, scale: f64) -> Result<(), Error> {
        let options = self.options.loss_scale.map(|options| LossScale {
            init_scale: scale,
            ..options
        });
        let options = Options {
            loss_scale: Some(options.ok_or_else(|| Error::Hyperparameter {
                rule: "options".to_owned(),
                name: "loss_scale".to_owned(),
                value: "None".to_owned(),
                allowed: "Some(…), for a scale to be set".to_owned(),
            })?),
            ..self.options.clone()
        };
        options.check(&self.layout)?;
        self.scaler = Scaler::new(&options);
        Ok(())
    }

    /// How training goes.
    pub fn stats(&self) -> Stats {
        let groups = self.groups.iter().map(|group| GroupStats {
            step_count: group.progress.step_count() - group.skips.count,
            skipped: group.skips.count,
            lr: group.progress.last_lr(),
        });
        Stats {
            loss_scale: self.scaler.scale,
            groups: groups.collect(),
            ..self.stats.clone()
        }
    }

    /// Updates the parameters of all groups that are not frozen from their gradients, on all of
    /// rayon's threads where it pays.
    ///
    /// # Errors
    /// [`Error::Evaluating`] after [`evaluate`](Self::evaluate).
    pub fn step(&mut self) -> Result<(), Error> {
        if self.evaluating {
            return Err(Error::Evaluating);
        }
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
        for &group in &groups {
            let GroupState {
                rule,
                progress,
                skips,
                ..
            } = &mut self.groups[group.0];
            let step = progress.advance(&**rule);
            if skipped {
                skips.skip(step);
            } else {
                let step = skips.perform(step);
                self.update(group, step, unscale * self.stats.clip_factor);
            }
            if self.options.zero_grad {
                self.grads[self.arena.groups[group.0].clone()].fill(T::zero());
            }
        }
        if let Some(options) = &self.options.loss_scale {
            self.scaler.update(options, skipped);
        }
        Ok(())
    }

    /// The norm of all gradients of `groups`, as they are.
    fn norm_of(&self, groups: &[Group]) -> Option<f64> {
        let mut total = 0.0f64;
        for group in groups {
            total = total.hypot(norm(&self.grads[self.arena.groups[group.0].clone()])?);
        }
        Some(total)
    }

    /// One performed step of `group`, whose gradients are multiplied by `grad_scale` first.
    fn update(&mut self, group: Group, step: Step<f64>, grad_scale: f64) {
        let average = self.options.average;
        if average.is_some_and(|average| !average.debias) && step.t == 1 {
            self.start_average(group);
        }
        let range = self.arena.groups[group.0].clone();
        let scaled = |factor| Step {
            grad_scale: step.grad_scale * grad_scale * factor,
            ..step
        };
        let parts: Vec<_> = match self.options.clip {
            Clip::TensorNorm(most) => {
                let tensors = self.layout.tensors_in(&self.arena, group);
                let clipped = tensors.map(|tensor| {
                    let grads = &self.grads[range.start..][tensor.clone()];
                    // Finite, or the step would have been skipped.
                    let norm = norm(grads).unwrap_or_default();
                    (tensor, scaled(clip_factor(norm * grad_scale, most)))
                });
                clipped.collect()
            }
            _ => vec![(0..range.len(), scaled(1.0))],
        };
        for (elements, step) in parts {
            let now = step.rounded();
            self.each_block(group, elements, now.grad_scale, &|twin, block| {
                twin.update(block, now);
            });
        }
        if let Some(average) = average {
            let weight = T::from_f64(average.weight(step.t));
            let state = &mut self.groups[group.0].state;
            let Some(average) = state.last_mut() else {
                return;
            };
            average
                .par_iter_mut()
                .zip(&self.params[range])
                .for_each(|(average, &p)| *average = *average + weight * (p - *average));
        }
    }

    /// The average begins as what the parameters are now.
    fn start_average(&mut self, group: Group) {
        let range = self.arena.groups[group.0].clone();
        if let Some(average) = self.groups[group.0].state.last_mut() {
            average.copy_from_slice(&self.params[range]);
        }
    }

    /// Puts the parameters to evaluate with in the place of those to train with, where there are
    /// others: the [average](Options::average), or what a rule has
    /// ([`Rule::evaluates_elsewhere`]). At the end of training too.
    pub fn evaluate(&mut self) {
        if !std::mem::replace(&mut self.evaluating, true) {
            self.switch(&|twin, block| twin.evaluate(block));
        }
    }

    /// Goes back to the parameters to train with.
    pub fn train(&mut self) {
        if std::mem::take(&mut self.evaluating) {
            self.switch(&|twin, block| twin.train(block));
        }
    }

    fn switch(&mut self, work: &Work<'_, T>) {
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
                // Before its first step a group has no other parameters yet.
                continue;
            }
            if rule.evaluates_elsewhere() {
                self.each_block(group, 0..range.len(), T::one(), work);
            } else if let (Some(_), Some(average)) = (self.options.average, state.last_mut()) {
                average.swap_with_slice(&mut self.params[range]);
            }
        }
    }

    /// Does `work` on blocks of `elements`, which count from the group's start.
    fn each_block(
        &mut self,
        group: Group,
        elements: Range<usize>,
        grad_scale: T,
        work: &Work<'_, T>,
    ) {
        let clip_value = match self.options.clip {
            Clip::Value(most) => Some(T::from_f64(most)),
            _ => None,
        };
        let start = self.arena.groups[group.0].start;
        let in_arena = start + elements.start..start + elements.end;
        let group = &mut self.groups[group.0];
        // All but the average, which is not the rule's.
        let of_rule = group.state.len() - 1;
        let mut state: Vec<_> = group.state[..of_rule]
            .iter_mut()
            .map(|slot| slot.get_mut(elements.clone()).unwrap_or_default())
            .map(|slot| slot.chunks_mut(CHUNK))
            .collect();
        let blocks: Vec<_> = self.params[in_arena.clone()]
            .chunks_mut(CHUNK)
            .zip(self.grads[in_arena].chunks(CHUNK))
            .map(|(params, grads)| Block {
                params,
                grads,
                state: state
                    .iter_mut()
                    .map(|slot| slot.next().unwrap_or_default())
                    .collect(),
                grad_scale,
                clip_value,
            })
            .collect();
        let twin = T::twin(&*group.rule);
        if blocks.len() > 1 {
            blocks.into_par_iter().for_each(|block| work(twin, block));
        } else {
            // Waking threads costs more than one block of work.
            blocks.into_iter().for_each(|block| work(twin, block));
        }
    }

    fn progress(&self, group: Group) -> Result<&Progress, Error> {
        self.layout.check_group(group)?;
        Ok(&self.groups[group.0].progress)
    }

    fn progress_mut(&mut self, group: Group) -> Result<(&mut Progress, &dyn Rule), Error> {
        self.layout.check_group(group)?;
        let GroupState { progress, rule, .. } = &mut self.groups[group.0];
        Ok((progress, &**rule))
    }

    fn range(&self, tensor: Tensor) -> Result<Range<usize>, Error> {
        let count = self.layout.entry(tensor)?.element_count;
        let start = self.arena.tensors[tensor.0];
        Ok(start..start + count)
    }

    fn state_range(
        &self,
        tensor: Tensor,
        slot: &str,
    ) -> Result<(Group, usize, Range<usize>), Error> {
        let &TensorEntry { group, .. } = self.layout.entry(tensor)?;
        let GroupState { rule, slots, .. } = &self.groups[group.0];
        let slot = position_of(&**rule, slots, slot)?;
        let range = self.range(tensor)?;
        let start = self.arena.groups[group.0].start;
        Ok((group, slot, range.start - start..range.end - start))
    }
}

fn zeros<T: Real>(count: usize, what: &str) -> Result<Vec<T>, Error> {
    let mut values = Vec::new();
    let reserved = values.try_reserve_exact(count);
    reserved.map_err(|_| Error::OutOfMemory {
        what: format!("{count} {what}"),
    })?;
    values.resize(count, T::zero());
    Ok(values)
}
