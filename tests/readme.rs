//! The README's table of rules against the rules.

use wgpu_optim::{Extent, Rule, Slot, Stages, rules};

#[test]
fn the_table_has_a_row_for_every_rule_with_all_its_state() {
    let readme = include_str!("../README.md");
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
        let bytes = format!("{} / {}", moved(&*rule), 8 + 4 * elements(&*rule).len());
        assert!(
            cells[4].starts_with(&bytes),
            "{name} moves {bytes}, not {}",
            cells[4]
        );
    }
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
