//! What there is to choose from, as JSON.

use anyhow::Result;
use flags::{RuleText, ScheduledRule};
use serde::Serialize;
use trainer::candidate::Candidate;
use wasm_bindgen::JsError;
use wasm_bindgen::prelude::wasm_bindgen;
use wgpu_optim::hyperparameter::{Field, Hyperparameter, Interval};
use wgpu_optim::rules;

use crate::errors::thrown;
use crate::functions::{self, Function};
use crate::palette::{self, Colour};

#[derive(Serialize)]
struct Catalog {
    functions: Vec<FunctionEntry>,
    rules: Vec<RuleEntry>,
    colours: Colours,
}

#[derive(Serialize)]
struct FunctionEntry {
    name: &'static str,
    about: &'static str,
    domain: &'static [[f64; 2]],
    start: Vec<f64>,
    minima: Vec<MinimumEntry>,
    /// The value of the lowest minimum.
    lowest: Option<f64>,
    steps: u64,
    rules: &'static [&'static str],
    /// Of quadratic.
    condition: Option<f64>,
}

#[derive(Serialize)]
struct MinimumEntry {
    at: [f64; 2],
    value: f64,
}

#[derive(Serialize)]
struct RuleEntry {
    name: &'static str,
    title: String,
    fields: Vec<FieldEntry>,
    /// With what suits the digits; None where a network cannot use it.
    training: Option<String>,
}

#[derive(Serialize)]
struct FieldEntry {
    name: &'static str,
    /// The default, as `Rule::set` reads it.
    value: String,
    allowed: String,
    /// Of a choice; `true` and `false` for a flag.
    names: Vec<&'static str>,
    slider: Option<Slider>,
}

/// How a slider's places become numbers.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Slider {
    /// By powers of ten around the default.
    Powers,
    /// By powers of ten of what is left to 1.
    Share,
}

#[derive(Serialize)]
struct Colours {
    light: Shades,
    dark: Shades,
}

#[derive(Serialize)]
struct Shades {
    series: Vec<&'static str>,
    levels: Vec<&'static str>,
    contour: &'static str,
}

/// All functions, rules and colours.
#[wasm_bindgen]
pub fn catalog() -> Result<String, JsError> {
    all().map_err(thrown)
}

/// What is wrong with a rule and its schedule as users write them; None if nothing is.
#[wasm_bindgen]
pub fn fault_of(rule: &str) -> Option<String> {
    match rule.parse::<ScheduledRule>() {
        Ok(text) => text.rule.rule(&[]).err().map(|error| format!("{error:#}")),
        Err(error) => Some(error),
    }
}

fn all() -> Result<String> {
    let functions = functions::names().map(|name| Ok(function(&*functions::by_name(name)?)));
    let catalog = Catalog {
        functions: functions.collect::<Result<_>>()?,
        rules: rules::names().map(rule).collect::<Result<_>>()?,
        colours: Colours {
            light: shades(|colour| colour.light),
            dark: shades(|colour| colour.dark),
        },
    };
    Ok(serde_json::to_string(&catalog)?)
}

fn function(function: &dyn Function) -> FunctionEntry {
    let showcase = function.showcase();
    let minima = function.minima().into_iter();
    let constants = function.constants().into_iter();
    FunctionEntry {
        name: function.name(),
        about: function.about(),
        domain: function.domain(),
        start: function.start()[..function.dimensions()].to_vec(),
        minima: minima
            .map(|minimum| MinimumEntry {
                at: minimum.at,
                value: minimum.value,
            })
            .collect(),
        lowest: function.lowest().map(|minimum| minimum.value),
        steps: showcase.steps,
        rules: showcase.rules,
        condition: constants
            .filter(|_| function.with_condition(1.0).is_some())
            .map(|(_, value)| value)
            .next(),
    }
}

fn rule(name: &'static str) -> Result<RuleEntry> {
    let mut rule = rules::by_name(name)?;
    let fields = rule.hyperparameters();
    Ok(RuleEntry {
        name,
        title: RuleText::named(name).title(),
        fields: fields.iter().map(field).collect(),
        training: Candidate::new(RuleText::named(name))
            .ok()
            .map(|candidate| candidate.explicit.to_string()),
    })
}

fn field(hyper: &Hyperparameter<'_>) -> FieldEntry {
    let (names, slider) = match &hyper.field {
        Field::Number { value, allowed } => (Vec::new(), slider(hyper.name, **value, allowed)),
        Field::Flag(_) => (vec!["false", "true"], None),
        Field::Choice(choice) => (choice.names().to_vec(), None),
        _ => (Vec::new(), None),
    };
    FieldEntry {
        name: hyper.name,
        value: hyper.value(),
        allowed: hyper.allowed(),
        names,
        slider,
    }
}

/// None for what is off by default, guards a division or is no limit at all.
fn slider(name: &str, value: f64, allowed: &Interval) -> Option<Slider> {
    let is_share = allowed.contains(0.999) && !allowed.contains(1.0);
    match value {
        _ if is_share => Some(Slider::Share),
        1e-6..1e6 if !name.starts_with("eps") && !name.starts_with("ns_") => Some(Slider::Powers),
        _ => None,
    }
}

fn shades(shade: fn(&Colour) -> &'static str) -> Shades {
    Shades {
        series: palette::SERIES.iter().map(shade).collect(),
        levels: palette::LEVELS.iter().map(shade).collect(),
        contour: shade(&palette::CONTOUR),
    }
}
