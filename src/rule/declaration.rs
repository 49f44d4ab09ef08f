//! What a rule is as plain data, and the macro that declares it in one table.

use std::fmt;

use crate::{Slot, Stages, hyperparameter::Hyperparameter};

/// A rule as plain data: its name and hyperparameters, what it keeps, the WGSL text of its update and
/// the numbers that this takes. [`rule!`](crate::rule!) writes it from one table.
///
/// # The WGSL text
///
/// It has the function
///
/// ```wgsl
/// fn update(p: vec4<f32>, g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32>
/// ```
///
/// which gets four parameters and their gradients, changes the state and returns the new parameters.
/// These are declared for it:
///
/// - `Hyper`, with an f32 for each of the [`constants`](Self::constants), by its name;
/// - `State`, with a `vec4<f32>` for each [slot](Self::slots) of elements, by its name;
/// - `Step`, in `shaders/now.wgsl` ([its twin](crate::cpu::Step));
/// - `const NAME: bool` for each of the [`flags`](Self::flags).
///
/// A rule that looks at whole tensors first says so by its [`stages`](Self::stages) and keeps what it
/// found in slots of [`Extent::Tensor`](crate::Extent::Tensor). It gets these as one more argument of
/// `update`, `tensor: OfTensor`, with an f32 for each of them.
///
/// All-zero parameters and gradients, as in padding, must stay finite and leave the parameter zero.
pub trait Declaration: fmt::Debug {
    /// The name under which users and files know the rule.
    fn name(&self) -> &str;

    /// Every field that a user may set, with its range.
    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        Vec::new()
    }

    /// The learning rate that a group starts with.
    fn lr(&self) -> f64;

    /// Whether to climb: the gradient's sign is turned before `update` sees it.
    fn maximize(&self) -> bool {
        false
    }

    /// The weight decay that acts on the parameter beside the update; `Step::decay` is lr times it.
    fn decoupled_weight_decay(&self) -> f64 {
        0.0
    }

    /// The members of the WGSL `Hyper` and their values, computed in f64.
    fn constants(&self) -> Vec<(&'static str, f64)> {
        Vec::new()
    }

    /// The WGSL `const`s that choose a variant.
    fn flags(&self) -> Vec<(&'static str, bool)> {
        Vec::new()
    }

    /// The coefficients of the `t`th performed step (from 1): whatever depends on the step count
    /// alone, such as bias corrections, in f64. They reach the update as `now.at`.
    ///
    /// Coefficients follow the steps that were performed: a step that was skipped, since a gradient was
    /// not finite, leaves `t` as it is. `now.lr` and `now.decay` follow the steps as they were recorded,
    /// skipped ones included.
    fn at(&self, _t: u64) -> [f64; 4] {
        [0.0; 4]
    }

    /// All that is kept beside the parameters, and the inputs beyond the gradient, whether the
    /// flags use them or not.
    fn slots(&self) -> Vec<Slot> {
        Vec::new()
    }

    /// What a step does before its update.
    fn stages(&self) -> Stages {
        Stages::default()
    }

    /// Whether evaluation wants other parameters than training does. The WGSL text then has these two
    /// as well, and the twin has both: what [`evaluate`](crate::Optimizer::evaluate) and
    /// [`train`](crate::Optimizer::train) make of the parameters.
    ///
    /// ```wgsl
    /// fn evaluated(p: vec4<f32>, s: State, h: Hyper) -> vec4<f32>
    /// fn trained(p: vec4<f32>, s: State, h: Hyper) -> vec4<f32>
    /// ```
    fn evaluates_elsewhere(&self) -> bool {
        false
    }

    /// Whether an element moves by the sign of something, so that a rounding can turn its step around:
    /// a check against f64 counts such elements.
    fn is_sign_based(&self) -> bool {
        false
    }

    /// The WGSL text.
    fn wgsl(&self) -> &str;
}

/// The coefficients of [`Declaration::at`], up to four of which are `given`.
#[doc(hidden)]
pub fn coefficients<const N: usize>(given: [f64; N]) -> [f64; 4] {
    const { assert!(N <= 4) };
    std::array::from_fn(|index| given.get(index).copied().unwrap_or(0.0))
}

