//! What optimizers keep beside parameters and gradients.

use anyhow::Result;
use wgpu_optim::{Extent, Layout};

/// Bytes of an f32.
const F32: usize = 4;

/// The bytes of all that the rules of `layout` keep beside parameters and gradients, inputs that the
/// caller fills and what passes from one stage of a step to the next among them. What a rule keeps of
/// a whole parameter group, a few numbers, is not counted.
pub fn state_bytes(layout: &Layout) -> Result<usize> {
    let mut bytes = 0;
    for tensor in layout.tensors() {
        let slots = layout.rule(layout.group_of(tensor)?)?.slots();
        let kept = slots
            .iter()
            .filter(|slot| slot.used && slot.extent != Extent::Group);
        let shape = layout.shape(tensor)?;
        bytes += kept
            .map(|slot| F32 * slot.extent.count(shape))
            .sum::<usize>();
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use wgpu_optim::rules;

    use super::*;

    /// Bytes per parameter of a large matrix, where what is kept of rows and tensors vanishes.
    fn of_a_large_matrix(name: &str) -> f64 {
        let mut layout = Layout::new();
        let group = layout.group(rules::by_name(name).unwrap()).unwrap();
        layout.tensor(group, "weight", &[10_000, 10_000]).unwrap();
        state_bytes(&layout).unwrap() as f64 / 1e8
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
            let both = 2.0 * F32 as f64;
            let found = both + of_a_large_matrix(name);
            assert!((found - documented(name)).abs() < 0.01, "{name}: {found}");
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
        assert_eq!(bytes("sgd"), 0);
        assert_eq!(bytes("sgd:momentum=0.9"), 4 * 18);
        assert_eq!(bytes("adam:amsgrad=max_raw"), 3 * 4 * 18);
        // Rows twice, columns once, each element of the vector, and a number for each tensor.
        assert_eq!(bytes("adafactor"), 4 * (2 * 3 + 5) + 4 * 3 + 4 * 2);
    }
}
