//! Checks that each rule has everything that a rule needs. One list shows what any rule lacks, and
//! how to add it.

use std::{fs, path::Path};

use wgpu_optim::{Rule, hyperparameter::Field, rules};

/// A file that has something for each rule.
struct Place {
    /// Below the package's folder. Where it is not packaged it is not asked for.
    path: &'static str,
    /// What it has for a rule of that name and type.
    text: fn(&str, &str) -> String,
    /// Whether a line starts with it.
    starts_a_line: bool,
    /// How it comes there.
    remedy: &'static str,
}

const PLACES: &[Place] = &[
    Place {
        path: "README.md",
        text: |name, _| format!("| `{name}` |"),
        starts_a_line: true,
        remedy: "UPDATE_README=1 cargo test --test readme",
    },
    Place {
        path: "CHANGELOG.md",
        text: |_, of_type| format!("`{of_type}`"),
        starts_a_line: false,
        remedy: "the rule's type, by hand",
    },
    Place {
        path: "tests/convergence.txt",
        text: |name, _| format!("{name} "),
        starts_a_line: true,
        remedy: "UPDATE_CONVERGENCE=1 cargo test --test convergence",
    },
    Place {
        path: "tests/machine_code/statistics.txt",
        text: |name, _| format!("{name} "),
        starts_a_line: true,
        remedy: "UPDATE_STATISTICS=1 cargo test --test machine_code",
    },
];

/// A folder that has a file for each rule.
struct Folder {
    path: &'static str,
    ending: &'static str,
    remedy: &'static str,
}

const FOLDERS: &[Folder] = &[
    Folder {
        path: "tests/golden",
        ending: ".wgsl",
        remedy: "UPDATE_GOLDEN=1 cargo test --lib golden",
    },
    Folder {
        path: "tests/traces/rules",
        ending: ".py",
        remedy: "the formula in numpy, by hand",
    },
];

const TRACES: &str = "tests/traces";

/// What brings a trace there.
const RECORD: &str = "closed_forms in tests/traces/rules, or a framework's call in tests/traces/cases.py, \
                      by hand; then python3 tests/traces/record.py";

/// A recorded trace: its rule and the hyperparameters that are not the rule's defaults.
struct Recorded {
    rule: String,
    hyper: serde_json::Value,
}

/// The traces of `folder`; none where it is not packaged.
fn recorded(folder: &Path) -> Option<Vec<Recorded>> {
    let entries = folder.join(TRACES).read_dir().ok()?;
    let paths = entries.map(|entry| entry.unwrap().path());
    let traces = paths.filter(|path| path.extension().is_some_and(|end| end == "safetensors"));
    Some(traces.map(|path| read(&path)).collect())
}

fn read(path: &Path) -> Recorded {
    let file = fs::read(path).unwrap();
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&file).unwrap();
    let metadata = metadata.metadata().clone().unwrap();
    Recorded {
        rule: metadata["rule"].clone(),
        hyper: serde_json::from_str(&metadata["hyper"]).unwrap(),
    }
}

/// The values of a rule's flags and choices, each with its field, and whether it is the default.
fn values(rule: &mut dyn Rule) -> Vec<(&'static str, String, bool)> {
    let mut values = Vec::new();
    for field in rule.hyperparameters() {
        let of_field = match &field.field {
            Field::Flag(_) => vec!["false".to_owned(), "true".to_owned()],
            Field::Choice(choice) => choice.names().iter().map(|&name| name.to_owned()).collect(),
            _ => continue,
        };
        let default = field.value();
        let of_field = of_field.into_iter();
        values.extend(of_field.map(|value| {
            let is_default = value == default;
            (field.name, value, is_default)
        }));
    }
    values
}

impl Recorded {
    fn has(&self, field: &str, value: &str, is_default: bool) -> bool {
        match self.hyper.get(field) {
            Some(serde_json::Value::String(text)) => text == value,
            Some(other) => {
                let text = other.to_string();
                text == value
            }
            None => is_default,
        }
    }
}

/// A rule under a name and with the name of its type.
struct Named {
    name: String,
    of_type: String,
    rule: Box<dyn Rule>,
}

