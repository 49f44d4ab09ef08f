//! Rules that are no more than a direction: what the learning rate multiplies. How the weight decay
//! comes in, caution and the step along the direction are the same for all of them, and here. The
//! other half is in `shaders/direction/`.

use super::cautious::{agrees, cautious};
use crate::{
    Rule,
    cpu::{Block, Real, Step, Sums},
};

/// A rule of `N` slots of elements that is no more than a direction.
///
/// Its gradient has the L2 decay in it if one of its constants is called `weight_decay`.
pub(super) trait Direction<const N: usize>: Rule {
    /// What the learning rate multiplies, made of the gradient and the state, which it moves.
    fn direction<T: Real>(&self, now: Step<T>) -> impl Fn(T, &mut [T; N]) -> T + Copy;

    /// The new parameter, made of the old one and the direction. Rules without a decay beside the
    /// update have a `now.decay` of 0.
    fn stepped<T: Real>(&self, now: Step<T>) -> impl Fn(T, T) -> T + Copy {
        move |p, u| p - (now.decay * p + now.lr * u)
    }
}

/// The decay that goes through the gradient.
pub(super) fn l2(constants: &[(&str, f64)]) -> f64 {
    let mut constants = constants.iter();
    let found = constants.find(|(name, _)| *name == "weight_decay");
    found.map_or(0.0, |(_, value)| *value)
}

/// The gradient as `rule` sees it.
fn decayed<T: Real>(rule: &dyn Rule) -> impl Fn(T, T) -> T + Copy + use<T> {
    let weight_decay = T::from_f64(l2(&rule.constants()));
    let decays = weight_decay > T::zero();
    move |p, grad| {
        if decays {
            return grad + weight_decay * p;
        }
        grad
    }
}

/// The update of a block.
#[inline(always)]
pub(super) fn update<T: Real, const N: usize>(
    rule: &impl Direction<N>,
    is_cautious: bool,
    block: Block<'_, T>,
    now: Step<T>,
) {
    let decayed = decayed(rule);
    let direction = rule.direction(now);
    let stepped = rule.stepped(now);
    let [mask_scale] = block.of_tensor();
    // Two loops, so that neither has a branch.
    if is_cautious {
        block.each(move |p, grad, s| {
            let g = decayed(p, grad);
            let u = cautious(direction(g, s), g, mask_scale);
            stepped(p, u)
        });
    } else {
        block.each(move |p, grad, s| stepped(p, direction(decayed(p, grad), s)));
    }
}

/// How many elements of a block agree.
#[inline(always)]
pub(super) fn measure<T: Real, const N: usize>(
    rule: &impl Direction<N>,
    block: Block<'_, T>,
    now: Step<T>,
) -> Sums {
    let decayed = decayed(rule);
    let direction = rule.direction(now);
    block.sum(move |p, grad, mut s| {
        let g = decayed(p, grad);
        let u = direction(g, &mut s);
        [if agrees(u, g) { T::one() } else { T::zero() }]
    })
}

/// Declares a rule that is no more than a direction, by the table of [`rule!`](crate::rule!). The
/// switch `cautious` and what it needs come by themselves. `wgsl` names files of `shaders/`, which
/// together have `direction` and `stepped`.
macro_rules! direction {
    (
        $(#[$meta:meta])*
        pub struct $Rule:ident($name:literal) { $($fields:tt)* }
        $(source: $source:literal;)?
        $(decoupled_weight_decay: $decay:expr;)?
        constants: $($constant:ident $(= $value:expr)?),+;
        $(flags: $($flag:ident = $is_set:expr),+;)?
        $(at($t:ident): $at:expr;)?
        $(is_sign_based: $is_sign_based:expr;)?
        $(squares_gradients: $squares_gradients:expr;)?
        slots: $($slot:ident $(.$how:ident($($what:expr),*))*),+;
        wgsl: $($file:literal),+;
    ) => {
        $crate::rule! {
            $(#[$meta])*
            pub struct $Rule($name) {
                $($fields)*
                /// Leave out elements whose update and gradient point different ways, and scale the
                /// others up for them. Liang et al. 2024, arXiv:2411.16085.
                pub cautious: bool = false,
            }
            $(source: $source;)?
            $(decoupled_weight_decay: $decay;)?
            constants: $($constant $(= $value)?),+;
            $(flags: $($flag = $is_set),+;)?
            $(at($t): $at;)?
            $(is_sign_based: $is_sign_based;)?
            $(squares_gradients: $squares_gradients;)?
            slots: $($slot $(.$how($($what),*))*,)+
                mask_scale.per_tensor().as_scratch().used_if(cautious);
            stages: $crate::rules::cautious::stages(cautious, &[$(stringify!($slot)),+]);
            wgsl: $crate::rules::direction::text!(
                [$($file),+],
                $crate::rules::direction::l2(&[$((
                    stringify!($constant),
                    $crate::rule_fields!(@value $constant $(= $value)?),
                )),+]) > 0.0,
                cautious
            );
        }

        impl<T: $crate::cpu::Real> $crate::cpu::Twin<T> for $Rule {
            fn update(&self, block: $crate::cpu::Block<'_, T>, now: $crate::cpu::Step<T>) {
                $crate::rules::direction::update(self, self.cautious, block, now);
            }

            fn measure(
                &self,
                block: $crate::cpu::Block<'_, T>,
                now: $crate::cpu::Step<T>,
            ) -> $crate::cpu::Sums {
                $crate::rules::direction::measure(self, block, now)
            }

            fn conclude(
                &self,
                sums: [T; 4],
                tensor: &mut [T],
                shape: $crate::cpu::Shape<T>,
                _now: $crate::cpu::Step<T>,
            ) {
                $crate::rules::cautious::conclude(sums, tensor, shape);
            }
        }
    };
}
pub(super) use direction;

/// The WGSL text: files of `shaders/`, with the gradient that the rule sees, which may have an `$l2`
/// decay in it, and what caution adds.
macro_rules! text {
    ([$($file:literal),+], $l2:expr, $cautious:expr) => {
        match ($l2, $cautious) {
            (false, false) => $crate::rules::direction::text!(@of "plain", "off", $($file),+),
            (false, true) => $crate::rules::direction::text!(@of "plain", "on", $($file),+),
            (true, false) => $crate::rules::direction::text!(@of "l2", "off", $($file),+),
            (true, true) => $crate::rules::direction::text!(@of "l2", "on", $($file),+),
        }
    };
    (@of $decayed:literal, $caution:literal, $($file:literal),+) => {
        concat!(
            $(include_str!(concat!("../../shaders/", $file, ".wgsl")), "\n",)+
            include_str!("../../shaders/direction/update.wgsl"),
            "\n",
            include_str!(concat!("../../shaders/direction/", $decayed, ".wgsl")),
            "\n",
            include_str!(concat!("../../shaders/cautious/", $caution, ".wgsl")),
        )
    };
}
pub(super) use text;
