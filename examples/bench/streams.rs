//! How much memory an update moves.

use wgpu_optim::{Extent, Rule};

/// How many arrays of f32 an update reads and writes once per element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Streams {
    /// Parameter, gradient, state.
    pub reads: usize,
    /// Parameter, state.
    pub writes: usize,
}

impl Streams {
    /// What the update of `rule` moves; the sums over tensors of rules that look at these read more
    /// before it.
    pub fn of(rule: &dyn Rule) -> Self {
        let slots = rule.slots();
        let elements = slots
            .iter()
            .filter(|slot| slot.extent == Extent::Element && slot.used && !slot.scratch);
        let inputs = elements.clone().filter(|slot| slot.input).count();
        let state = elements.count();
        Self {
            reads: 2 + state,
            writes: 1 + state - inputs,
        }
    }

    pub fn bytes_per_element(self) -> usize {
        4 * (self.reads + self.writes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgpu_optim::rules;

    #[test]
    fn an_update_moves_what_the_readme_says() {
        for (rule, bytes) in [
            ("sgd", 12),
            ("adam", 28),
            ("adan", 44),
            ("sophia", 32),
            ("newton", 16),
        ] {
            let rule = rules::by_name(rule).unwrap();
            assert_eq!(Streams::of(rule.as_ref()).bytes_per_element(), bytes);
        }
    }
}
