//! The optimizers: one file each here, and one of the same name in `shaders/rules/`, which Adam and
//! AdamW share. Each is declared by [`rule!`](crate::rule!); those that are no more than a direction,
//! which can be cautious, by a macro of this crate's on top of it.
//!
//! Defaults are PyTorch's where PyTorch has the rule. Every rule has a `maximize` flag. Where
//! sources disagree about a formula, the variant is a field.

mod cautious;
mod direction;
mod prelude;
mod schedule_free;

pub use adam::Amsgrad;
pub use muon::AdjustLr;
pub use sgd::MomentumForm;

use crate::{Error, Rule, cpu::Real};

/// Makes a rule with its default hyperparameters.
type Make = fn() -> Box<dyn Rule>;

/// Declares each rule's module, which bears the name that users type, and exports its type.
macro_rules! registry {
    ($($name:ident::$Rule:ident,)*) => {
        $(
            mod $name;
            pub use $name::$Rule;
        )*

        const REGISTRY: &[(&str, Make)] =
            &[$((stringify!($name), || $Rule::default().into())),*];
    };
}

// One line per rule; its maths is in shaders/rules/<name>.wgsl, its fields and its twin in <name>.rs.
registry! {
    sgd::Sgd,
    adagrad::Adagrad,
    rmsprop::RmsProp,
    adam::Adam,
    adamw::AdamW,
    nadam::NAdam,
    radam::RAdam,
    adabelief::AdaBelief,
    lion::Lion,
    adadelta::Adadelta,
    rprop::Rprop,
    adamax::Adamax,
    adabound::AdaBound,
    yogi::Yogi,
    signsgd::SignSgd,
    adan::Adan,
    adopt::Adopt,
    ademamix::AdEmaMix,
    asgd::Asgd,
    schedulefree_adamw::ScheduleFreeAdamW,
    schedulefree_sgd::ScheduleFreeSgd,
    sophia::Sophia,
    newton::Newton,
    adafactor::Adafactor,
    lars::Lars,
    lamb::Lamb,
    novograd::NovoGrad,
    muon::Muon,
    newton_dense::NewtonDense,
    prodigy::Prodigy,
    gradient_agreement::GradientAgreement,
}

/// The names that [`by_name`] knows.
pub fn names() -> impl ExactSizeIterator<Item = &'static str> {
    REGISTRY.iter().map(|(name, _)| *name)
}

/// A rule with its default hyperparameters, for command lines and files.
///
/// ```
/// use wgpu_optim::{Rule, rules};
///
/// let mut rule = rules::by_name("rmsprop")?;
/// rule.set("alpha", "0.9")?;
/// assert!(rules::by_name("addam").unwrap_err().to_string().contains("adamw"));
/// # Ok::<(), wgpu_optim::Error>(())
/// ```
///
/// # Errors
/// [`Error::UnknownRule`] lists the names there are.
pub fn by_name(name: &str) -> Result<Box<dyn Rule>, Error> {
    let found = REGISTRY.iter().find(|(known, _)| *known == name);
    let (_, make) = found.ok_or_else(|| Error::UnknownRule {
        name: name.to_owned(),
        known: names().collect::<Vec<_>>().join(", "),
    })?;
    Ok(make())
}

/// `1 - βᵗ`.
fn bias_correction(beta: f64, t: u64) -> f64 {
    1.0 - beta.powf(t as f64)
}

/// √v with eps beside it or inside it. In WGSL: `shaders/root.wgsl`.
#[inline(always)]
fn root<T: Real>(v: T, eps: T, eps_inside_root: bool) -> T {
    let mut radicand = v;
    if eps_inside_root {
        radicand = radicand + eps;
    }
    let mut root = radicand.sqrt();
    if !eps_inside_root {
        root = root + eps;
    }
    root
}

