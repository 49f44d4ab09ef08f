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
    rule::{check_lr, check_step_count},
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
/// optimizer.step();
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
}

#[derive(Debug, Clone)]
struct GroupState<T> {
    rule: Arc<dyn Rule>,
    lr: f64,
    frozen: bool,
    /// Steps performed.
    t: u64,
    /// One arena per slot of the rule, indexed from the group's start; empty if not in use.
    state: Vec<Vec<T>>,
}

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
            for slot in rule.slots() {
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
                lr: rule.lr(),
                frozen: false,
                t: 0,
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
        self.layout.check_group(group)?;
        Ok(self.groups[group.0].lr)
    }

    /// Sets the learning rate of `group` from the next step on.
    ///
    /// # Errors
    /// [`Error::Hyperparameter`] unless `lr` is finite and not negative.
    pub fn set_lr(&mut self, group: Group, lr: f64) -> Result<(), Error> {
        self.layout.check_group(group)?;
        let group = &mut self.groups[group.0];
        check_lr(&*group.rule, lr)?;
        group.lr = lr;
        Ok(())
    }

    /// Steps that `group` has performed.
    pub fn step_count(&self, group: Group) -> Result<u64, Error> {
        self.layout.check_group(group)?;
        Ok(self.groups[group.0].t)
    }

    /// Continues at another step count, as after loading a checkpoint.
    ///
    /// # Errors
    /// [`Error::StepCount`] beyond 2⁵².
    pub fn set_step_count(&mut self, group: Group, t: u64) -> Result<(), Error> {
        self.layout.check_group(group)?;
        check_step_count(t)?;
        self.groups[group.0].t = t;
        Ok(())
    }

    /// Leaves `group` out of the steps to come, or takes it in again. A frozen group's parameters,
    /// state and step count stay as they are.
    pub fn set_frozen(&mut self, group: Group, frozen: bool) -> Result<(), Error> {
        self.layout.check_group(group)?;
        self.groups[group.0].frozen = frozen;
        Ok(())
    }

    /// Updates the parameters of all groups that are not frozen from their gradients, on all of
    /// rayon's threads where it pays.
    pub fn step(&mut self) {
        for group in self.layout.groups() {
            if !self.groups[group.0].frozen {
                self.step_group(group);
            }
        }
    }

    fn step_group(&mut self, group: Group) {
        let range = self.arena.groups[group.0].clone();
        let group = &mut self.groups[group.0];
        group.t += 1;
        let now = Step::new(&*group.rule, group.lr, group.t);
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
                grad_scale: now.grad_scale,
            })
            .collect();
        let rule = &*group.rule;
        if blocks.len() > 1 {
            blocks
                .into_par_iter()
                .for_each(|block| T::update(rule, block, now));
        } else {
            // Waking threads costs more than one block of work.
            blocks
                .into_iter()
                .for_each(|block| T::update(rule, block, now));
        }
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
        let slot = self.layout.slot_position(group, slot)?;
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
