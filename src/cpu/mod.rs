//! The CPU twin: the same layout, rules and numbers without a GPU.
//!
//! In f64 it is the truth that GPU results are checked against; in f32 it is a multi-threaded
//! fallback.

mod arena;
mod gradients;
mod lines;
mod turn;

use std::{ops::Range, sync::Arc};

use rayon::prelude::*;

pub use crate::rule::{Block, Real, Shape, Step, Sums, Twin};
use arena::{Values, zeros};
use gradients::{Scaler, clip_factor, norm};
use lines::LineState;
use turn::{Turn, turns};

use crate::{
    Clip, Error, Group, GroupStats, Layout, LossScale, MatrixStage, MatrixWork, Options, Over,
    Rule, Slot, Stats, Tensor,
    layout::{Arena, Matrices, TensorEntry},
    matrix::{orthogonalize, solve},
    progress::{Progress, Skips},
    rule::{LinePart, bounded, clipped, position_of},
    shader::looks_at_tensors,
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
    params: Values<T>,
    grads: Values<T>,
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
    state: Vec<Values<T>>,
    tensors: Vec<TensorState<T>>,
    /// What became of systems of equations.
    solved: Tally,
}

/// How systems of equations went; see [`GroupStats`].
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    damping: f64,
    failures: u64,
    unsolved: u64,
}

/// What is kept of one tensor of a group.
#[derive(Debug, Clone)]
struct TensorState<T> {
    /// Counted from the group's start.
    elements: Range<usize>,
    matrices: Matrices,
    /// The slots of tensors.
    values: Vec<T>,
    /// That of pairs of elements.
    pairs: Vec<T>,
    /// Those of rows and columns.
    lines: Option<LineState<T>>,
}

/// Elements of a group that are stepped alike: a tensor, or all of them.
#[derive(Debug, Clone)]
struct Part<T> {
    /// Counted from the group's start.
    elements: Range<usize>,
    now: Step<T>,
    /// Position among the group's tensors.
    tensor: Option<usize>,
}