/// The part of a weight decay that goes through the gradient (L2), and the part that acts beside
/// the update. One of the two is zero.
fn decay_terms(weight_decay: f64, decoupled: bool) -> (f64, f64) {
    if decoupled {
        (0.0, weight_decay)
    } else {
        (weight_decay, 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_calls_itself_what_the_registry_calls_it() {
        for name in names() {
            assert_eq!(by_name(name).unwrap().name(), name);
        }
    }

    #[test]
    fn every_hyperparameter_can_be_set_to_the_value_it_shows() {
        for name in names() {
            let mut rule = by_name(name).unwrap();
            let shown: Vec<_> = rule
                .hyperparameters()
                .iter()
                .map(|field| (field.name, field.value()))
                .collect();
            for (field, value) in shown {
                rule.set(field, &value).unwrap();
            }
            rule.validate().unwrap();
        }
    }

    #[test]
    fn every_number_has_a_range_that_refuses_nan_and_infinity() {
        for name in names() {
            let mut rule = by_name(name).unwrap();
            let fields: Vec<_> = rule.hyperparameters().iter().map(|f| f.name).collect();
            for field in fields {
                for bad in ["NaN", "inf", "-inf", "-100", "1e39", "word", ""] {
                    let error = rule.set(field, bad).unwrap_err().to_string();
                    assert!(error.contains(name) && error.contains(field), "{error}");
                    assert!(error.contains("expected"), "{error}");
                }
            }
        }
    }

    #[test]
    fn every_rule_has_lr_and_maximize() {
        for name in names() {
            let mut rule = by_name(name).unwrap();
            rule.set("lr", "0.125").unwrap();
            assert_eq!(rule.lr(), 0.125);
            assert!(!rule.maximize());
            rule.set("maximize", "true").unwrap();
            assert!(rule.maximize());
        }
    }

    /// Steps of f32 between two positive numbers.
    fn ulps(a: f32, b: f32) -> u32 {
        a.to_bits().abs_diff(b.to_bits())
    }

    #[test]
    fn constants_and_bias_corrections_hold_one_ulp_of_f32_from_the_first_step_to_the_millionth() {
        let beta = 0.9999;
        // Exact values by big-number arithmetic.
        let exact = [
            (1, 1.0e-4),
            (10_000, 0.632_138_953_567_076),
            (1_000_000, 1.0),
        ];
        for (t, exact) in exact {
            assert!(
                ulps(bias_correction(beta, t) as f32, exact as f32) <= 1,
                "t = {t}"
            );
        }
        // Whatever a rule declares as 1 − β, or pulls by it.
        let mut found = 0;
        for name in names() {
            let declared = by_name(name).unwrap().constants();
            let fields = declared.iter();
            let prefixes = ["one_minus_", "pull_"];
            let fields = fields.filter_map(|(constant, _)| {
                let field = prefixes.map(|prefix| constant.strip_prefix(prefix));
                field
                    .into_iter()
                    .flatten()
                    .next()
                    .map(|field| (*constant, field))
            });
            for (wanted, field) in fields {
                let mut rule = by_name(name).unwrap();
                rule.set(field, "0.9999").unwrap();
                let constants = rule.constants();
                let (_, value) = constants.iter().find(|(of, _)| *of == wanted).unwrap();
                assert!(ulps(*value as f32, 1e-4) <= 1, "{name}: {wanted} = {value}");
                found += 1;
            }
        }
        assert!(found > names().len(), "{found}");
        for rule in [by_name("adam").unwrap(), by_name("adamw").unwrap()] {
            let mut rule = rule;
            rule.set("beta1", "0.9999").unwrap();
            rule.set("beta2", "0.9999").unwrap();
            for (t, exact) in exact {
                let [of_m, _, before, after] = rule.at(t).map(|value| value as f32);
                let expected = (1.0 / exact) as f32;
                assert!(ulps(of_m, expected) <= 1, "m at t = {t}: {of_m}");
                assert!(ulps(before * after, expected) <= 1, "v at t = {t}: {after}");
            }
        }
        // What f32 would have made of it.
        assert!(ulps(1.0 - beta as f32, 1e-4) > 1000);
    }
}