/// Declares a rule: its struct, with a range and a default for each field, and its
/// [`Declaration`](crate::Declaration).
///
/// A number says its range, which is an [`Interval`](crate::hyperparameter::Interval) by name or a
/// range of Rust in parentheses. Other fields are switches, or a
/// [`Choice`](crate::hyperparameter::Choice) that is `Copy`. The documentation of each gets its range
/// and default. There must be an `lr`; `maximize` comes by itself.
///
/// Behind the struct, in this order and each only where there is one, come
///
/// - `source`: where the rule is from, for its documentation;
/// - `decoupled_weight_decay`: a number;
/// - `constants`: what the WGSL `Hyper` has, each a field's name or `name = value`;
/// - `flags`: `NAME = value`;
/// - `at(t)`: an array of up to four coefficients;
/// - `is_sign_based`: true;
/// - `slots`: names of [slots](crate::Slot) of elements, which its methods make others of;
/// - `stages`: [`Stages`](crate::Stages);
/// - `evaluates_elsewhere`: true;
///
/// and the text, `wgsl`. All of them see the fields by their names.
///
/// ```
/// use wgpu_optim::{Rule, cpu::{Block, Real, Step, Twin}, rule};
///
/// rule! {
///     /// Signum: the sign of a running mean of the gradient.
///     pub struct Signum("signum") {
///         pub lr: f64 in NON_NEGATIVE = 1e-3,
///         /// μ.
///         pub momentum: f64 in BELOW_ONE = 0.9,
///         /// Decoupled.
///         pub weight_decay: f64 in (0.0..=1.0) = 0.0,
///     }
///     decoupled_weight_decay: weight_decay;
///     constants: one_minus_momentum = 1.0 - momentum;
///     slots: momentum_buffer.used_if(momentum > 0.0);
///     wgsl: "
/// fn update(p: vec4<f32>, g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
///     let b = (*s).momentum_buffer + h.one_minus_momentum * (g - (*s).momentum_buffer);
///     (*s).momentum_buffer = b;
///     return p - (now.decay * p + now.lr * sign(b));
/// }";
/// }
///
/// impl Rule for Signum {}
///
/// impl<T: Real> Twin<T> for Signum {
///     fn update(&self, block: Block<'_, T>, now: Step<T>) {
///         let [one_minus_momentum] = self.constants_as::<T, _>();
///         block.each(move |p, g, [momentum_buffer]| {
///             let b = *momentum_buffer + one_minus_momentum * (g - *momentum_buffer);
///             *momentum_buffer = b;
///             p - (now.decay * p + now.lr * Real::sign(b))
///         });
///     }
/// }
///
/// let mut rule = Signum::default();
/// rule.set("momentum", "0.5")?;
/// assert!(rule.set("weight_decay", "2").is_err());
/// # Ok::<(), wgpu_optim::Error>(())
/// ```
#[macro_export]
macro_rules! rule {
    (
        $(#[$meta:meta])*
        $vis:vis struct $Rule:ident($name:literal) $fields:tt
        $(source: $source:literal;)?
        $(decoupled_weight_decay: $decay:expr;)?
        $(constants: $($constant:ident $(= $value:expr)?),+;)?
        $(flags: $($flag:ident = $is_set:expr),+;)?
        $(at($t:ident): $at:expr;)?
        $(is_sign_based: $is_sign_based:expr;)?
        $(slots: $($slot:ident $(.$how:ident($($what:expr),*))*),+;)?
        $(stages: $stages:expr;)?
        $(evaluates_elsewhere: $evaluates_elsewhere:expr;)?
        wgsl: $wgsl:expr;
    ) => {
        $crate::rule_fields!(@struct
            [$(#[$meta])* $(#[doc = ""] #[doc = concat!("Source: ", $source)])?]
            $vis $Rule $fields
        );

        #[allow(unused_variables)]
        impl $crate::Declaration for $Rule {
            fn name(&self) -> &str {
                $name
            }

            fn hyperparameters(
                &mut self,
            ) -> ::std::vec::Vec<$crate::hyperparameter::Hyperparameter<'_>> {
                $crate::rule_fields!(@list self $fields)
            }

            fn lr(&self) -> f64 {
                self.lr
            }

            fn maximize(&self) -> bool {
                self.maximize
            }

            $(fn decoupled_weight_decay(&self) -> f64 {
                $crate::rule_fields!(@let self $fields);
                $decay
            })?

            $(fn constants(&self) -> ::std::vec::Vec<(&'static str, f64)> {
                $crate::rule_fields!(@let self $fields);
                ::std::vec![$((
                    stringify!($constant),
                    $crate::rule_fields!(@value $constant $(= $value)?),
                )),+]
            })?

            $(fn flags(&self) -> ::std::vec::Vec<(&'static str, bool)> {
                $crate::rule_fields!(@let self $fields);
                ::std::vec![$((stringify!($flag), $is_set)),+]
            })?

            $(fn at(&self, $t: u64) -> [f64; 4] {
                $crate::rule_fields!(@let self $fields);
                $crate::coefficients($at)
            })?

            $(fn is_sign_based(&self) -> bool {
                $is_sign_based
            })?

            $(fn slots(&self) -> ::std::vec::Vec<$crate::Slot> {
                $crate::rule_fields!(@let self $fields);
                ::std::vec![$($crate::Slot::element(stringify!($slot))$(.$how($($what),*))*),+]
            })?

            $(fn stages(&self) -> $crate::Stages {
                $crate::rule_fields!(@let self $fields);
                $stages
            })?

            $(fn evaluates_elsewhere(&self) -> bool {
                $evaluates_elsewhere
            })?

            fn wgsl(&self) -> &str {
                $crate::rule_fields!(@let self $fields);
                $wgsl
            }
        }
    };
}

/// What [`rule!`](crate::rule!) makes of fields.
#[doc(hidden)]
#[macro_export]
macro_rules! rule_fields {
    (
        @struct [$(#[$meta:meta])*] $vis:vis $Rule:ident {
            $(
                $(#[$doc:meta])*
                pub $field:ident: $kind:ident $(in $range:tt)? = $default:expr
            ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        $vis struct $Rule {
            $(
                #[doc = $crate::rule_fields!(@doc $field [$($doc)*])]
                $(#[$doc])*
                #[doc = $crate::rule_fields!(@range $kind $(in $range)?; $default)]
                pub $field: $kind,
            )*
            /// Climb in place of descending. Default `false`.
            pub maximize: bool,
        }

        impl ::std::default::Default for $Rule {
            fn default() -> Self {
                Self { $($field: $default,)* maximize: false }
            }
        }
    };

    (
        @list $this:ident {
            $(
                $(#[$doc:meta])*
                pub $field:ident: $kind:ident $(in $range:tt)? = $default:expr
            ),* $(,)?
        }
    ) => {
        ::std::vec![
            $($crate::rule_fields!(
                @one stringify!($field), &mut $this.$field, $kind $(in $range)?
            ),)*
            $crate::hyperparameter::Hyperparameter::flag("maximize", &mut $this.maximize),
        ]
    };

    (
        @let $this:ident {
            $(
                $(#[$doc:meta])*
                pub $field:ident: $kind:ident $(in $range:tt)? = $default:expr
            ),* $(,)?
        }
    ) => {
        let &Self { $($field,)* .. } = $this;
    };

    // What a field of this name is in every rule that does not say something else.
    (@doc lr []) => { "Learning rate; a group starts with it." };
    (@doc beta1 []) => { "β1." };
    (@doc beta2 []) => { "β2." };
    (@doc beta3 []) => { "β3." };
    (@doc eps []) => { "Keeps the division from blowing up." };
    (@doc $field:ident [$($doc:meta)*]) => { "" };

    (@range f64 in NON_NEGATIVE; $default:expr) => {
        concat!("At least 0; default `", stringify!($default), "`.")
    };
    (@range f64 in BELOW_ONE; $default:expr) => {
        concat!("In `[0, 1)`; default `", stringify!($default), "`.")
    };
    (@range f64 in UP_TO_ONE; $default:expr) => {
        concat!("In `[0, 1]`; default `", stringify!($default), "`.")
    };
    (@range f64 in EPS; $default:expr) => {
        concat!("At least 1.18e-38; default `", stringify!($default), "`.")
    };
    (@range f64 in ($range:expr); $default:expr) => {
        concat!("In `", stringify!($range), "`; default `", stringify!($default), "`.")
    };
    (@range $kind:ident; $default:expr) => {
        concat!("Default `", stringify!($default), "`.")
    };

    (@one $name:expr, $value:expr, f64 in ($range:expr)) => {
        $crate::hyperparameter::Hyperparameter::number($name, $value, ($range).into())
    };
    (@one $name:expr, $value:expr, f64 in $range:ident) => {
        $crate::hyperparameter::Hyperparameter::number(
            $name,
            $value,
            $crate::hyperparameter::Interval::$range,
        )
    };
    (@one $name:expr, $value:expr, bool) => {
        $crate::hyperparameter::Hyperparameter::flag($name, $value)
    };
    (@one $name:expr, $value:expr, $Choice:ident) => {
        $crate::hyperparameter::Hyperparameter::choice($name, $value)
    };

    (@value $field:ident) => { $field };
    (@value $field:ident = $value:expr) => { $value };
}
