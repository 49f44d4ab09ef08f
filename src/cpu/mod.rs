//! The CPU twin: the same layout, rules and numbers without a GPU.
//!
//! In f64 it is the truth that GPU results are checked against; in f32 it is a multi-threaded
//! fallback.

mod twin;

use std::sync::Arc;

use rayon::prelude::*;

pub use twin::{Block, Real, Step, Twin};

use crate::{
    Error, Group, Layout, Rule, Tensor,
    layout::{Arena, TensorEntry},
    progress::Progress,
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
    evaluating: bool,
}

#[derive(Debug, Clone)]
struct GroupState<T> {
    rule: Arc<dyn Rule>,
    progress: Progress,
    /// One arena per slot of elements, indexed from the group's start; empty if not in use.
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
        let arena = layout.arena();
        let mut groups = Vec::new();
        for (group, rule) in layout.groups().zip(&layout.groups) {
            let mut state = Vec::new();
            for slot in rule.element_slots() {
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
        Ok(self.progress(group)?.step_count())
    }

    /// Continues at another step count, as after loading a checkpoint.
    ///
    /// # Errors
    /// [`Error::StepCount`] beyond 2⁵².
    pub fn set_step_count(&mut self, group: Group, t: u64) -> Result<(), Error> {
        self.progress_mut(group)?.0.set_step_count(t)
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

    /// Updates the parameters of all groups that are not frozen from their gradients, on all of
    /// rayon's threads where it pays.
    ///
    /// # Errors
    /// [`Error::Evaluating`] after [`evaluate`](Self::evaluate).
    pub fn step(&mut self) -> Result<(), Error> {
        if self.evaluating {
            return Err(Error::Evaluating);
        }
        for group in self.layout.groups() {
            let GroupState { rule, progress, .. } = &mut self.groups[group.0];
            if !progress.frozen {
                let now = progress.advance(&**rule).rounded();
                self.each_block(group, now.grad_scale, &|twin, block| {
                    twin.update(block, now);
                });
            }
        }
        Ok(())
    }

    /// Puts the parameters to evaluate with in the place of those to train with, where a rule
    /// tells the two apart ([`Rule::evaluates_elsewhere`]): at the end of training too.
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
            let GroupState { rule, progress, .. } = &self.groups[group.0];
            // Before its first step a group has no other parameters yet.
            if rule.evaluates_elsewhere() && progress.step_count() > 0 {
                self.each_block(group, T::one(), work);
            }
        }
    }

    fn each_block(&mut self, group: Group, grad_scale: T, work: &Work<'_, T>) {
        let range = self.arena.groups[group.0].clone();
        let group = &mut self.groups[group.0];
        let mut state: Vec<_> = group
            .state
            .iter_mut()
            .map(|slot| slot.chunks_mut(CHUNK))
            .collect();
        let blocks: Vec<_> = self.params[range.clone()]
            .chunks_mut(CHUNK)
            .zip(self.grads[range].chunks(CHUNK))
            .map(|(params, grads)| Block {
                params,
                grads,
                state: state
                    .iter_mut()
                    .map(|slot| slot.next().unwrap_or_default())
                    .collect(),
                grad_scale,
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

    fn range(&self, tensor: Tensor) -> Result<std::ops::Range<usize>, Error> {
        let count = self.layout.entry(tensor)?.element_count;
        let start = self.arena.tensors[tensor.0];
        Ok(start..start + count)
    }

    fn state_range(
        &self,
        tensor: Tensor,
        slot: &str,
    ) -> Result<(Group, usize, std::ops::Range<usize>), Error> {
        let &TensorEntry { group, .. } = self.layout.entry(tensor)?;
        let (_, slot) = self.layout.element_slot(group, slot)?;
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
