//! How much memory an update moves.

use wgpu_optim::{Extent, Format, Formats, Rule, rules};

/// How many arrays an update reads and writes once per element, and how many bytes that is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Streams {
    /// Parameter, gradient, state.
    pub reads: usize,
    /// Parameter, its copy, state.
    pub writes: usize,
    pub bytes_per_element: f64,
}

impl Streams {
    /// What the update of `rule` moves in `formats`; the sums over tensors of rules that look at these read
    /// more before it.
    pub fn of(rule: &dyn Rule, formats: &Formats) -> Self {
        let slots = rule.slots();
        let elements = slots
            .iter()
            .filter(|slot| slot.extent == Extent::Element && slot.used && !slot.scratch);
        let inputs = elements.clone().filter(|slot| slot.input).count();
        let state = elements.clone().count();
        let of_slots = elements.map(|slot| match slot.input {
            true => Format::F32.bytes_per_element(),
            false => 2.0 * formats.of_state(slot.precision).bytes_per_element(),
        });
        let [params, grads] =
            [formats.params, formats.grads].map(|format| format.bytes_per_element());
        let copy = formats.copy.map_or(0.0, Format::bytes_per_element);
        Self {
            reads: 2 + state,
            writes: 1 + usize::from(formats.copy.is_some()) + state - inputs,
            bytes_per_element: 2.0 * params + grads + copy + of_slots.sum::<f64>(),
        }
    }

    /// How many elements of f32 a copy of `elements` has, so that it moves as many bytes.
    pub fn copied(&self, elements: usize) -> usize {
        let of_f32 = 4 * (self.reads + self.writes);
        (elements as f64 * self.bytes_per_element / of_f32 as f64).ceil() as usize
    }
}

/// All rules but those that are bound by products of matrices and systems of equations.
pub fn timed() -> impl Iterator<Item = &'static str> {
    let by_memory =
        |name: &&str| rules::by_name(name).is_ok_and(|rule| rule.stages().matrix.is_none());
    rules::names().filter(by_memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_moves_what_the_readme_says() {
        for (rule, formats, bytes) in [
            ("sgd", "f32", 12.0),
            ("adam", "f32", 28.0),
            ("adan", "f32", 44.0),
            ("sophia", "f32", 32.0),
            ("newton", "f32", 16.0),
            ("adam", "bf16", 20.0),
            ("adam", "int8", 17.0),
            ("asgd", "int8", 20.0),
            ("newton", "int8", 16.0),
            ("adam", "bf16/f16/int8", 11.0),
            ("adam", "bf16+8/bf16/int8", 13.0),
            ("sgd", "f32+bf16", 14.0),
            ("adamw", "f32+bf16", 30.0),
            ("adamw", "f32+f16/f32/int8", 19.0),
        ] {
            let rule = rules::by_name(rule).unwrap();
            let formats = flags::format::of_all(formats).unwrap();
            let streams = Streams::of(rule.as_ref(), &formats);
            assert_eq!(streams.bytes_per_element, bytes);
            let copied = streams.copied(1 << 20) * 4 * (streams.reads + streams.writes);
            assert!((copied as f64 / bytes / f64::from(1 << 20) - 1.0).abs() < 1e-4);
        }
    }
}
