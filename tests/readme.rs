//! The README's table of rules against the rules.

use wgpu_optim::{Extent, Slot, rules};

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
        let slots = rules::by_name(name).unwrap().slots();
        let per_element = |slot: &&Slot| slot.used && slot.extent == Extent::Element;
        let used: Vec<_> = slots.iter().filter(per_element).collect();
        let inputs = used.iter().filter(|slot| slot.input).count();
        let state = used.len() - inputs;
        for slot in &slots {
            assert!(cells[3].contains(slot.name), "{name} keeps {}", slot.name);
        }
        // Read parameter and gradient, write the parameter; read each slot and write what is no input.
        let moved = 12 + 8 * state + 4 * inputs;
        let bytes = format!("{moved} / {}", 8 + 4 * used.len());
        assert!(
            cells[4].starts_with(&bytes),
            "{name} moves {bytes}, not {}",
            cells[4]
        );
    }
}
