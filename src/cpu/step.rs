//! One performed step: lines, sums, matrices, and the update.

use rayon::prelude::*;

use super::{
    Optimizer,
    arena::CHUNK,
    coded::Rounded,
    gradients::{clip_factor, norm},
    group::{GroupState, StepPart, round},
    turn::{Turn, Work, turns},
};
use crate::{
    Clip, Group, MatrixStage, MatrixWork, Over,
    format::Noise,
    matrix::{orthogonalize, solve},
    rule::{Block, Bound, Part, Real, Shape, Step, Sums, Twin, bounded, clipped, ema, pull},
    shader::{PARAMS_NUMBER, looks_at_tensors},
    shape::Matrices,
};

impl<T: Real> Optimizer<T> {
    /// The norm of all gradients of `groups`, unscaled.
    pub(super) fn norm_of(&self, groups: &[Group]) -> Option<f64> {
        let mut total = 0.0f64;
        for group in groups {
            total = total.hypot(norm(&self.grads[self.arena.groups[group.0].clone()])?);
        }
        Some(total)
    }

    /// Performs one step of these groups. Their gradients are first multiplied by `grad_scale`.
    pub(super) fn perform(&mut self, steps: &[(Group, Step<f64>)], grad_scale: f64) {
        let parts: Vec<_> = steps
            .iter()
            .map(|&(group, step)| self.parts(group, step, grad_scale))
            .collect();
        // All sums come before any update, because some are over more than one group.
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
                // There is one sum per tensor, or one in total, for the first tensor.
                let sums = match sum.over {
                    Over::Tensor => sums[index].clone(),
                    Over::Everything => vec![total()],
                };
                self.conclude(group, parts, &sums, sum.over);
            }
            self.update(group, step.t, parts);
        }
        self.share_conclusions(steps);
    }

    /// Brings what was concluded from sums over everything to the groups that rest, too.
    fn share_conclusions(&mut self, steps: &[(Group, Step<f64>)]) {
        for &(group, _) in steps {
            let GroupState { rule, tensors, .. } = &self.groups[group.0];
            let over = rule.stages().sum.map(|sum| sum.over);
            let (Some(Over::Everything), Some(first)) = (over, tensors.first()) else {
                continue;
            };
            let (name, values) = (rule.name().to_owned(), first.values.clone());
            let rest = self.groups.iter_mut().enumerate();
            let rest = rest.filter(|(index, _)| steps.iter().all(|(group, _)| group.0 != *index));
            for (_, other) in rest.filter(|(_, other)| other.rule.name() == name) {
                for tensor in &mut other.tensors {
                    tensor.values.clone_from(&values);
                }
            }
        }
    }

    /// Cuts `group` into parts that each have one gradient scale. If the rule has state of tensors,
    /// each part is also within one tensor.
    fn parts(&self, group: Group, step: Step<f64>, grad_scale: f64) -> Vec<StepPart<T>> {
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
            return vec![StepPart {
                elements: 0..range.len(),
                now: now(1.0),
                tensor: None,
            }];
        }
        let parts = tensors.par_iter().enumerate().map(|(index, tensor)| {
            let factor = by_norm.map_or(1.0, |most| {
                let grads = &self.grads[range.start..][tensor.elements.clone()];
                // The norm is finite; otherwise the step would have been skipped.
                clip_factor(norm(grads).unwrap_or_default() * grad_scale, most)
            });
            StepPart {
                elements: tensor.elements.clone(),
                now: now(factor),
                tensor: Some(index),
            }
        });
        parts.collect()
    }

    /// Updates the state of rows and columns.
    fn step_lines(&mut self, group: Group, parts: &[StepPart<T>]) {
        let clip_value = self.clip_value();
        let start = self.arena.groups[group.0].start;
        let GroupState { rule, tensors, .. } = &mut self.groups[group.0];
        if rule.stages().lines.is_none() {
            return;
        }
        let grads = &self.grads[start..];
        // Each part is one tensor.
        tensors
            .par_iter_mut()
            .zip(parts)
            .for_each(|(tensor, part)| {
                if let Some(lines) = &mut tensor.lines {
                    let grads = &grads[part.elements.clone()];
                    let grad_scale = part.now.grad_scale;
                    let bound = Bound::of(&**rule);
                    let scaled = move |g| bound.limited(clipped(grad_scale * g, clip_value));
                    lines.step(T::twin(&**rule), grads, scaled, part.now);
                }
            });
    }

    /// The bound that each element of the gradient is clamped to, if there is one.
    fn clip_value(&self) -> Option<T> {
        match self.options.clip {
            Clip::Value(most) => Some(T::from_f64(most)),
            _ => None,
        }
    }

    /// The sums of each part, if the rule of `group` takes sums.
    fn measure(&mut self, group: Group, parts: &[StepPart<T>]) -> Vec<Sums> {
        if self.groups[group.0].rule.stages().sum.is_none() {
            return Vec::new();
        }
        let mut sums = vec![Sums::default(); parts.len()];
        let measure = |twin: &dyn Twin<T>, block: Block<'_, T>, now| twin.measure(block, now);
        // In order, so that the result does not depend on the threads.
        for (part, more) in self.each_block(group, parts, None, &measure) {
            sums[part] = added(sums[part], more);
        }
        sums
    }

    fn conclude(&mut self, group: Group, parts: &[StepPart<T>], sums: &[Sums], over: Over) {
        let GroupState { rule, tensors, .. } = &mut self.groups[group.0];
        let twin = T::twin(&**rule);
        let slots = rule.tensor_slots();
        for (part, sums) in parts.iter().zip(sums) {
            let Some(tensor) = part.tensor.map(|index| &mut tensors[index]) else {
                continue;
            };
            let shape = Shape::of(&tensor.matrices);
            twin.conclude(sums.map(bounded), &mut tensor.values, shape, part.now);
            // A sum of a gradient that is not finite. Rules could make a number of it.
            let is_nan = sums.iter().any(|sum| sum.is_nan());
            for (value, slot) in tensor.values.iter_mut().zip(&slots) {
                if !slot.used {
                    *value = T::zero();
                } else if is_nan {
                    *value = T::nan();
                }
            }
        }
        if let (Over::Everything, Some((first, others))) = (over, tensors.split_first_mut()) {
            for tensor in others {
                tensor.values.clone_from(&first.values);
            }
        }
    }

    fn update(&mut self, group: Group, t: u64, parts: &[StepPart<T>]) {
        let seed = self.layout.seed(group);
        let rounded = Some(Rounded { seed, t });
        let average = self.options.average;
        if average.is_some_and(|average| !average.debias) && t == 1 {
            self.start_average(group);
        }
        if let Some(stage) = self.groups[group.0].rule.stages().matrix {
            let prepare = |twin: &dyn Twin<T>, block: Block<'_, T>, now| twin.prepare(block, now);
            self.each_block(group, parts, rounded, &prepare);
            self.step_matrices(group, &stage);
        }
        let update = |twin: &dyn Twin<T>, block: Block<'_, T>, now| twin.update(block, now);
        self.each_block(group, parts, rounded, &update);
        if let Some(average) = average {
            // It is of what the step computes, before that is rounded.
            self.move_average(group, pull(1.0 - average.weight(t)));
        }
        let encoding = self.layout.storage(group).params;
        let params = &mut self.params[self.arena.groups[group.0].clone()];
        round(encoding, params, Noise::new(seed, t, PARAMS_NUMBER as u32));
    }

    /// Orthogonalizes or solves the matrices in the slot of `stage`, after that slot was filled.
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

    /// Starts the average at the current parameters.
    fn start_average(&mut self, group: Group) {
        let range = self.arena.groups[group.0].clone();
        if let Some(average) = self.groups[group.0].state.last_mut() {
            average.copy_from_slice(&self.params[range]);
        }
    }

    /// Moves the average towards the parameters.
    fn move_average(&mut self, group: Group, weight: f64) {
        let range = self.arena.groups[group.0].clone();
        let weight = T::from_f64(weight);
        let Some(average) = self.groups[group.0].state.last_mut() else {
            return;
        };
        let params = self.params[range].par_chunks(CHUNK);
        let chunks = average.par_chunks_mut(CHUNK).zip(params);
        chunks.for_each(|(average, params)| {
            for (average, &p) in average.iter_mut().zip(params) {
                *average = ema(*average, p, weight);
            }
        });
    }

    /// Does `work` on each block of `parts`. Returns the results in order, each with the index of
    /// its part. Blocks of many small parts share a thread's turn. What `work` does to slots in fewer bits
    /// stays only with `rounded`.
    pub(super) fn each_block<R: Send>(
        &mut self,
        group: Group,
        parts: &[StepPart<T>],
        rounded: Option<Rounded>,
        work: &Work<'_, T, R>,
    ) -> Vec<(usize, R)> {
        let clip_value = self.clip_value();
        let range = self.arena.groups[group.0].clone();
        let GroupState {
            rule,
            tensors,
            state,
            coded,
            ..
        } = &mut self.groups[group.0];
        // The average comes last and does not belong to the rule.
        let of_rule = state.len() - 1;
        let slots = state[..of_rule].iter_mut().zip(coded);
        let slots = slots.enumerate().map(|(slot, (plain, coded))| match coded {
            Some(coded) => Part::Coded(coded.part(rounded.map(|rounded| rounded.noise(slot)))),
            None => Part::Plain(plain),
        });
        let all = Block {
            params: &mut self.params[range.clone()],
            grads: &self.grads[range],
            state: slots.collect(),
            of_tensor: &[],
            grad_scale: T::one(),
            bound: Bound::of(&**rule),
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
        let turns = turns(all);
        let done: Vec<_> = if turns.len() > 1 {
            turns.into_par_iter().map(work).collect()
        } else {
            // For a single turn, waking threads costs more than it saves.
            turns.into_iter().map(work).collect()
        };
        done.into_iter().flatten().collect()
    }
}

fn added(a: Sums, b: Sums) -> Sums {
    std::array::from_fn(|index| a[index] + b[index])
}