/// What is done with each block of a group.
type Work<'a, T, R> = dyn Fn(&dyn Twin<T>, Block<'_, T>, Step<T>) -> R + Sync + 'a;

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
                // After parameters and gradients.
                let mut values = Values::zeros(count, 2 + state.len(), slot.name)?;
                // Padding starts at zero whatever the tensors start at, so that it stays zero.
                for tensor in layout.tensors_in(&arena, group).filter(|_| slot.used) {
                    values[tensor].fill(T::from_f64(slot.start));
                }
                state.push(values);
            }
            let of_tensor = rule.tensor_slots();
            let keeps_lines = rule.stages().lines.is_some();
            let pair = rule.pair_slot();
            let mut tensors = Vec::new();
            let members = layout.tensors.iter().filter(|tensor| tensor.group == group);
            for (tensor, elements) in members.zip(layout.tensors_in(&arena, group)) {
                let matrices = Matrices::of(&tensor.shape);
                let start = |slot: &Slot| if slot.used { slot.start } else { 0.0 };
                let values = of_tensor.iter().map(start).map(T::from_f64);
                let pairs = match pair {
                    Some(pair) => zeros(pair.extent.count(&tensor.shape), pair.name)?,
                    None => Vec::new(),
                };
                let lines = keeps_lines.then(|| LineState::new(matrices));
                tensors.push(TensorState {
                    elements,
                    values: values.collect(),
                    pairs,
                    lines: lines.transpose()?,
                    matrices,
                });
            }
            groups.push(GroupState {
                tensors,
                solved: Tally::default(),
                progress: Progress::new(&**rule),
                skips: Skips::default(),
                slots,
                state,
                rule: rule.clone(),
            });
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
        Ok(match self.state_place(tensor, slot)? {
            StatePlace::Elements(group, slot, range) => &self.groups[group.0].state[slot][range],
            StatePlace::Tensor(group, tensor, slot) => {
                std::slice::from_ref(&self.groups[group.0].tensors[tensor].values[slot])
            }
            StatePlace::Pairs(group, tensor) => &self.groups[group.0].tensors[tensor].pairs,
            StatePlace::Lines(group, tensor, part) => {
                let lines = self.groups[group.0].tensors[tensor].lines.as_ref();
                lines.map(|lines| lines.part(part)).unwrap_or_default()
            }
        })
    }

    /// The state `slot` of `tensor`, to be written.
    pub fn state_mut(&mut self, tensor: Tensor, slot: &str) -> Result<&mut [T], Error> {
        Ok(match self.state_place(tensor, slot)? {
            StatePlace::Elements(group, slot, range) => {
                &mut self.groups[group.0].state[slot][range]
            }
            StatePlace::Tensor(group, tensor, slot) => {
                std::slice::from_mut(&mut self.groups[group.0].tensors[tensor].values[slot])
            }
            StatePlace::Pairs(group, tensor) => &mut self.groups[group.0].tensors[tensor].pairs,
            StatePlace::Lines(group, tensor, part) => {
                let lines = self.groups[group.0].tensors[tensor].lines.as_mut();
                lines.map(|lines| lines.part_mut(part)).unwrap_or_default()
            }
        })
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
            damping: group.solved.damping,
            failures: group.solved.failures,
            unsolved: group.solved.unsolved,
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
        let mut performed = Vec::new();
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
                performed.push((group, skips.perform(step)));
            }
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

    /// The norm of all gradients of `groups`, as they are.
    fn norm_of(&self, groups: &[Group]) -> Option<f64> {
        let mut total = 0.0f64;
        for group in groups {
            total = total.hypot(norm(&self.grads[self.arena.groups[group.0].clone()])?);
        }
        Some(total)
    }

    /// One performed step of these groups, whose gradients are multiplied by `grad_scale` first.
    fn perform(&mut self, steps: &[(Group, Step<f64>)], grad_scale: f64) {
        let parts: Vec<_> = steps
            .iter()
            .map(|&(group, step)| self.parts(group, step, grad_scale))
            .collect();
        // All sums before any update: some are over more than one group.
        let mut sums = Vec::new();
        for (&(group, _), parts) in steps.iter().zip(&parts) {
            self.step_lines(group, parts);
            sums.push(self.measure(group, parts));
        }
        for (index, (&(group, step), parts)) in steps.iter().zip(&parts).enumerate() {
            if let Some(sum) = self.groups[group.0].rule.stages().sum {
                let total = || {
                    let name = self.groups[group.0].rule.name();
                    let alike = |group: &Group| self.groups[group.0].rule.name() == name;
                    let groups = steps.iter().map(|(group, _)| group).zip(&sums);
                    let sums = groups
                        .filter(|(group, _)| alike(group))
                        .flat_map(|(_, sums)| sums);
                    sums.copied().fold(Sums::default(), added)
                };
                // One for each tensor, or one for the first.
                let sums = match sum.over {
                    Over::Tensor => sums[index].clone(),
                    Over::Everything => vec![total()],
                };
                self.conclude(group, parts, &sums, sum.over);
            }
            self.update(group, step.t, parts);
        }
    }

    /// `group` in parts of one scale each, and of one tensor each where its rule keeps something of
    /// tensors.
    fn parts(&self, group: Group, step: Step<f64>, grad_scale: f64) -> Vec<Part<T>> {
        let GroupState { rule, tensors, .. } = &self.groups[group.0];
        let range = self.arena.groups[group.0].clone();
        let now = |factor| {
            let step = Step {
                grad_scale: step.grad_scale * grad_scale * factor,
                ..step
            };
            step.rounded()
        };
        let by_norm = match self.options.clip {
            Clip::TensorNorm(most) => Some(most),
            _ => None,
        };
        let looks_at_tensors = looks_at_tensors(&**rule, None);
        if by_norm.is_none() && !looks_at_tensors {
            return vec![Part {
                elements: 0..range.len(),
                now: now(1.0),
                tensor: None,
            }];
        }
        let parts = tensors.par_iter().enumerate().map(|(index, tensor)| {
            let factor = by_norm.map_or(1.0, |most| {
                let grads = &self.grads[range.start..][tensor.elements.clone()];
                // Finite, or the step would have been skipped.
                clip_factor(norm(grads).unwrap_or_default() * grad_scale, most)
            });
            Part {
                elements: tensor.elements.clone(),
                now: now(factor),
                tensor: Some(index),
            }
        });
        parts.collect()
    }

    /// Brings what is kept of rows and columns up to date.
    fn step_lines(&mut self, group: Group, parts: &[Part<T>]) {
        let clip_value = self.clip_value();
        let start = self.arena.groups[group.0].start;
        let GroupState { rule, tensors, .. } = &mut self.groups[group.0];
        if rule.stages().lines.is_none() {
            return;
        }
        let grads = &self.grads[start..];
        // Each part is a tensor.
        tensors
            .par_iter_mut()
            .zip(parts)
            .for_each(|(tensor, part)| {
                if let Some(lines) = &mut tensor.lines {
                    let grads = &grads[part.elements.clone()];
                    let grad_scale = part.now.grad_scale;
                    let scaled = move |g| clipped(grad_scale * g, clip_value);
                    lines.step(T::twin(&**rule), grads, scaled, part.now);
                }
            });
    }

    /// What each element of the gradient is clamped to, if to anything.
    fn clip_value(&self) -> Option<T> {
        match self.options.clip {
            Clip::Value(most) => Some(T::from_f64(most)),
            _ => None,
        }
    }

    /// The sums of each part, if the rule of `group` has any.
    fn measure(&mut self, group: Group, parts: &[Part<T>]) -> Vec<Sums> {
        if self.groups[group.0].rule.stages().sum.is_none() {
            return Vec::new();
        }
        let mut sums = vec![Sums::default(); parts.len()];
        let measure = |twin: &dyn Twin<T>, block: Block<'_, T>, now| twin.measure(block, now);
        // In order, so that the result does not depend on the threads.
        for (part, more) in self.each_block(group, parts, &measure) {
            sums[part] = added(sums[part], more);
        }
        sums
    }

    fn conclude(&mut self, group: Group, parts: &[Part<T>], sums: &[Sums], over: Over) {
        let GroupState { rule, tensors, .. } = &mut self.groups[group.0];
        let twin = T::twin(&**rule);
        let slots = rule.tensor_slots();
        for (part, sums) in parts.iter().zip(sums) {
            let Some(tensor) = part.tensor.map(|index| &mut tensors[index]) else {
                continue;
            };
            let shape = Shape::of(&tensor.matrices);
            twin.conclude(sums.map(bounded), &mut tensor.values, shape, part.now);
            let values = tensor.values.iter_mut().zip(&slots);
            for (value, _) in values.filter(|(_, slot)| !slot.used) {
                *value = T::zero();
            }
        }
        if let (Over::Everything, Some((first, others))) = (over, tensors.split_first_mut()) {
            for tensor in others {
                tensor.values.clone_from(&first.values);
            }
        }
    }

    fn update(&mut self, group: Group, t: u64, parts: &[Part<T>]) {
        let average = self.options.average;
        if average.is_some_and(|average| !average.debias) && t == 1 {
            self.start_average(group);
        }
        if let Some(stage) = self.groups[group.0].rule.stages().matrix {
            self.each_block(group, parts, &|twin, block, now| twin.prepare(block, now));
            self.step_matrices(group, &stage);
        }
        self.each_block(group, parts, &|twin, block, now| twin.update(block, now));
        if let Some(average) = average {
            let range = self.arena.groups[group.0].clone();
            let weight = T::from_f64(average.weight(t));
            let state = &mut self.groups[group.0].state;
            let Some(average) = state.last_mut() else {
                return;
            };
            let params = self.params[range].par_chunks(CHUNK);
            let chunks = average.par_chunks_mut(CHUNK).zip(params);
            chunks.for_each(|(average, params)| {
                for (average, &p) in average.iter_mut().zip(params) {
                    *average = *average + weight * (p - *average);
                }
            });
        }
    }

    /// Replaces the slot of `stage`, once it is filled.
    fn step_matrices(&mut self, group: Group, stage: &MatrixStage) {
        let GroupState {
            slots,
            state,
            tensors,
            solved,
            ..
        } = &mut self.groups[group.0];
        let Some(slot) = slots.iter().position(|slot| slot.name == stage.slot) else {
            return;
        };
        solved.damping = 0.0;
        for tensor in tensors {
            let values = &mut state[slot][tensor.elements.clone()];
            match stage.work {
                MatrixWork::Orthogonalize {
                    steps,
                    coefficients,
                } => {
                    let Matrices { rows, columns, .. } = tensor.matrices;
                    orthogonalize(values, rows, columns, steps, coefficients);
                }
                MatrixWork::Solve { damping, .. } => {
                    let outcome = solve(&tensor.pairs, values, damping);
                    solved.damping = solved.damping.max(outcome.damping);
                    solved.failures += u64::from(outcome.failures);
                    solved.unsolved += u64::from(!outcome.finite);
                }
            }
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
    /// ([`Declaration::evaluates_elsewhere`](crate::Declaration::evaluates_elsewhere)). At the end of
    /// training too.
    pub fn evaluate(&mut self) {
        if !std::mem::replace(&mut self.evaluating, true) {
            self.switch(&|twin, block, _| twin.evaluate(block));
        }
    }

    /// Goes back to the parameters to train with.
    pub fn train(&mut self) {
        if std::mem::take(&mut self.evaluating) {
            self.switch(&|twin, block, _| twin.train(block));
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
                // Before its first step a group has no other parameters yet.
                continue;
            }
            if rule.evaluates_elsewhere() {
                let all = Part {
                    elements: 0..range.len(),
                    // This is no step.
                    now: Step::default().rounded(),
                    tensor: None,
                };
                self.each_block(group, &[all], work);
            } else if let (Some(_), Some(average)) = (self.options.average, state.last_mut()) {
                average.swap_with_slice(&mut self.params[range]);
            }
        }
    }

    /// What `work` makes of each block of `parts`, in order, and which part that is of. Blocks of
    /// many small parts share a thread's turn.
    fn each_block<R: Send>(
        &mut self,
        group: Group,
        parts: &[Part<T>],
        work: &Work<'_, T, R>,
    ) -> Vec<(usize, R)> {
        let clip_value = self.clip_value();
        let range = self.arena.groups[group.0].clone();
        let GroupState {
            rule,
            tensors,
            state,
            ..
        } = &mut self.groups[group.0];
        // All but the average, which is not the rule's.
        let of_rule = state.len() - 1;
        let rest = Block {
            params: &mut self.params[range.clone()],
            grads: &self.grads[range],
            state: state[..of_rule]
                .iter_mut()
                .map(|slot| &mut slot[..])
                .collect(),
            of_tensor: &[],
            grad_scale: T::one(),
        };
        let twin = T::twin(&**rule);
        let work = |turn: Turn<'_, T>| {
            let pieces = turn.pieces(parts).map(|piece| {
                let index = piece.part;
                let part = &parts[index];
                let tensor = part.tensor.map(|index| &tensors[index]);
                let work = |block: Block<'_, T>| work(twin, block, part.now);
                (index, piece.give(part, tensor, clip_value, work))
            });
            pieces.collect::<Vec<_>>()
        };
        let turns = turns(rest);
        let done: Vec<_> = if turns.len() > 1 {
            turns.into_par_iter().map(work).collect()
        } else {
            // Waking threads costs more than one turn of work.
            turns.into_iter().map(work).collect()
        };
        done.into_iter().flatten().collect()
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

    /// Where the state `slot` of `tensor` is.
    fn state_place(&self, tensor: Tensor, slot: &str) -> Result<StatePlace, Error> {
        let &TensorEntry { group, .. } = self.layout.entry(tensor)?;
        let GroupState { rule, slots, .. } = &self.groups[group.0];
        let in_group = self.arena.in_group[tensor.0];
        let mut of_tensor = rule.tensor_slots().into_iter();
        if let Some(slot) = of_tensor.position(|other| other.used && other.name == slot) {
            return Ok(StatePlace::Tensor(group, in_group, slot));
        }
        let has_rows = self.groups[group.0].tensors[in_group].matrices.has_rows;
        let lines = rule.stages().lines;
        if let Some(part) = lines.and_then(|lines| lines.part(slot, has_rows)) {
            return Ok(StatePlace::Lines(group, in_group, part));
        }
        let pairs = rule
            .pair_slot()
            .filter(|pair| pair.used && pair.name == slot);
        if pairs.is_some() {
            return Ok(StatePlace::Pairs(group, in_group));
        }
        let slot = position_of(&**rule, slots, slot)?;
        let range = self.range(tensor)?;
        let start = self.arena.groups[group.0].start;
        let elements = range.start - start..range.end - start;
        Ok(StatePlace::Elements(group, slot, elements))
    }
}

/// Where a slot of state is kept.
enum StatePlace {
    /// Group, slot of elements, elements.
    Elements(Group, usize, Range<usize>),
    /// Group, tensor in it, slot of tensors.
    Tensor(Group, usize, usize),
    /// Group, tensor in it.
    Pairs(Group, usize),
    /// Group, tensor in it, which of its lines.
    Lines(Group, usize, LinePart),
}

fn added(a: Sums, b: Sums) -> Sums {
    std::array::from_fn(|index| a[index] + b[index])
}
