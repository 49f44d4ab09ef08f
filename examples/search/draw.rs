//! Trials that are drawn at random.

use anyhow::{Result, bail, ensure};
use flags::{Assignment, RuleText};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use trainer::candidate::Candidate;
use wgpu_optim::hyperparameter::{Field, Hyperparameter, Interval};

use crate::arguments::Arguments;
use crate::grid::has;
use crate::trial::{Trial, fixes, with};

/// Streams of the generator that trainings use, for weights and orders, come before these.
const FIRST_STREAM: u64 = 2;
/// A learning rate is drawn from so much less than the default to so much more.
const AROUND: f64 = 10.0;
/// How often weight decay is zero.
const NO_DECAY: f64 = 0.25;
/// Draws of a combination that the optimizer takes.
const ATTEMPTS: u32 = 100;

/// The trials that are drawn. Each depends on its number and on the seed alone, so that more of them
/// begin with the same.
pub fn trials(arguments: &Arguments) -> Result<Vec<Trial>> {
    check_keys(arguments)?;
    (0..arguments.random)
        .map(|number| trial(arguments, number))
        .collect()
}

/// Fails for a key that no optimizer has.
fn check_keys(arguments: &Arguments) -> Result<()> {
    // The default names what some optimizers have.
    let defaults = ["momentum", "beta1", "beta2", "alpha", "weight_decay", "all"];
    for name in arguments
        .draw
        .iter()
        .filter(|name| !defaults.contains(&&***name))
    {
        let mut any = false;
        for text in &arguments.optimizers {
            any |= has(text, name)?;
        }
        ensure!(
            any,
            "--draw {name}: none of the optimizers has such a hyperparameter."
        );
    }
    Ok(())
}

fn trial(arguments: &Arguments, number: u32) -> Result<Trial> {
    let mut random = ChaCha8Rng::seed_from_u64(arguments.seed);
    random.set_stream(FIRST_STREAM + u64::from(number));
    let of = number as usize % arguments.optimizers.len();
    let text = &arguments.optimizers[of];
    for _ in 0..ATTEMPTS {
        let drawn = with(text, hyper(arguments, text, &mut random)?);
        // Its own learning rate depends on what was drawn.
        let Ok(candidate) = Candidate::new(drawn.clone()) else {
            continue;
        };
        let lr = match fixes(text, "lr") {
            true => None,
            false => Some(rate(arguments, candidate.lr()?, &mut random)),
        };
        return Trial::new(with(&drawn, lr), of);
    }
    bail!("{text}: no combination of what --draw names is one that it takes.")
}

/// Values for what is drawn of the optimizer `text`, but for its learning rate.
fn hyper(
    arguments: &Arguments,
    text: &RuleText,
    random: &mut ChaCha8Rng,
) -> Result<Vec<Assignment>> {
    let mut rule = Candidate::new(text.clone())?.rule()?;
    let mut drawn = Vec::new();
    for field in rule.hyperparameters() {
        if fixes(text, field.name) {
            continue;
        }
        let of_grid = arguments.grid.iter().find(|key| key.name == field.name);
        let value = match of_grid {
            Some(key) => key.values[random.random_range(0..key.values.len())].clone(),
            None if is_drawn(arguments, field.name) => value(&field, random),
            None => continue,
        };
        drawn.push(Assignment::new(field.name, &value));
    }
    Ok(drawn)
}

fn is_drawn(arguments: &Arguments, name: &str) -> bool {
    let all = arguments.draw.iter().any(|other| other == "all");
    let named = arguments.draw.iter().any(|other| other == name);
    name != "lr" && (named || all && name != "maximize")
}

fn rate(arguments: &Arguments, own: f64, random: &mut ChaCha8Rng) -> Assignment {
    let given = arguments.lr.iter().map(|lr| lr.0);
    let (low, high) = match arguments.lr.len() {
        0 | 1 => (own / AROUND, own * AROUND),
        _ => (
            given.clone().fold(f64::INFINITY, f64::min),
            given.fold(0.0, f64::max),
        ),
    };
    Assignment::new("lr", &log_uniform(random, low, high).to_string())
}

/// A value that the hyperparameter may have.
fn value(field: &Hyperparameter, random: &mut ChaCha8Rng) -> String {
    match &field.field {
        Field::Number { value, allowed } => loop {
            let number = number(**value, *allowed, random);
            if allowed.contains(number) {
                return number.to_string();
            }
        },
        Field::Flag(_) => random.random_bool(0.5).to_string(),
        Field::Choice(choice) => {
            let names = choice.names();
            names[random.random_range(0..names.len())].to_owned()
        }
        _ => field.value(),
    }
}

fn number(default: f64, allowed: Interval, random: &mut ChaCha8Rng) -> f64 {
    match allowed {
        Interval::BELOW_ONE => round(1.0 - log_uniform(random, 1e-3, 0.5), 6),
        Interval::UP_TO_ONE => round(random.random_range(0.0..1.0), 3),
        Interval::EPS => log_uniform(random, 1e-10, 1e-4),
        _ if default == 0.0 => match random.random_bool(NO_DECAY) {
            true => 0.0,
            false => log_uniform(random, 1e-5, 0.1),
        },
        _ => log_uniform(random, default / AROUND, default * AROUND),
    }
}

/// Three significant digits: what a command line shows is what was trained with, and no machine's
/// logarithms differ by so much.
fn log_uniform(random: &mut ChaCha8Rng, low: f64, high: f64) -> f64 {
    let part: f64 = random.random_range(0.0..1.0);
    let value = low * (high / low).powf(part);
    format!("{value:.2e}").parse().unwrap_or(value)
}

fn round(value: f64, decimals: usize) -> f64 {
    format!("{value:.decimals$}").parse().unwrap_or(value)
}
