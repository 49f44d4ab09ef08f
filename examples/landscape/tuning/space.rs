//! What a rule's hyperparameters are drawn from.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use wgpu_optim::hyperparameter::{Field, Interval};
use wgpu_optim::{Rule, rules};

use crate::descent::copy;

/// Draws before the rule's own defaults stand in: few rules refuse a combination of fields.
const DRAWS: usize = 100;

/// From here on a number is no limit at all, as Prodigy's growth rate by default.
const NO_LIMIT: f64 = 1e30;

/// Whether a search leaves a hyperparameter as it is.
///
/// `maximize` would climb, decay pulls towards zero whatever the function is, eps and its place only
/// guard a division, and Newton–Schulz's coefficients belong together.
pub fn is_left_alone(name: &str) -> bool {
    name == "maximize"
        || name.contains("weight_decay")
        || name.starts_with("eps")
        || name.starts_with("ns_")
}

/// The hyperparameters of `rule` that a search changes.
pub fn searched(rule: &mut dyn Rule) -> Vec<&'static str> {
    let fields = rule.hyperparameters();
    let names = fields.iter().map(|field| field.name);
    names.filter(|name| !is_left_alone(name)).collect()
}

/// A rule with hyperparameters drawn from all that make sense.
pub fn draw(name: &str, random: &mut ChaCha8Rng) -> anyhow::Result<Box<dyn Rule>> {
    vary(&mut *rules::by_name(name)?, random, anew)
}

/// A rule with hyperparameters near those of `rule`.
pub fn draw_near(rule: &mut dyn Rule, random: &mut ChaCha8Rng) -> anyhow::Result<Box<dyn Rule>> {
    vary(rule, random, nearby)
}

/// A copy of `rule`, each of its fields that are searched changed by `change`.
fn vary(
    rule: &mut dyn Rule,
    random: &mut ChaCha8Rng,
    change: fn(&'static str, &mut Field<'_>, &mut ChaCha8Rng),
) -> anyhow::Result<Box<dyn Rule>> {
    for _ in 0..DRAWS {
        let mut copy = copy(rule)?;
        for mut field in copy.hyperparameters() {
            if !is_left_alone(field.name) {
                change(field.name, &mut field.field, random);
            }
        }
        rounded(&mut *copy);
        if copy.validate().is_ok() {
            return Ok(copy);
        }
    }
    copy(rule)
}

/// Three digits are as many as anyone wants to read, and what is printed is what was tried.
fn rounded(rule: &mut dyn Rule) {
    for field in rule.hyperparameters() {
        if let (false, Field::Number { value, allowed }) = (is_left_alone(field.name), field.field)
        {
            // Digits of what is left to 1, where that counts.
            let from = if is_share(&allowed) { 1.0 } else { 0.0 };
            let distance = (*value - from).abs();
            if distance > 0.0 && distance.is_finite() {
                let digits = (2.0 - distance.log10().floor()) as i32;
                let text = format!("{:.*}", digits.max(0) as usize, *value);
                *value = text.parse().unwrap_or(*value);
            }
        }
    }
}

/// Whether 1 is a limit that the numbers come near, as for Adam's betas.
fn is_share(allowed: &Interval) -> bool {
    allowed.contains(0.999) && !allowed.contains(1.0)
}

fn anew(name: &'static str, field: &mut Field<'_>, random: &mut ChaCha8Rng) {
    match field {
        Field::Number { value, allowed } => {
            let drawn = match name {
                "lr" => 10f64.powf(random.random_range(-4.0..1.0)),
                // Off by default: off, or anything. Some fields go together only while one is off.
                _ if **value == 0.0 && random.random_bool(0.5) => 0.0,
                _ if **value >= NO_LIMIT && random.random_bool(0.5) => **value,
                _ if **value >= NO_LIMIT => 10f64.powf(random.random_range(0.0..1.0)),
                _ if is_share(allowed) => 1.0 - 10f64.powf(random.random_range(-3.0..0.0)),
                _ if *allowed == Interval::UP_TO_ONE => random.random_range(0.0..=1.0),
                _ if **value == 0.0 => 10f64.powf(random.random_range(-3.0..1.0)),
                _ => **value * 10f64.powf(random.random_range(-1.0..1.0)),
            };
            set(value, allowed, drawn);
        }
        Field::Flag(flag) => **flag = random.random_bool(0.5),
        Field::Choice(choice) => {
            let count = choice.names().len();
            choice.choose(random.random_range(0..count));
        }
        _ => {}
    }
}

fn nearby(_: &'static str, field: &mut Field<'_>, random: &mut ChaCha8Rng) {
    // Most stay, so that what helped can be told from what did not.
    if random.random_bool(0.5) {
        return;
    }
    match field {
        Field::Number { value, .. } if **value >= NO_LIMIT => {}
        Field::Number { value, allowed } => {
            let factor = 10f64.powf(random.random_range(-0.3..0.3));
            let drawn = match is_share(allowed) {
                true => 1.0 - (1.0 - **value) * factor,
                false => **value * factor,
            };
            set(value, allowed, drawn);
        }
        Field::Flag(flag) => **flag ^= random.random_bool(0.2),
        Field::Choice(choice) if random.random_bool(0.2) => {
            let count = choice.names().len();
            choice.choose(random.random_range(0..count));
        }
        _ => {}
    }
}

fn set(value: &mut f64, allowed: &Interval, drawn: f64) {
    if allowed.contains(drawn) {
        *value = drawn;
    }
}
