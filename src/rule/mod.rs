//! What an optimizer is: the trait that each rule, ours or a user's, implements.

mod check;
mod declaration;
mod slot;
mod stages;
mod twin;

pub(crate) use check::{check_lr, check_stages, check_step_count, position_of};
pub use declaration::{Declaration, coefficients};
pub use slot::{Extent, Slot};
pub(crate) use stages::LinePart;
pub use stages::{Lines, MOST_UNKNOWNS, MatrixStage, MatrixWork, Over, Stages, Sum};
pub use twin::{Block, Real, Shape, Step, Sums, Twin};
pub(crate) use twin::{LaneSum, bounded, clipped, vectorized, wide};

use crate::Error;

/// An optimizer: its [`Declaration`], its [`Twin`] on the CPU, and here what it makes of the steps so
/// far. The example `custom_rule` has two rules of a user's.
pub trait Rule: Declaration + Twin<f32> + Twin<f64> {
    /// Checks what no single range can say: fields that must go with one another.
    fn check_combination(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Settings that mean something together which no one of them does on top of the defaults: whoever
    /// checks all variants of a rule, such as the example `verify`, checks these too.
    fn combinations(&self) -> &'static [&'static [(&'static str, &'static str)]] {
        &[]
    }

    /// [`at`](Declaration::at) of a rule whose coefficients depend on the learning rates so far too. `history`
    /// are the [slots of the group](Extent::Group) in their order, which this brings up to date.
    ///
    /// Called once for each `t`, in turn, when the `t`th step is recorded; `lr` is that step's. No one
    /// knows yet whether a step will be skipped. After one that was, the `t`th performed step is a
    /// later one than the `t`th recorded: its coefficients come from the rate that was set then, its
    /// `now.lr` is the present one. So a rule that wants the present rate multiplies by `now.lr` in its
    /// update.
    fn advance(&self, t: u64, _lr: f64, _history: &mut [f64]) -> [f64; 4] {
        self.at(t)
    }

    /// The first `N` of the [`constants`](Declaration::constants) in the precision of a twin; a missing
    /// one is NaN.
    fn constants_as<T: Real, const N: usize>(&self) -> [T; N]
    where
        Self: Sized,
    {
        let mut constants = self.constants().into_iter();
        std::array::from_fn(|_| {
            let next = constants.next();
            next.map_or_else(T::nan, |(_, value)| T::from_f64(value))
        })
    }

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