impl Named {
    fn known(name: &str) -> Self {
        let rule = rules::by_name(name).unwrap();
        // The text for programmers starts with it.
        let text = format!("{rule:?}");
        let of_type = text.split(|c: char| !c.is_alphanumeric()).next().unwrap();
        Self {
            name: name.to_owned(),
            of_type: of_type.to_owned(),
            rule,
        }
    }
}

/// What `rules` lack in the package's `folder`, a line for each thing.
fn missing(folder: &Path, rules: Vec<Named>) -> Vec<String> {
    let mut missing = Vec::new();
    let recorded = recorded(folder);
    for Named {
        name,
        of_type,
        mut rule,
    } in rules
    {
        let mut lacks = |path: &str, remedy: &str| {
            missing.push(format!("{name}: {path}: {remedy}"));
        };
        for place in PLACES {
            let Ok(text) = fs::read_to_string(folder.join(place.path)) else {
                continue;
            };
            let wanted = (place.text)(&name, &of_type);
            let mut lines = text.lines();
            let has_it = match place.starts_a_line {
                true => lines.any(|line| line.starts_with(&wanted)),
                false => text.contains(&wanted),
            };
            if !has_it {
                lacks(place.path, place.remedy);
            }
        }
        for of in FOLDERS {
            let in_it = folder.join(of.path);
            if in_it.is_dir() && !in_it.join(format!("{name}{}", of.ending)).is_file() {
                lacks(of.path, of.remedy);
            }
        }
        let Some(recorded) = &recorded else { continue };
        let of_rule: Vec<_> = recorded.iter().filter(|of| of.rule == name).collect();
        if of_rule.is_empty() {
            lacks(TRACES, RECORD);
        }
        for (field, value, is_default) in values(&mut *rule) {
            if !of_rule.iter().any(|of| of.has(field, &value, is_default)) {
                lacks(&format!("{TRACES}, with {field} = {value}"), RECORD);
            }
        }
    }
    missing.sort();
    missing
}

#[test]
fn every_rule_is_complete() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let missing = missing(folder, rules::names().map(Named::known).collect());
    assert!(missing.is_empty(), "missing:\n{}", missing.join("\n"));
}

#[test]
fn all_that_a_rule_lacks_is_listed_at_once_and_by_its_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    // A prefix of another rule's name, which must not be taken for it.
    for name in ["unheard_of", "ada"] {
        let new = Named {
            name: name.to_owned(),
            of_type: "Ada".to_owned(),
            ..Named::known("sgd")
        };
        let missing = missing(folder, vec![Named::known("adam"), new]);
        let places = PLACES.iter().map(|place| place.path);
        let folders = FOLDERS.iter().map(|folder| folder.path);
        let mut expected: Vec<_> = places
            .chain(folders)
            .filter(|path| folder.join(path).exists())
            .map(|path| format!("{name}: {path}: "))
            .collect();
        if folder.join(TRACES).is_dir() {
            expected.push(format!("{name}: {TRACES}: "));
            for value in ["nesterov", "maximize", "cautious"] {
                for value in [format!("{value} = false"), format!("{value} = true")] {
                    expected.push(format!("{name}: {TRACES}, with {value}: "));
                }
            }
            for form in ["classic", "ema"] {
                expected.push(format!("{name}: {TRACES}, with momentum_form = {form}: "));
            }
        }
        expected.sort();
        assert_eq!(missing.len(), expected.len(), "{missing:#?}");
        for (found, expected) in missing.iter().zip(&expected) {
            assert!(found.starts_with(expected), "{found}, not {expected}");
        }
    }
}

#[test]
fn a_flag_that_no_trace_has_is_listed_by_its_value() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Rprop has no flag of its own: with Lion's, its traces lack one value.
    let rprop = Named {
        rule: rules::by_name("lion").unwrap(),
        ..Named::known("rprop")
    };
    let missing = missing(folder, vec![rprop]);
    let expected = format!("rprop: {TRACES}, with cautious = true: {RECORD}");
    match folder.join(TRACES).is_dir() {
        true => assert_eq!(missing, [expected]),
        false => assert!(missing.is_empty()),
    }
}
