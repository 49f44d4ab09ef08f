//! What a rule is as plain data, and the macro that declares it in one table.

use std::fmt;

use crate::{Slot, Stages, hyperparameter::Hyperparameter};

/// A rule as plain data: its name and hyperparameters, its state, the WGSL text of its update, and
/// the numbers that the text needs. [`rule!`](crate::rule!) writes all of it from one table.
///
/// # The WGSL text
///
/// The text has this function:
///
/// ```wgsl
/// fn update(p: vec4<f32>, g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32>
/// ```
///
/// It gets four parameters and their gradients, changes the state, and returns the new parameters.
/// The text can use these declarations:
///
/// - `Hyper`, with an f32 for each of the [`constants`](Self::constants), by its name;
/// - `State`, with a `vec4<f32>` for each element [slot](Self::slots), by its name;
/// - `Step`, from `shaders/now.wgsl` (its twin is [`Step`](crate::cpu::Step));
/// - `const NAME: bool` for each of the [`flags`](Self::flags);
/// - `ema(kept, x, pull)`, a moving average that is accurate at every decay, and `scalar_ema` for an
///   f32 (their twin is [`ema`](crate::cpu::ema)).
///
/// A rule that looks at whole tensors first says so in its [`stages`](Self::stages). It keeps what
/// it found in slots of [`Extent::Tensor`](crate::Extent::Tensor). Its `update` then has a further
/// argument, `tensor: OfTensor`, with an f32 for each of these slots.
///
/// If parameters and gradients are all zero, as in padding, the state must stay finite and the
/// parameters zero.
pub trait Declaration: fmt::Debug {
    /// The name of the rule for users and in files.
    fn name(&self) -> &str;

    /// Every field that a user may set, with its range.
    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        Vec::new()
    }

    /// The learning rate that a group starts with.
    fn lr(&self) -> f64;

    /// Whether to maximize. The gradient's sign is flipped before `update` sees it.
    fn maximize(&self) -> bool {
        false
    }

    /// The weight decay that acts on the parameter directly, beside the update. `Step::decay` is lr
    /// times this.
    fn decoupled_weight_decay(&self) -> f64 {
        0.0
    }

    /// The members of the WGSL `Hyper` with their values, computed in f64.
    fn constants(&self) -> Vec<(&'static str, f64)> {
        Vec::new()
    }

    /// The WGSL `const`s that choose a variant.
    fn flags(&self) -> Vec<(&'static str, bool)> {
        Vec::new()
    }

    /// The coefficients of the `t`th performed step, where `t` counts from 1: whatever depends on
    /// the step count alone, such as bias corrections. They are computed in f64 and reach the
    /// update as `now.at`.
    ///
    /// Coefficients follow the performed steps. A step that is skipped, because a gradient was not
    /// finite, does not change `t`. `now.lr` and `now.decay` follow the recorded steps, skipped
    /// ones included.
    fn at(&self, _t: u64) -> [f64; 4] {
        [0.0; 4]
    }

    /// All that the rule keeps beside the parameters, and all inputs beside the gradient, whether
    /// the flags use them or not.
    fn slots(&self) -> Vec<Slot> {
        Vec::new()
    }

    /// What a step does before its update.
    fn stages(&self) -> Stages {
        Stages::default()
    }

    /// Whether evaluation needs other parameters than training does. The WGSL text then also
    /// declares these two functions, and so does the twin. [`evaluate`](crate::Optimizer::evaluate)
    /// and [`train`](crate::Optimizer::train) apply them to the parameters.
    ///
    /// ```wgsl
    /// fn evaluated(p: vec4<f32>, s: State, h: Hyper) -> vec4<f32>
    /// fn trained(p: vec4<f32>, s: State, h: Hyper) -> vec4<f32>
    /// ```
    fn evaluates_elsewhere(&self) -> bool {
        false
    }

    /// Whether an element moves by the sign of some quantity, so that rounding can reverse its
    /// step. A check against f64 counts such elements.
    fn is_sign_based(&self) -> bool {
        false
    }

    /// Whether the update, or a sum of it, squares gradients.
    ///
    /// A finite gradient reaches a rule as at most 2⁶² (4.6e18), and as at most 2⁵⁰ (1.1e15) if the
    /// rule takes sums or means, so that the squares are finite. If a rule squares none, the bound is
    /// 2¹²⁶ (8.5e37), for parameters too. A gradient that is NaN or infinite reaches it as NaN. The
    /// twin in f64 has eight times these exponents.
    fn squares_gradients(&self) -> bool {
        true
    }

    /// The WGSL text. What it declares needs names of its own: the files in `shaders/` that come after it have
    /// theirs.
    fn wgsl(&self) -> &str;
}

/// The coefficients of [`Declaration::at`]. Up to four are `given`; the others are 0.
#[doc(hidden)]
pub fn coefficients<const N: usize>(given: [f64; N]) -> [f64; 4] {
    const { assert!(N <= 4) };
    std::array::from_fn(|index| given.get(index).copied().unwrap_or(0.0))
}

/// Declares a rule: its struct, with a range and a default for each field, and its
/// [`Declaration`](crate::Declaration).
///
/// A number states its range: the name of an [`Interval`](crate::hyperparameter::Interval), or a
/// Rust range in parentheses. Other fields are switches, or a
/// [`Choice`](crate::hyperparameter::Choice) that is `Copy`. The documentation of each field gets
/// its range and default. There must be a field `lr`. The macro adds `maximize`.
///
/// After the struct come these entries. They must be in this order, and each is optional:
///
/// - `source`: where the rule comes from, for its documentation;
/// - `decoupled_weight_decay`: a number;
/// - `constants`: the members of the WGSL `Hyper`, each a field's name or `name = value`;
/// - `flags`: `NAME = value`;
/// - `at(t)`: an array of up to four coefficients;
/// - `is_sign_based`: true;
/// - `squares_gradients`: false;
/// - `slots`: names of element [slots](crate::Slot); the methods of `Slot` turn them into others;
/// - `stages`: [`Stages`](crate::Stages);
/// - `evaluates_elsewhere`: true.
///
/// The last entry is the text, `wgsl`. All entries can use the fields by name.
///
/// ```
/// use wgpu_optim::{Rule, cpu::{Block, Real, Step, Twin, ema, pull}, rule};
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
///     constants: pull_momentum = pull(momentum);
///     slots: momentum_buffer.used_if(momentum > 0.0);
///     wgsl: "
/// fn update(p: vec4<f32>, g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
///     let b = ema((*s).momentum_buffer, g, h.pull_momentum);
///     (*s).momentum_buffer = b;
///     return p - (now.decay * p + now.lr * sign(b));
/// }";
/// }
///
/// impl Rule for Signum {}
///
/// impl<T: Real> Twin<T> for Signum {
///     fn update(&self, block: Block<'_, T>, now: Step<T>) {
///         let [pull_momentum] = self.constants_as::<T, _>();
///         block.each(move |p, g, [momentum_buffer]| {
///             let b = ema(*momentum_buffer, g, pull_momentum);
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
        $(squares_gradients: $squares_gradients:expr;)?
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

            $(fn squares_gradients(&self) -> bool {
                $squares_gradients
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
