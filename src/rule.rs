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
/// `struct State` (one `vec4<f32>` member per [slot](Self::slots) of elements, by its name) and
///
/// ```wgsl
/// fn update(p: vec4<f32>, g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32>
/// ```
///
/// which gets four parameters and their gradients, changes the state and returns the new
/// parameters. `Step` is in `shaders/now.wgsl` ([its twin](crate::cpu::Step)), and the
/// [`flags`](Self::flags) are `const NAME: bool`. The example `custom_rule` has a rule of a user's.
///
/// All-zero parameters and gradients, as in padding, must stay finite and leave the parameter zero.
pub trait Rule: Twin<f32> + Twin<f64> + fmt::Debug {
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

    /// All that is kept beside the parameters, and the inputs beyond the gradient, whether the
    /// flags use them or not.
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

    /// [`at`](Self::at) of a rule whose coefficients depend on the learning rates so far too:
    /// `lr` is this step's, `history` the [slots of the group](Extent::Group) in their order, which
    /// this brings up to date. Called once for each step, in turn.
    fn advance(&self, t: u64, _lr: f64, _history: &mut [f64]) -> [f64; 4] {
        self.at(t)
    }

    /// Whether evaluation wants other parameters than training does. The WGSL text then declares
    /// these two as well, and the twin has both: what [`evaluate`](crate::Optimizer::evaluate) and
    /// [`train`](crate::Optimizer::train) make of the parameters.
    ///
    /// ```wgsl
    /// fn evaluated(p: vec4<f32>, s: State, h: Hyper) -> vec4<f32>
    /// fn trained(p: vec4<f32>, s: State, h: Hyper) -> vec4<f32>
    /// ```
    fn evaluates_elsewhere(&self) -> bool {
        false
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

impl dyn Rule + '_ {
    /// The slots that there is one of per element.
    pub(crate) fn element_slots(&self) -> Vec<Slot> {
        let mut slots = self.slots();
        slots.retain(|slot| slot.extent == Extent::Element);
        slots
    }
}

impl<R: Rule + 'static> From<R> for Box<dyn Rule> {
    fn from(rule: R) -> Self {
        Box::new(rule)
    }
}

/// Numbers that a rule keeps or is given beside the gradient, and what there is one of.
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
    /// Whether the caller fills it: the update reads it and leaves it as it is. See
    /// [`Optimizer::refresh`](crate::Optimizer::refresh).
    pub input: bool,
}

impl Slot {
    /// A slot per element that starts at zero.
    pub const fn element(name: &'static str) -> Self {
        Self {
            name,
            extent: Extent::Element,
            start: 0.0,
            used: true,
            input: false,
        }
    }

    /// An input per element beside the gradient, such as a curvature; zero until the caller fills
    /// it.
    pub const fn input(name: &'static str) -> Self {
        Self {
            input: true,
            ..Self::element(name)
        }
    }

    /// One number for the whole parameter group, kept by the host in f64; see [`Rule::advance`].
    pub const fn group(name: &'static str) -> Self {
        Self {
            extent: Extent::Group,
            ..Self::element(name)
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
    /// The parameter group.
    Group,
}

/// The position of a slot in use by its name, among `slots`, which are kept for `rule`.
pub(crate) fn position_of(rule: &dyn Rule, slots: &[Slot], name: &str) -> Result<usize, Error> {
    let used = || slots.iter().filter(|slot| slot.used);
    let position = slots.iter().position(|slot| slot.used && slot.name == name);
    position.ok_or_else(|| Error::unknown_state(rule, name, used().map(|slot| slot.name)))
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
