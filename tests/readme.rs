//! The README's table of rules against the rules. `UPDATE_README=1 cargo test --test readme` writes a row
//! for each rule that has none.

use std::{fs, path::Path};

use wgpu_optim::{Extent, Rule, Slot, Stages, rules};

#[test]
fn the_table_has_a_row_for_every_rule_with_all_its_state() {
    let readme = readme();
    let rows: Vec<Vec<&str>> = readme
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split('|').map(str::trim).collect())
        .filter(|cells: &Vec<&str>| cells.len() == 7)
        .collect();
    let named: Vec<_> = rows
        .iter()
        .map(|cells| cells[1].trim_matches('`'))
        .collect();
    assert_eq!(named, rules::names().collect::<Vec<_>>());
    for cells in rows {
        let name = cells[1].trim_matches('`');
        assert!(!cells[2].is_empty() && !cells[5].is_empty(), "{name}");
        let rule = rules::by_name(name).unwrap();
        let kept = rule.slots().into_iter();
        for slot in kept.filter(|slot| slot.used && !slot.scratch) {
            assert!(cells[3].contains(slot.name), "{name} keeps {}", slot.name);
        }
        let bytes = bytes(&*rule);
        assert!(
            cells[4].starts_with(&bytes),
            "{name} moves {bytes}, not {}",
            cells[4]
        );
    }
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The README's text; with UPDATE_README set, completed first.
fn readme() -> String {
    let path = package().join("README.md");
    let text = fs::read_to_string(&path).unwrap();
    if std::env::var_os("UPDATE_README").is_none() {
        return text;
    }
    let completed = completed(&text, &rules::names().collect::<Vec<_>>(), row);
    fs::write(path, &completed).unwrap();
    completed
}

/// `text` with a `row` for each of `names` that its table lacks, behind that of the name before.
fn completed(text: &str, names: &[&str], row: impl Fn(&str) -> String) -> String {
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let of = |lines: &[String], name: &str| lines.iter().position(|line| is_row(line, name));
    for pair in names.windows(2) {
        if of(&lines, pair[1]).is_none() {
            let before = of(&lines, pair[0]).expect("the row of the rule before");
            lines.insert(before + 1, row(pair[1]));
        }
    }
    lines.join("\n") + "\n"
}

/// Whether `line` is the row of `name` in the table of rules; others have fewer cells.
fn is_row(line: &str, name: &str) -> bool {
    line.starts_with(&format!("| `{name}` |")) && line.split('|').count() == 7
}

/// What the rule's declaration says, for a start.
fn row(name: &str) -> String {
    let rule = rules::by_name(name).unwrap();
    let source = package().join(format!("src/rules/{name}.rs"));
    let source = fs::read_to_string(source).unwrap();
    let lines = source.lines().map(str::trim);
    let documentation = lines
        .clone()
        .skip_while(|line| !line.starts_with("/// "))
        .map_while(|line| line.strip_prefix("/// "))
        .collect::<Vec<_>>()
        .join(" ");
    let from = lines
        .filter_map(|line| line.strip_prefix("source: \""))
        .find_map(|line| line.strip_suffix("\";"));
    let kept = rule.slots().into_iter();
    let state: Vec<_> = kept
        .filter(|slot| slot.used && !slot.scratch)
        .map(|slot| match (slot.input, slot.extent) {
            (true, _) => format!("input {}", slot.name),
            (_, Extent::Element) => slot.name.to_owned(),
            (_, extent) => format!("{} per {extent:?}", slot.name).to_lowercase(),
        })
        .collect();
    let state = match &*state {
        [] => "none".to_owned(),
        state => state.join(", "),
    };
    let cells = [
        format!("`{name}`"),
        documentation.trim_end_matches('.').to_owned(),
        state,
        bytes(&*rule),
        from.unwrap_or("closed form")
            .trim_end_matches('.')
            .to_owned(),
    ];
    format!(
        "| {} |",
        cells.map(|cell| cell.replace('|', "\\|")).join(" | ")
    )
}

#[test]
fn a_row_that_lacks_is_written_where_it_belongs() {
    let readme = fs::read_to_string(package().join("README.md")).unwrap();
    let names: Vec<_> = rules::names().collect();
    assert_eq!(completed(&readme, &names, row), readme);
    for name in &names[1..] {
        let without = readme.lines().filter(|line| !is_row(line, name));
        let without = without.map(|line| format!("{line}\n")).collect::<String>();
        let stub = |name: &str| format!("| `{name}` | new | | | |");
        let found = completed(&without, &names, stub);
        let expected = readme.lines().map(|line| match is_row(line, name) {
            true => stub(name) + "\n",
            false => format!("{line}\n"),
        });
        assert_eq!(found, expected.collect::<String>(), "{name}");
        let row = row(name);
        assert_eq!(row.replace("\\|", "").split('|').count(), 7, "{row}");
    }
    assert_eq!(
        row("adopt"),
        "| `adopt` | ADOPT: Adam that divides by the second moment of the step before, so that it \
         converges for any β2 | exp_avg, exp_avg_sq | 28 / 16 | Taniguchi et al. 2024, \
         arXiv:2411.02853, as in pytorch-optimizer |"
    );
}

/// Bytes per parameter that a step moves, and that are kept.
fn bytes(rule: &dyn Rule) -> String {
    format!("{} / {}", moved(rule), 8 + 4 * elements(rule).len())
}

/// The slots of elements in use.
fn elements(rule: &dyn Rule) -> Vec<Slot> {
    let mut slots = rule.slots();
    slots.retain(|slot| slot.used && slot.extent == Extent::Element);
    slots
}

/// Bytes per parameter that the passes of a step read and write.
fn moved(rule: &dyn Rule) -> usize {
    let Stages {
        lines, sum, matrix, ..
    } = rule.stages();
    let slots = elements(rule);
    let read = |names: &[&str]| {
        slots
            .iter()
            .filter(|slot| names.contains(&slot.name))
            .count()
    };
    let of_lines = if lines.is_some() { 4 } else { 0 };
    let of_sum = sum.map_or(0, |sum| {
        let text = rule.wgsl();
        let body = &text[text.find("fn measure(").unwrap()..];
        let body = &body[body.find('{').unwrap()..body.find("\n}").unwrap()];
        let words: Vec<_> = body
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .collect();
        let inputs = ["p", "g"]
            .iter()
            .filter(|name| words.contains(name))
            .count();
        4 * (inputs + read(sum.reads))
    });
    let of_update = match matrix {
        // The gradient is read and state is read and written before, but for what is only filled;
        // then parameters are read and written.
        Some(stage) => 4 + 8 * (slots.len() - 1) + 4 + 8 + 4 * read(stage.reads),
        // Parameters and gradients are read, parameters written; each slot is read, and written if it
        // is no input.
        None => {
            let inputs = slots.iter().filter(|slot| slot.input).count();
            12 + 8 * (slots.len() - inputs) + 4 * inputs
        }
    };
    of_lines + of_sum + of_update
}
