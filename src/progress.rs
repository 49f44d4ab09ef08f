//! How far a parameter group has come: the host's side of a step, alike for the GPU and its twin.

use crate::{
    Error, Extent, Rule,
    cpu::Step,
    rule::{check_lr, check_step_count},
};

/// What the host keeps of a parameter group between steps.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    lr: f64,
    /// Steps taken.
    t: u64,
    /// Left out of the steps to come.
    pub frozen: bool,
    /// Whether the caller filled the inputs anew for the next step.
    pub refreshed: bool,
    /// The rule's slots of [`Extent::Group`], in its order.
    history: Vec<f64>,
}

impl Progress {
    pub fn new(rule: &dyn Rule) -> Self {
        Self {
            lr: rule.lr(),
            t: 0,
            frozen: false,
            refreshed: false,
            history: of_group(rule).map(|(_, start)| start).collect(),
        }
    }

    /// Takes one step and returns its numbers.
    pub fn advance(&mut self, rule: &dyn Rule) -> Step<f64> {
        self.t += 1;
        let refreshed = std::mem::take(&mut self.refreshed);
        Step {
            lr: self.lr,
            decay: self.lr * rule.decoupled_weight_decay(),
            grad_scale: if rule.maximize() { -1.0 } else { 1.0 },
            t: self.t,
            at: rule.advance(self.t, self.lr, &mut self.history),
            refreshed: if refreshed { 1.0 } else { 0.0 },
        }
    }

    pub fn lr(&self) -> f64 {
        self.lr
    }

    pub fn set_lr(&mut self, rule: &dyn Rule, lr: f64) -> Result<(), Error> {
        check_lr(rule, lr)?;
        self.lr = lr;
        Ok(())
    }

    pub fn step_count(&self) -> u64 {
        self.t
    }

    pub fn set_step_count(&mut self, count: u64) -> Result<(), Error> {
        check_step_count(count)?;
        self.t = count;
        Ok(())
    }

    pub fn state(&self, rule: &dyn Rule, slot: &str) -> Result<f64, Error> {
        Ok(self.history[position(rule, slot)?])
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
        Ok(())
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
