//! Presets against the traces of the frameworks they are named after. Each trace states the
//! hyperparameters with which our formula is the framework's.

use std::{collections::BTreeMap, fs};

use wgpu_optim::{Rule, presets, rules};

/// Preset and the trace that its framework recorded with its own defaults.
const PROVEN: &[(&str, &str)] = &[
    ("pytorch.sgd", "sgd"),
    ("pytorch.adagrad", "adagrad"),
    ("pytorch.adadelta", "adadelta"),
    ("pytorch.rmsprop", "rmsprop"),
    ("pytorch.rprop", "rprop"),
    ("pytorch.asgd", "asgd"),
    ("pytorch.adam", "adam"),
    ("pytorch.adamw", "adamw"),
    ("pytorch.adamax", "adamax"),
    ("pytorch.nadam", "nadam"),
    ("pytorch.radam", "radam"),
    ("keras.adagrad", "adagrad-keras"),
    ("keras.adadelta", "adadelta-keras"),
    ("keras.rmsprop", "rmsprop-keras"),
    ("keras.adam", "adam-keras"),
    ("keras.adamw", "adamw-keras"),
    ("keras.adamax", "adamax-keras"),
    ("keras.nadam", "nadam-keras"),
    ("keras.lion", "lion-keras"),
    ("optax.rmsprop", "rmsprop-optax"),
    ("optax.amsgrad", "adam-optax_amsgrad"),
    ("optax.adamw", "adamw-optax"),
    ("optax.nadam", "adam-optax_nadam"),
    ("optax.nadamw", "adamw-optax_nadamw"),
    ("optax.radam", "radam-optax"),
    ("optax.adabelief", "adabelief"),
    ("optax.yogi", "yogi"),
    ("optax.lion", "lion-optax"),
];

/// Presets whose framework's trace changes a number so that the convention shows: ε, mostly.
const PROVEN_BUT_FOR: &[(&str, &str, &[&str])] = &[
    (
        "pytorch.adam_amsgrad",
        "adam-max_raw",
        &["lr", "beta1", "beta2", "eps", "weight_decay", "maximize"],
    ),
    ("keras.sgd", "sgd-keras_nesterov", &["momentum", "nesterov"]),
    (
        "keras.adam_amsgrad",
        "adam-keras_amsgrad",
        &["beta2", "eps"],
    ),
    ("optax.adagrad", "adagrad-optax", &["lr", "eps"]),
    ("optax.sign_sgd", "signsgd-plain", &["lr", "maximize"]),
];

/// Presets whose framework agrees with our defaults, with another framework's trace to show it.
const SAME_AS: &[(&str, &str)] = &[
    ("optax.sgd", "sgd"),
    ("optax.adadelta", "adadelta"),
    ("optax.adam", "adam"),
    ("optax.adamax", "adamax"),
];

fn fields(rule: &mut dyn Rule) -> BTreeMap<&'static str, String> {
    let fields = rule.hyperparameters();
    fields.iter().map(|f| (f.name, f.value())).collect()
}

/// The rule that a trace was recorded for.
fn traced(name: &str) -> Box<dyn Rule> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/traces");
    let file = fs::read(format!("{folder}/{name}.safetensors")).unwrap();
    let (length, rest) = file.split_first_chunk().unwrap();
    let header = &rest[..u64::from_le_bytes(*length) as usize];
    let header: serde_json::Value = serde_json::from_slice(header).unwrap();
    let metadata = |key: &str| header["__metadata__"][key].as_str().unwrap();
    let mut rule = rules::by_name(metadata("rule")).unwrap();
    let hyper: serde_json::Value = serde_json::from_str(metadata("hyper")).unwrap();
    for (field, value) in hyper.as_object().unwrap() {
        let text = match value.as_str() {
            Some(text) => text.to_owned(),
            None => value.to_string(),
        };
        rule.set(field, &text).unwrap();
    }
    rule
}

#[test]
fn presets_are_what_the_traces_of_their_frameworks_were_recorded_with() {
    let exactly = PROVEN.iter().chain(SAME_AS);
    let exactly = exactly.map(|(preset, trace)| (*preset, *trace, &[][..]));
    let mut seen = Vec::new();
    for (preset, trace, except) in exactly.chain(PROVEN_BUT_FOR.iter().copied()) {
        let mut rule = presets::by_name(preset).unwrap();
        let mut traced = traced(trace);
        assert_eq!(rule.name(), traced.name(), "{preset}");
        let (mut found, mut expected) = (fields(&mut *rule), fields(&mut *traced));
        for field in except {
            found.remove(field);
            expected.remove(field);
        }
        assert_eq!(found, expected, "{preset} is not {trace}");
        seen.push(preset);
    }
    for name in presets::names() {
        assert!(seen.contains(&name), "nothing shows that {name} is right");
    }
}

#[test]
fn every_preset_is_a_valid_rule() {
    for name in presets::names() {
        presets::by_name(name).unwrap().validate().unwrap();
    }
}
