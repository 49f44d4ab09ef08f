//! Checks that each rule has everything that a rule needs. One list shows what any rule lacks, and
//! how to add it.

use std::path::Path;

use wgpu_optim::rules;

/// A file that has something for each rule.
struct Place {
    /// Below the package's folder. Where it is not packaged it is not asked for.
    path: &'static str,
    /// What the line of a rule of that name has.
    line: fn(&str) -> String,
    /// How it comes there.
    remedy: &'static str,
}

/// What is in a text.
const PLACES: &[Place] = &[
    Place {
        path: "README.md",
        line: |name| format!("| `{name}` |"),
        remedy: "a row of the table of rules, by hand",
    },
    Place {
        path: "tests/convergence.rs",
        line: |name| format!("(\"{name}\", "),
        remedy: "a row of TABLE, by hand",
    },
    Place {
        path: "tests/traces/formulas.py",
        line: |name| format!("\"{name}\": ("),
        remedy: "the formula in numpy and its row of RULES, by hand",
    },
    Place {
        path: "tests/machine_code/statistics.txt",
        line: |name| format!("{name} "),
        remedy: "UPDATE_STATISTICS=1 cargo test --test machine_code",
    },
];

/// A folder that has a file for each rule.
struct Folder {
    path: &'static str,
    /// Whether a file of that name is the rule's.
    is_of: fn(&str, &str) -> bool,
    remedy: &'static str,
}

const FOLDERS: &[Folder] = &[
    Folder {
        path: "tests/golden",
        is_of: |file, name| file == format!("{name}.wgsl"),
        remedy: "UPDATE_GOLDEN=1 cargo test --lib golden",
    },
    Folder {
        path: "tests/traces",
        is_of: |file, name| {
            let rest = file.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['.', '-']) && rest.ends_with(".safetensors"))
        },
        remedy: "cases in tests/traces/cases.py or closed_forms.py, by hand, then python3 tests/traces/record.py",
    },
];

/// What `names` lack in the package's `folder`, a line for each thing.
fn missing(folder: &Path, names: &[&str]) -> Vec<String> {
    let mut missing = Vec::new();
    for place in PLACES {
        let Ok(text) = std::fs::read_to_string(folder.join(place.path)) else {
            continue;
        };
        for name in names.iter().filter(|name| {
            let line = (place.line)(name);
            !text.lines().any(|text| text.trim().starts_with(&line))
        }) {
            missing.push(format!("{name}: {}: {}", place.path, place.remedy));
        }
    }
    for Folder {
        path,
        is_of,
        remedy,
    } in FOLDERS
    {
        let Ok(entries) = folder.join(path).read_dir() else {
            continue;
        };
        let files: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        for name in names {
            if !files.iter().any(|file| is_of(file, name)) {
                missing.push(format!("{name}: {path}: {remedy}"));
            }
        }
    }
    missing.sort();
    missing
}

#[test]
fn every_rule_is_complete() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names: Vec<_> = rules::names().collect();
    let missing = missing(folder, &names);
    assert!(missing.is_empty(), "missing:\n{}", missing.join("\n"));
}

#[test]
fn all_that_a_rule_lacks_is_listed_at_once_and_by_its_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = PLACES.iter().map(|place| place.path);
    let folders = FOLDERS.iter().map(|folder| folder.path);
    let packaged = places
        .chain(folders)
        .filter(|path| folder.join(path).exists());
    // A prefix of another rule's name, which must not be taken for it.
    for name in ["unheard_of", "ada"] {
        let missing = missing(folder, &["adam", name]);
        assert!(
            missing
                .iter()
                .all(|line| line.starts_with(&format!("{name}: ")))
        );
        assert_eq!(missing.len(), packaged.clone().count(), "{missing:?}");
    }
}
