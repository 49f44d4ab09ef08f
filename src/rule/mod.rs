//! What a rule is: the trait that every rule implements, whether it is this crate's or a user's.

mod block;
mod bound;
mod check;
mod declaration;
mod ema;
mod lanes;
mod part;
mod slot;
mod stages;
mod trial;
mod twin;

pub use block::Block;
pub(crate) use bound::{Bound, most_grad_exponent};
pub(crate) use check::{check_lr, check_stages, check_step_count, position_of};
pub use declaration::{Declaration, coefficients};
pub use ema::{ema, pull};
pub(crate) use lanes::{LaneSum, wide};
pub(crate) use part::{CodedPart, Part};
pub use slot::{Extent, Precision, Slot};
pub(crate) use stages::LinePart;
pub use stages::{Lines, MOST_UNKNOWNS, MatrixStage, MatrixWork, Over, Stages, Sum};
pub use twin::{Real, Shape, Step, Sums, Twin};
pub(crate) use twin::{bounded, clipped};

use crate::Error;
use trial::Asked;

/// An optimizer rule: its [`Declaration`], its [`Twin`] on the CPU, and what depends on earlier
/// steps. The example `custom_rule` shows two rules of a user's own.
pub trait Rule: Declaration + Twin<f32> + Twin<f64> {
    /// Checks what no single range can express: fields that must agree with one another.
    fn check_combination(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Settings that only have an effect together. A check of all variants of a rule, such as the
    /// example `verify`, tests these as well.
    fn combinations(&self) -> &'static [&'static [(&'static str, &'static str)]] {
        &[]
    }

    /// Computes the coefficients of a rule whose coefficients also depend on earlier learning
    /// rates. Other rules implement [`at`](Declaration::at). `history` holds the [slots of the
    /// group](Extent::Group) in their order; update it here.
    ///
    /// This is called once for each `t`, in order, when the `t`th step is recorded. `lr` is the
    /// rate of that step. Nobody knows yet whether a step will be skipped. If some were skipped,
    /// the `t`th performed step is a later recorded one. Its coefficients then come from the rate
    /// set at the `t`th recorded step, but its `now.lr` is the current rate. A rule that needs the
    /// current rate multiplies by `now.lr` in its update.
    fn advance(&self, t: u64, _lr: f64, _history: &mut [f64]) -> [f64; 4] {
        self.at(t)
    }

    /// The first `N` of the [`constants`](Declaration::constants), in the precision of a twin.
    /// [`Layout::group`](crate::Layout::group) refuses a rule that has fewer.
    fn constants_as<T: Real, const N: usize>(&self) -> [T; N]
    where
        Self: Sized,
    {
        let constants = self.constants();
        if constants.len() < N {
            trial::missed(Asked::Constants, N);
        }
        let mut constants = constants.into_iter();
        std::array::from_fn(|_| {
            let next = constants.next();
            next.map_or_else(T::nan, |(_, value)| T::from_f64(value))
        })
    }

    /// Sets one hyperparameter from text, as found in a command line or a file.
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

    /// Checks every field. [`Layout::group`](crate::Layout::group) calls this.
    fn validate(&mut self) -> Result<(), Error> {
        let rule = self.name().to_owned();
        for field in self.hyperparameters() {
            field.check(&rule)?;
        }
        self.check_combination()
    }
}

impl dyn Rule + '_ {
    /// The slots with one value per element.
    pub(crate) fn element_slots(&self) -> Vec<Slot> {
        self.slots_of(Extent::Element)
    }

    /// The slots with one value per tensor.
    pub(crate) fn tensor_slots(&self) -> Vec<Slot> {
        self.slots_of(Extent::Tensor)
    }

    /// The slot with one value per pair of elements.
    pub(crate) fn pair_slot(&self) -> Option<Slot> {
        self.slots_of(Extent::Pair).into_iter().next()
    }

    /// Why this rule does not take a tensor of `shape`. `None` if it does.
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

    /// The members of the WGSL `State`: the element slots, and the slots of lines that an update
    /// reads.
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
