//! What an optimizer is: the trait that each rule, ours or a user's, implements.

use std::fmt;

use crate::{
    Error,
    cpu::Twin,
    hyperparameter::{Hyperparameter, Interval},
};

/// An optimizer's update rule as plain data: hyperparameters, state slots, the WGSL text of its
/// update and, through [`Twin`], the same update on the CPU.
///
/// The WGSL text declares `struct Hyper` (f32 members: [`constants`](Self::constants) in order),
/// `struct State` (one `vec4<f32>` member per [slot](Self::slots), by its name) and
///
/// ```wgsl
/// fn update(p: vec4<f32>, g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32>
/// ```
///
/// which gets four parameters and their gradients, changes the state and returns the new
/// parameters. `Step` is in `shaders/now.wgsl` ([its twin](crate::cpu::Step)), and the
/// [`flags`](Self::flags) are `const NAME: bool`.
///
/// All-zero parameters and gradients, as in padding, must stay finite and leave the parameter zero.
pub trait Rule: Twin<f32> + Twin<f64> + fmt::Debug + Send + Sync {
    /// The name under which users and files know the rule.
    fn name(&self) -> &str;

    /// Every field that a user may set, with its range.
    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>>;

    /// Checks what no single range can say: fields that must go with one another.
    fn check_combination(&self) -> Result<(), Error> {
        Ok(())
    }

    /// The learning rate that a group starts with.
    fn lr(&self) -> f64;

    /// The weight decay that acts on the parameter beside the update; `Step::decay` is lr times it.
    fn decoupled_weight_decay(&self) -> f64 {
        0.0
    }

    /// Whether to climb: the gradient's sign is turned before `update` sees it.
    fn maximize(&self) -> bool {
        false
    }

    /// The state kept per element, all of it, whether the flags use it or not.
    fn slots(&self) -> Vec<Slot>;

    /// The members of the WGSL `Hyper`, in its order, computed in f64.
    fn constants(&self) -> Vec<f64>;

    /// The WGSL `const`s that choose a variant.
    fn flags(&self) -> Vec<(&'static str, bool)> {
        Vec::new()
    }

    /// The coefficients of performed step `t` (from 1): whatever depends on the step count alone,
    /// such as bias corrections, in f64. They reach the update as `now.at`.
    fn at(&self, _t: u64) -> [f64; 4] {
        [0.0; 4]
    }

    /// The WGSL text.
    fn wgsl(&self) -> &str;

    /// Sets one hyperparameter from text, as a command line or a file gives it.
    ///
    /// ```
    /// use wgpu_optim::{Rule, rules::AdamW};
    ///
    /// let mut rule = AdamW::default();
    /// rule.set("beta1", "0.95")?;
    /// assert_eq!(rule.beta1, 0.95);
    /// assert_eq!(
    ///     rule.set("beta1", "1.5").unwrap_err().to_string(),
    ///     "adamw: beta1 = 1.5 is not allowed; expected a number in [0, 1)"
    /// );
    /// # Ok::<(), wgpu_optim::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownHyperparameter`], or [`Error::Hyperparameter`] for a value out of range.
    fn set(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let rule = self.name().to_owned();
        let mut fields = self.hyperparameters();
        let known = || {
            fields
                .iter()
                .map(|field| field.name)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let Some(position) = fields.iter().position(|field| field.name == name) else {
            return Err(Error::UnknownHyperparameter {
                known: known(),
                rule,
                name: name.to_owned(),
            });
        };
        fields[position].set(&rule, value)
    }

    /// Checks every field; [`Layout::group`](crate::Layout::group) calls it.
    fn validate(&mut self) -> Result<(), Error> {
        let rule = self.name().to_owned();
        for field in self.hyperparameters() {
            field.check(&rule)?;
        }
        self.check_combination()
    }
}

impl<R: Rule + 'static> From<R> for Box<dyn Rule> {
    fn from(rule: R) -> Self {
        Box::new(rule)
    }
}

/// One number of state that a rule keeps, and for what.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slot {
    /// PyTorch's name for it, where PyTorch has the rule.
    pub name: &'static str,
    /// What there is one of.
    pub extent: Extent,
    /// Its value before the first step.
    pub start: f64,
    /// Whether the rule's flags make use of it; otherwise it takes no memory and reads as zero.
    pub used: bool,
}

impl Slot {
    /// A slot per element that starts at zero.
    pub const fn element(name: &'static str) -> Self {
        Self {
            name,
            extent: Extent::Element,
            start: 0.0,
            used: true,
        }
    }

    /// The same slot, in use only if `used`.
    pub const fn used_if(self, used: bool) -> Self {
        Self { used, ..self }
    }

    /// The same slot, starting at `start`.
    pub const fn starting_at(self, start: f64) -> Self {
        Self { start, ..self }
    }
}

/// What a slot has one value of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Extent {
    /// Each parameter.
    Element,
}

/// Checks a learning rate, and that its product with the decay is one too.
pub(crate) fn check_lr(rule: &dyn Rule, lr: f64) -> Result<(), Error> {
    let refused = |value: String, allowed: String| {
        Err(Error::Hyperparameter {
            rule: rule.name().to_owned(),
            name: "lr".to_owned(),
            value,
            allowed,
        })
    };
    if !Interval::NON_NEGATIVE.contains(lr) {
        return refused(lr.to_string(), Interval::NON_NEGATIVE.to_string());
    }
    let weight_decay = rule.decoupled_weight_decay();
    if !Interval::NON_NEGATIVE.contains(lr * weight_decay) {
        let allowed = format!("lr times weight_decay = {weight_decay} to be a finite f32");
        return refused(lr.to_string(), allowed);
    }
    Ok(())
}

/// Checks a step count to continue from.
pub(crate) fn check_step_count(count: u64) -> Result<(), Error> {
    // Exact as an f64, with room for more steps than anyone will take.
    let most = 1 << 52;
    if count <= most {
        return Ok(());
    }
    Err(Error::StepCount { count, most })
}
