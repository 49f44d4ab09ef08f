//! How far a parameter group has come: the host's side of a step, alike for the GPU and its twin.

use std::collections::VecDeque;

use crate::{
    Error, Extent, Rule, Slot,
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
    epoch: u32,
    /// Left out of the steps to come.
    pub frozen: bool,
    /// Whether the caller filled the inputs anew for the next step.
    pub refreshed: bool,
    /// The rule's slots of [`Extent::Group`], in its order.
    history: Vec<f64>,
}

/// What a group's history was before each of its last steps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Past(VecDeque<Vec<f64>>);

impl Past {
    /// A step is taken after `progress`.
    pub fn push(&mut self, progress: &Progress) {
        if !progress.history.is_empty() {
            self.0.push_back(progress.history.clone());
        }
    }

    /// Forgets all but the last `count` steps.
    pub fn keep(&mut self, count: u64) {
        let kept = usize::try_from(count).unwrap_or(usize::MAX);
        self.0.drain(..self.0.len().saturating_sub(kept));
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
            frozen: false,
            refreshed: false,
            history: of_group(rule).map(|slot| slot.start).collect(),
        }
    }

    /// Takes one step and returns its numbers if no step before it was skipped.
    pub fn advance(&mut self, rule: &dyn Rule) -> Step<f64> {
        self.n += 1;
        self.last_lr = self.lr;
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

    /// Where counting started last.
    pub fn origin(&self) -> Origin {
        Origin {
            base: self.base,
            epoch: self.epoch,
        }
    }

    pub fn set_step_count(&mut self, count: u64) -> Result<(), Error> {
        check_step_count(count)?;
        self.n = count;
        self.base = count;
        self.epoch = self.epoch.wrapping_add(1);
        Ok(())
    }

    /// Continues from a checkpoint: where `group` was after its performed steps.
    pub fn restore(&mut self, rule: &dyn Rule, group: &GroupDescription) -> Result<(), Error> {
        self.set_lr(rule, group.lr)?;
        self.last_lr = group.last_lr;
        self.set_step_count(group.performed)?;
        self.frozen = group.frozen;
        self.refreshed = group.refreshed;
        for Slot { name, .. } in of_group(rule) {
            let value = group.state.get(name).ok_or_else(|| Error::Checkpoint {
                what: format!("the state {name} of rule {}", rule.name()),
                problem: "the checkpoint has none".to_owned(),
            })?;
            self.set_state(&mut Past::default(), rule, name, *value)?;
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
        let state = of_group(rule).map(|Slot { name, .. }| {
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

    /// The value holds for however many of the steps so far were performed.
    pub fn set_state(
        &mut self,
        past: &mut Past,
        rule: &dyn Rule,
        slot: &str,
        value: f64,
    ) -> Result<(), Error> {
        let position = position(rule, slot)?;
        let found = of_group(rule).nth(position);
        if let Some(Slot { allowed, .. }) =
            found.filter(|slot| value != slot.start && !slot.allowed.contains(value))
        {
            return Err(Error::Hyperparameter {
                rule: rule.name().to_owned(),
                name: slot.to_owned(),
                value: value.to_string(),
                allowed: allowed.to_string(),
            });
        }
        let Past(past) = past;
        for history in past.iter_mut().chain([&mut self.history]) {
            history[position] = value;
        }
        Ok(())
    }
}

/// Where a group's step count started when it was set last.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Origin {
    /// What it was set to.
    pub base: u64,
    /// Tells one setting from another.
    pub epoch: u32,
}

/// Of how many steps the device keeps coefficients until they are performed, if it can bind as many.
pub(crate) const RING: u64 = 512;

/// For how many performed steps the host knows what a group kept once.
pub(crate) const REMEMBERED: u64 = 2048;

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

/// The slots that a group has one of.
fn of_group(rule: &dyn Rule) -> impl Iterator<Item = Slot> {
    let slots = rule.slots().into_iter();
    slots.filter(|slot| slot.extent == Extent::Group)
}

fn position(rule: &dyn Rule, slot: &str) -> Result<usize, Error> {
    let found = of_group(rule).position(|known| known.name == slot);
    let known = of_group(rule).map(|known| known.name);
    found.ok_or_else(|| Error::unknown_state(rule, slot, known))
}
