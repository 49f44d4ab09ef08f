//! What an optimizer is: the trait that each rule, ours or a user's, implements.

mod check;
mod slot;
mod stages;
mod twin;

use std::fmt;

pub(crate) use check::{check_lr, check_stages, check_step_count, position_of};
pub use slot::{Extent, Slot};
pub(crate) use stages::LinePart;
pub use stages::{Lines, MOST_UNKNOWNS, MatrixStage, MatrixWork, Over, Stages, Sum};
pub use twin::{Block, Real, Shape, Step, Sums, Twin};
pub(crate) use twin::{LaneSum, bounded, clipped, vectorized, wide};

use crate::{Error, hyperparameter::Hyperparameter};

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
/// [`flags`](Self::flags) are `const NAME: bool`. The example `custom_rule` has two rules of a
/// user's.
///
/// A rule that looks at whole tensors first says so by its [`stages`](Self::stages), keeps what it
/// found in slots of [`Extent::Tensor`], declares these as `struct OfTensor` (f32 members) and gets
/// them as one more argument of `update`, `tensor: OfTensor`.
///
/// WGSL knows no empty struct: where there is no constant or no slot, declare one member of any name.
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

    /// What a step does before its update.
    fn stages(&self) -> Stages {
        Stages::default()
    }

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
        self.slots_of(Extent::Element)
    }

    /// The slots that there is one of per tensor.
    pub(crate) fn tensor_slots(&self) -> Vec<Slot> {
        self.slots_of(Extent::Tensor)
    }

    /// The slot with one value per pair of elements.
    pub(crate) fn pair_slot(&self) -> Option<Slot> {
        self.slots_of(Extent::Pair).into_iter().next()
    }

    /// Why a tensor of `shape` is not for this rule.
    pub(crate) fn refuses(&self, shape: &[usize]) -> Option<&'static str> {
        match self.stages().matrix?.work {
            MatrixWork::Orthogonalize { .. } if shape.len() != 2 => Some(
                "its rule is for matrices, of two dimensions; put other tensors into a group of \
                 another rule, such as AdamW",
            ),
            MatrixWork::Solve { .. } if shape.iter().product::<usize>() > MOST_UNKNOWNS => {
                Some("its rule solves for at most 256 unknowns")
            }
            _ => None,
        }
    }

    fn slots_of(&self, extent: Extent) -> Vec<Slot> {
        let mut slots = self.slots();
        slots.retain(|slot| slot.extent == extent);
        slots
    }

    /// The members of the WGSL `State`: its slots of elements, and those of lines that an update
    /// looks at.
    #[cfg(test)]
    pub(crate) fn state_members(&self) -> Vec<&'static str> {
        let elements = self.element_slots().into_iter().map(|slot| slot.name);
        let lines = self.stages().lines.into_iter();
        elements
            .chain(lines.flat_map(|lines| [lines.factor, lines.column]))
            .collect()
    }
}

impl<R: Rule + 'static> From<R> for Box<dyn Rule> {
    fn from(rule: R) -> Self {
        Box::new(rule)
    }
}
