//! What optimizers keep beside parameters and gradients.

use anyhow::Result;
use wgpu_optim::{Extent, Format, Layout, Slot};

/// The bytes of all that the rules of `layout` keep beside parameters and gradients, inputs that the
/// caller fills and what passes from one stage of a step to the next among them. What a rule keeps of
/// a whole parameter group, a few numbers, is not counted, nor is what fills up the last block of a tensor.
pub fn state_bytes(layout: &Layout) -> Result<f64> {
    let mut bytes = 0.0;
    for tensor in layout.tensors() {
        let group = layout.group_of(tensor)?;
        let slots = layout.rule(group)?.slots().into_iter();
        let kept = slots.filter(|slot| slot.used && slot.extent != Extent::Group);
        let (shape, formats) = (layout.shape(tensor)?, layout.formats(group)?);
        let of_slot = |slot: Slot| {
            let format = match may_be_rounded(&slot) {
                true => formats.of_state(slot.precision),
                false => Format::F32,
            };
            format.bytes_per_element() * slot.extent.count(shape) as f64
        };
        bytes += kept.map(of_slot).sum::<f64>();
    }
    Ok(bytes)
}

/// Whether `slot` is in a format of its group, and not always f32.
fn may_be_rounded(slot: &Slot) -> bool {
    slot.extent == Extent::Element && !slot.input && !slot.scratch
}

#[cfg(test)]
mod tests {
    use wgpu_optim::{Formats, rules};

    use super::*;

    /// Bytes per parameter of a large matrix, where what is kept of rows and tensors vanishes.
    fn of_a_large_matrix(name: &str, state: Format, sensitive: Format) -> f64 {
        let mut layout = Layout::new();
        let formats = Formats {
            state,
            sensitive,
            ..Formats::default()
        };
        let rule = rules::by_name(name).unwrap();
        let group = layout.group_in(rule, formats).unwrap();
        layout.tensor(group, "weight", &[10_000, 10_000]).unwrap();
        state_bytes(&layout).unwrap() / 1e8
    }

    /// What README.md says is kept of a rule per parameter: parameter, gradient and state, of a column
    /// such as `28 / 16, amsgrad 36 / 20`.
    fn documented(name: &str) -> f64 {
        let readme = include_str!("../../../README.md");
        let row = readme
            .lines()
            .find(|line| line.starts_with(&format!("| `{name}` |")));
        let cell = row.unwrap().split(" | ").nth(3).unwrap();
        let kept = cell.split(" / ").nth(1).unwrap();
        let digits: String = kept.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap()
    }

    #[test]
    fn each_rule_keeps_what_the_readme_says() {
        // What keeps a number per pair of parameters takes no tensor of this size.
        let keeps_pairs = |name: &&str| {
            let slots = rules::by_name(name).unwrap().slots();
            slots.iter().any(|slot| slot.extent == Extent::Pair)
        };
        for name in rules::names().filter(|name| !keeps_pairs(name)) {
            let found = 8.0 + of_a_large_matrix(name, Format::F32, Format::F32);
            assert!((found - documented(name)).abs() < 0.01, "{name}: {found}");
        }
    }

    #[test]
    fn state_takes_the_bytes_of_its_format_and_what_stays_exact_those_of_f32() {
        for (name, averaged, sensitive, exact) in [
            ("adamw", 2.0, 0.0, 0.0),
            // The gradient before.
            ("adan", 3.0, 1.0, 0.0),
            // What the caller fills.
            ("sophia", 2.0, 0.0, 1.0),
            // The next step's direction.
            ("muon", 1.0, 0.0, 1.0),
            ("rprop", 0.0, 2.0, 0.0),
        ] {
            for (format, bytes) in [(Format::Bf16, 2.0), (Format::Int8, 1.25)] {
                for (of_sensitive, sensitive_bytes) in [(Format::F32, 4.0), (Format::Bf16, 2.0)] {
                    let found = of_a_large_matrix(name, format, of_sensitive);
                    let expected = bytes * averaged + sensitive_bytes * sensitive + 4.0 * exact;
                    assert!(
                        (found - expected).abs() < 1e-6,
                        "{name}, {format}, {of_sensitive}: {found}"
                    );
                }
            }
        }
    }

    #[test]
    fn momentum_and_amsgrad_are_counted_only_where_they_are_kept() {
        let bytes = |rule: &str| {
            let rule: flags::RuleText = rule.parse().unwrap();
            let mut layout = Layout::new();
            let group = layout.group(rule.rule(&[]).unwrap()).unwrap();
            layout.tensor(group, "weight", &[3, 5]).unwrap();
            layout.tensor(group, "bias", &[3]).unwrap();
            state_bytes(&layout).unwrap()
        };
        assert_eq!(bytes("sgd"), 0.0);
        assert_eq!(bytes("sgd:momentum=0.9"), 4.0 * 18.0);
        assert_eq!(bytes("adam:amsgrad=max_raw"), 3.0 * 4.0 * 18.0);
        // Rows twice, columns once, each element of the vector, and a number for each tensor.
        assert_eq!(bytes("adafactor"), 4.0 * f64::from(2 * 3 + 5 + 3 + 2));
    }
}
