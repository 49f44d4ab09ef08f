//! How far a parameter group has come: the host's side of a step, alike for the GPU and its twin.

use std::collections::VecDeque;

use crate::{
    Error, Extent, Rule,
    checkpoint::{GroupDescription, HostSide},
    rule::{Step, check_lr, check_step_count},
};

/// What the host keeps of a parameter group between steps.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    lr: f64,
    last_lr: f64,
    /// Steps taken, skipped ones included.
    n: u64,
    /// What that was last set to.
    base: u64,
    /// How often the number of steps was set.
    pub epoch: u32,
    /// Whether it was, and no step was taken since.
    pub is_set: bool,
    /// Left out of the steps to come.
    pub frozen: bool,
    /// Whether the caller filled the inputs anew for the next step.
    pub refreshed: bool,
    /// The rule's slots of [`Extent::Group`], in its order.
    history: Vec<f64>,
}

/// What a group's history was before each of its last steps, at most [`RING`] of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Past(VecDeque<Vec<f64>>);

impl Past {
    /// A step is taken after `progress`.
    pub fn push(&mut self, progress: &Progress) {
        if progress.history.is_empty() {
            return;
        }
        if self.0.len() as u64 == RING {
            self.0.pop_front();
        }
        self.0.push_back(progress.history.clone());
    }

    /// What is to come does not follow from it.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl Progress {
    pub fn new(rule: &dyn Rule) -> Self {
        Self {
            lr: rule.lr(),
            last_lr: rule.lr(),
            n: 0,
            base: 0,
            epoch: 0,
            is_set: false,
            frozen: false,
            refreshed: false,
            history: of_group(rule).map(|(_, start)| start).collect(),
        }
    }

    /// Takes one step and returns its numbers if no step before it was skipped.
    pub fn advance(&mut self, rule: &dyn Rule) -> Step<f64> {
        self.n += 1;
        self.last_lr = self.lr;
        self.is_set = false;
        let refreshed = std::mem::take(&mut self.refreshed);
        Step {
            lr: self.lr,
            decay: self.lr * rule.decoupled_weight_decay(),
            grad_scale: if rule.maximize() { -1.0 } else { 1.0 },
            t: self.n,
            at: rule.advance(self.n, self.lr, &mut self.history),
            refreshed: if refreshed { 1.0 } else { 0.0 },
        }
    }

    pub fn lr(&self) -> f64 {
        self.lr
    }

    /// The learning rate of the last step.
    pub fn last_lr(&self) -> f64 {
        self.last_lr
    }

    pub fn set_lr(&mut self, rule: &dyn Rule, lr: f64) -> Result<(), Error> {
        check_lr(rule, lr)?;
        self.lr = lr;
        Ok(())
    }

    pub fn step_count(&self) -> u64 {
        self.n
    }

    /// The step count that was set last.
    pub fn base(&self) -> u64 {
        self.base
    }

    pub fn set_step_count(&mut self, count: u64) -> Result<(), Error> {
        check_step_count(count)?;
        self.n = count;
        self.base = count;
        self.epoch = self.epoch.wrapping_add(1);
        self.is_set = true;
        Ok(())
    }

    /// Continues from a checkpoint: where `group` was after its performed steps.
    pub fn restore(&mut self, rule: &dyn Rule, group: &GroupDescription) -> Result<(), Error> {
        self.set_lr(rule, group.lr)?;
        self.last_lr = group.last_lr;
        self.set_step_count(group.performed)?;
        self.frozen = group.frozen;
        self.refreshed = group.refreshed;
        for (name, _) in of_group(rule) {
            let value = group.state.get(name).ok_or_else(|| Error::Checkpoint {
                what: format!("the state {name} of rule {}", rule.name()),
                problem: "the checkpoint has none".to_owned(),
            })?;
            self.set_state(rule, name, *value)?;
        }
        Ok(())
    }

    /// What a checkpoint says of a group of which `performed` steps were performed.
    pub fn host_side(
        &self,
        past: &Past,
        rule: &dyn Rule,
        performed: u64,
    ) -> Result<HostSide, Error> {
        let state = of_group(rule).map(|(name, _)| {
            let value = self.state_at(past, rule, name, performed)?;
            Ok((name.to_owned(), value))
        });
        Ok(HostSide {
            lr: self.lr,
            frozen: self.frozen,
            refreshed: self.refreshed,
            state: state.collect::<Result<_, Error>>()?,
        })
    }

    pub fn state(&self, rule: &dyn Rule, slot: &str) -> Result<f64, Error> {
        Ok(self.history[position(rule, slot)?])
    }

    /// [`state`](Self::state) as it was when `count` steps were taken.
    pub fn state_at(
        &self,
        past: &Past,
        rule: &dyn Rule,
        slot: &str,
        count: u64,
    ) -> Result<f64, Error> {
        let position = position(rule, slot)?;
        let Past(past) = past;
        let ago = self.n.checked_sub(count);
        match ago.filter(|&ago| ago <= past.len() as u64) {
            Some(0) => Ok(self.history[position]),
            Some(ago) => Ok(past[past.len() - ago as usize][position]),
            None => Err(Error::StepCount {
                count,
                most: self.n,
            }),
        }
    }

    pub fn set_state(&mut self, rule: &dyn Rule, slot: &str, value: f64) -> Result<(), Error> {
        let position = position(rule, slot)?;
        if !value.is_finite() {
            return Err(Error::Hyperparameter {
                rule: rule.name().to_owned(),
                name: slot.to_owned(),
                value: value.to_string(),
                allowed: "a finite number".to_owned(),
            });
        }
        self.history[position] = value;
        // What was before does not lead to it.
        Ok(())
    }
}

/// Coefficients that the device keeps until their step is performed, if it can bind as many. If more
/// steps are skipped, the oldest ones are lost, and those of a later step take their place.
pub(crate) const RING: u64 = 2048;

/// What skipped steps leave for those after them: coefficients go with performed steps, in turn.
/// The device has `begin_step.wgsl` for this.
#[derive(Debug, Clone, Default)]
pub(crate) struct Skips {
    /// Since the step count was set.
    pub count: u64,
    /// Before it was, by the checkpoint that set it.
    pub before: u64,
    waiting: VecDeque<[f64; 4]>,
}

impl Skips {
    /// `before` steps were skipped before the step count was set.
    pub fn after(before: u64) -> Self {
        Self {
            before,
            ..Self::default()
        }
    }

    /// `step` is not performed.
    pub fn skip(&mut self, step: Step<f64>) {
        self.wait(step);
        self.count += 1;
    }

    /// The numbers of `step` when it is performed.
    pub fn perform(&mut self, step: Step<f64>) -> Step<f64> {
        self.wait(step);
        Step {
            t: step.t - self.count,
            at: self.waiting.pop_front().unwrap_or(step.at),
            ..step
        }
    }

    fn wait(&mut self, step: Step<f64>) {
        self.waiting.push_back(step.at);
    }
}

/// Names and starts of the slots that a group has one of.
fn of_group(rule: &dyn Rule) -> impl Iterator<Item = (&'static str, f64)> {
    let slots = rule.slots().into_iter();
    slots
        .filter(|slot| slot.extent == Extent::Group)
        .map(|slot| (slot.name, slot.start))
}

fn position(rule: &dyn Rule, slot: &str) -> Result<usize, Error> {
    let found = of_group(rule).position(|(name, _)| name == slot);
    found.ok_or_else(|| Error::unknown_state(rule, slot, of_group(rule).map(|(name, _)| name)))
}
