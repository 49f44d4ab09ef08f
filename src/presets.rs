//! Rules with the conventions of PyTorch, Keras and optax.
//!
//! The maths of a rule differs between frameworks in a few places: how large ε is and where it is
//! added, whether weight decay goes through the gradient, where AMSGrad takes its maximum, and what
//! form of Nesterov's momentum is used. All of these are fields of our rules. A preset sets them,
//! so that the same learning rate takes the same steps as in the framework.
//!
//! The defaults of [`rules`](crate::rules) are PyTorch's where PyTorch has the rule, so [`pytorch`]
//! adds only the names. The learning rate is the framework's default. optax has no default; its
//! presets use ours. Traces recorded from Keras 3.15 and optax 0.2.8 prove the presets
//! (`tests/traces`).
//!
//! ```
//! use wgpu_optim::{Layout, presets::keras, rules::Adam};
//!
//! let mut layout = Layout::new();
//! layout.group(keras::adam())?;
//! layout.group(Adam { lr: 3e-4, ..keras::adam() })?;
//! # Ok::<(), wgpu_optim::Error>(())
//! ```

use crate::{Error, Rule};

/// Makes a rule with a framework's conventions.
type Make = fn() -> Box<dyn Rule>;

/// Declares the presets of one framework, and lists them by `framework.function`.
macro_rules! presets {
    ($($(#[$doc:meta])* $framework:ident {
        $($(#[$function_doc:meta])* $name:ident: $Rule:ident { $($field:ident: $value:expr),* })*
    })*) => {
        $(
            $(#[$doc])*
            pub mod $framework {
                use crate::rules::*;
                $(
                    $(#[$function_doc])*
                    #[allow(clippy::needless_update, reason = "a preset may be all defaults")]
                    pub fn $name() -> $Rule {
                        $Rule { $($field: $value,)* ..Default::default() }
                    }
                )*
            }
        )*

        const PRESETS: &[(&str, Make)] = &[$($((
            concat!(stringify!($framework), ".", stringify!($name)),
            || $framework::$name().into(),
        ),)*)*];
    };
}

presets! {
    /// `torch.optim` of PyTorch 2.15.
    pytorch {
        /// `SGD`.
        sgd: Sgd {}
        /// `Adagrad`: ε outside the root.
        adagrad: Adagrad {}
        /// `Adadelta`.
        adadelta: Adadelta {}
        /// `RMSprop`: ε outside the root.
        rmsprop: RmsProp {}
        /// `Rprop`.
        rprop: Rprop {}
        /// `ASGD`.
        asgd: Asgd {}
        /// `Adam`: ε outside the root, after the bias correction; L2 decay.
        adam: Adam {}
        /// `Adam(amsgrad=True)`: the maximum is of the uncorrected moment.
        adam_amsgrad: Adam { amsgrad: Amsgrad::MaxRaw }
        /// `AdamW`: decoupled decay of 0.01.
        adamw: AdamW {}
        /// `Adamax`: ε is kept in the maximum.
        adamax: Adamax {}
        /// `NAdam`: Nesterov's momentum warms up, by ψ = 0.004.
        nadam: NAdam {}
        /// `RAdam`: ε outside the root, before the bias correction.
        radam: RAdam {}
    }

    /// `keras.optimizers` of Keras 3.15: ε is 1e-7.
    keras {
        /// `SGD`: learning rate 0.01. Keras multiplies by the learning rate before it accumulates
        /// the momentum. That differs from this rule while the learning rate changes.
        sgd: Sgd { lr: 1e-2 }
        /// `Adagrad`: ε inside the root, the sum starts at 0.1.
        adagrad: Adagrad {
            lr: 1e-3, initial_accumulator_value: 0.1, eps: 1e-7, eps_inside_root: true
        }
        /// `Adadelta`: ρ = 0.95.
        adadelta: Adadelta { lr: 1e-3, rho: 0.95, eps: 1e-7 }
        /// `RMSprop`: α = 0.9, ε inside the root.
        rmsprop: RmsProp { lr: 1e-3, alpha: 0.9, eps: 1e-7, eps_inside_root: true }
        /// `Adam`: ε outside the root, before the bias correction.
        adam: Adam { eps: 1e-7, eps_before_correction: true }
        /// `Adam(amsgrad=True)`: the maximum is of the uncorrected moment.
        adam_amsgrad: Adam {
            eps: 1e-7, eps_before_correction: true, amsgrad: Amsgrad::MaxRaw
        }
        /// `AdamW`: decoupled decay of 0.004.
        adamw: AdamW { eps: 1e-7, eps_before_correction: true, weight_decay: 4e-3 }
        /// `Adamax`: ε is added at the division by u, and not kept in u.
        adamax: Adamax { lr: 1e-3, eps: 1e-7, eps_in_state: false }
        /// `Nadam`: Nesterov's momentum warms up, by ψ = 1.
        nadam: NAdam { lr: 1e-3, eps: 1e-7, momentum_decay: 1.0 }
        /// `Lion`.
        lion: Lion { lr: 1e-3 }
    }

    /// `optax` 0.2.8.
    optax {
        /// `sgd`.
        sgd: Sgd {}
        /// `adagrad`: ε = 1e-7 inside the root, the sum starts at 0.1.
        adagrad: Adagrad {
            initial_accumulator_value: 0.1, eps: 1e-7, eps_inside_root: true
        }
        /// `adadelta`.
        adadelta: Adadelta {}
        /// `rmsprop`: decay 0.9, ε inside the root.
        rmsprop: RmsProp { alpha: 0.9, eps_inside_root: true }
        /// `adam`: ε outside the root, after the bias correction.
        adam: Adam {}
        /// `amsgrad`: the maximum is of the corrected moment.
        amsgrad: Adam { amsgrad: Amsgrad::MaxCorrected }
        /// `adamw`: decoupled decay of 1e-4.
        adamw: AdamW { weight_decay: 1e-4 }
        /// `nadam`: Dozat's simple form.
        nadam: Adam { nesterov: true }
        /// `nadamw`: the same with a decoupled decay of 1e-4.
        nadamw: AdamW { nesterov: true, weight_decay: 1e-4 }
        /// `adamax`.
        adamax: Adamax {}
        /// `radam`: ε outside the root, after the bias correction.
        radam: RAdam { eps_before_correction: false }
        /// `adabelief`: ε is kept in the second moment.
        adabelief: AdaBelief {}
        /// `yogi`.
        yogi: Yogi {}
        /// `lion`: decoupled decay of 1e-3.
        lion: Lion { weight_decay: 1e-3 }
        /// `sign_sgd`: without momentum.
        sign_sgd: SignSgd { momentum: 0.0 }
    }
}

/// The names that [`by_name`] knows, such as `"keras.adam"`.
pub fn names() -> impl ExactSizeIterator<Item = &'static str> {
    PRESETS.iter().map(|(name, _)| *name)
}

/// A preset by `framework.name`, for command lines and files.
///
/// ```
/// let rule = wgpu_optim::presets::by_name("optax.amsgrad")?;
/// assert_eq!(rule.name(), "adam");
/// # Ok::<(), wgpu_optim::Error>(())
/// ```
///
/// # Errors
/// [`Error::UnknownRule`] lists the names that exist.
pub fn by_name(name: &str) -> Result<Box<dyn Rule>, Error> {
    let found = PRESETS.iter().find(|(known, _)| *known == name);
    let (_, make) = found.ok_or_else(|| Error::UnknownRule {
        name: name.to_owned(),
        known: names().collect::<Vec<_>>().join(", "),
    })?;
    Ok(make())
}
