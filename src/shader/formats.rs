//! How elements are stored: the encodings in `shaders/format/`, and which of them each thing has.

use super::{FIRST_STATE_BINDING, frame::Frame, pass::Pass};
use crate::{
    Rule, Slot,
    format::{Encoding, Storage},
    plan::Width,
};

/// The numbers of what is stored, by which the random bits of rounding differ. Slots follow.
pub(crate) const PARAMS_NUMBER: usize = 0;
pub(crate) const FIRST_SLOT_NUMBER: usize = 1;

/// How one slot of a rule is loaded and stored.
pub(super) struct StoredSlot {
    pub slot: Slot,
    pub binding: u32,
    encoding: Encoding,
    /// See [`FIRST_SLOT_NUMBER`].
    number: usize,
    is_stored: bool,
}

impl StoredSlot {
    /// The slots of elements that `pass` loads.
    pub fn of(rule: &dyn Rule, frame: &Frame, pass: Pass) -> Vec<Self> {
        let reads = pass.reads(rule);
        let stages = rule.stages();
        let slots = rule.element_slots().into_iter().enumerate();
        let used = slots
            .filter(|(_, slot)| slot.used)
            .zip(FIRST_STATE_BINDING..);
        let is_read = |name| reads.is_none_or(|names| names.contains(&name));
        used.filter(|((_, slot), _)| is_read(slot.name))
            .map(|((index, slot), binding)| Self {
                slot,
                binding,
                encoding: stages.encoding_of(&slot, &frame.storage),
                number: FIRST_SLOT_NUMBER + index,
                is_stored: reads.is_none() && !slot.input,
            })
            .collect()
    }

    /// The line that declares it.
    pub fn declaration(&self) -> String {
        let Self {
            slot,
            binding,
            encoding,
            ..
        } = self;
        let access = if self.is_stored { "read_write" } else { "read" };
        format!(
            "@group(0) @binding({binding}) var<storage, {access}> slot_{}: array<Quad_{}>;\n",
            slot.name,
            encoding.name()
        )
    }

    /// The line that loads it into `state`.
    pub fn load(&self) -> String {
        let (name, encoding) = (self.slot.name, self.encoding.name());
        let words = match self.encoding.is_in_blocks() {
            true => format!("slot_{name}[code_at(place)], slot_{name}[scale_at(place)]"),
            false => format!("slot_{name}[place.state / 4u]"),
        };
        format!("    state.{name} = decode_{encoding}({words});\n")
    }

    /// The line that stores it, if it is not in blocks.
    fn store(&self) -> String {
        let (name, encoding) = (self.slot.name, self.encoding.name());
        let random = random(self.encoding, self.number);
        format!("    slot_{name}[place.state / 4u] = encode_{encoding}(state.{name}{random});\n")
    }

    /// The lines that store four times four elements, which are a block.
    fn store_block(&self) -> String {
        let (name, encoding) = (self.slot.name, self.encoding.name());
        let mut text = format!(
            "    let top_{name} = top(a.{name}, b.{name}, c.{name}, d.{name});\n    \
             slot_{name}[scale_at(place)] = top_{name};\n"
        );
        for (index, quad) in ["a", "b", "c", "d"].into_iter().enumerate() {
            let random = match self.encoding.is_stochastic() {
                true => format!(", random_from(place, {index}u, {}u)", self.number),
                false => String::new(),
            };
            text += &format!(
                "    slot_{name}[code_at(place) + {index}u] = \
                 encode_{encoding}({quad}.{name}, top_{name}{random});\n"
            );
        }
        text
    }
}

/// The functions that store a state. Slots in blocks have one for four times four elements.
pub(super) fn store_state(slots: &[StoredSlot]) -> String {
    let stored = slots.iter().filter(|slot| slot.is_stored);
    let (in_blocks, alone): (Vec<_>, Vec<_>) =
        stored.partition(|slot| slot.encoding.is_in_blocks());
    let mut text = "fn store_state(place: Place, state: State) {\n".to_owned();
    text.extend(alone.iter().map(|slot| slot.store()));
    text += "}\n";
    if !in_blocks.is_empty() {
        text += "\nfn store_block(place: Place, a: State, b: State, c: State, d: State) {\n";
        text.extend(in_blocks.iter().map(|slot| slot.store_block()));
        text += "}\n";
    }
    text
}

/// Whether `pass` stores slots in blocks.
pub(super) fn stores_blocks(rule: &dyn Rule, frame: &Frame, pass: Pass) -> bool {
    let mut slots = StoredSlot::of(rule, frame, pass).into_iter();
    slots.any(|slot| slot.is_stored && slot.encoding.is_in_blocks())
}

/// Whether `pass` rounds by chance what it stores.
pub(crate) fn rounds(rule: &dyn Rule, frame: &Frame, pass: Pass) -> bool {
    let mut slots = StoredSlot::of(rule, frame, pass).into_iter();
    pass.stores_params() && frame.storage.params.is_stochastic()
        || slots.any(|slot| slot.is_stored && slot.encoding.is_stochastic())
}

/// The argument of random bits, if the encoding takes them.
fn random(encoding: Encoding, number: usize) -> String {
    match encoding.is_stochastic() {
        true => format!(", random(place, {number}u)"),
        false => String::new(),
    }
}

/// The formats that `pass` loads and stores: their encodings, and the aliases by which the shaders
/// refer to them. Slots name their encoding themselves.
pub(super) fn formats(rule: &dyn Rule, frame: &Frame, width: Width, pass: Pass) -> String {
    let Storage { params, grads, .. } = frame.storage;
    let slots = StoredSlot::of(rule, frame, pass);
    let roles = coded(width, &[("Param", params), ("Grad", grads)]);
    let mut text = text(&roles, slots.iter().map(|slot| slot.encoding));
    if roles.iter().any(|(role, _)| *role == "Param") {
        text += &encode_param(params, pass.stores_params());
    }
    if rounds(rule, frame, pass) {
        text += include_str!("../../shaders/format/random.wgsl");
    }
    if slots.iter().any(|slot| slot.encoding.is_in_blocks()) {
        text += include_str!("../../shaders/format/blocks.wgsl");
    }
    text
}

/// The same for gradients alone.
pub(super) fn of_grads(width: Width, encoding: Encoding) -> String {
    text(&coded(width, &[("Grad", encoding)]), [])
}

/// The roles whose elements are decoded. Those of f32 that move one at a time are not.
fn coded<'r>(width: Width, roles: &[(&'r str, Encoding)]) -> Vec<(&'r str, Encoding)> {
    let is_coded = |encoding: &Encoding| width == Width::Quads || encoding.is_half();
    let roles = roles.iter().copied();
    roles.filter(|(_, encoding)| is_coded(encoding)).collect()
}

fn text(roles: &[(&str, Encoding)], others: impl IntoIterator<Item = Encoding>) -> String {
    let mut files = Vec::new();
    let used = roles.iter().map(|(_, encoding)| *encoding).chain(others);
    for file in used.flat_map(|encoding| encoding.wgsl()) {
        if !files.contains(file) {
            files.push(*file);
        }
    }
    let named = roles
        .iter()
        .map(|(role, encoding)| role_of(role, *encoding));
    let files = files.into_iter().map(str::to_owned);
    files.chain(named).collect::<Vec<_>>().join("\n")
}

/// The aliases through which `role` uses its encoding.
fn role_of(role: &str, encoding: Encoding) -> String {
    let (what, name) = (role.to_lowercase(), encoding.name());
    format!(
        "alias {role}Quad = Quad_{name};\n\n\
         fn decode_{what}(quad: {role}Quad) -> vec4<f32> {{\n    \
         return decode_{name}(quad);\n}}\n"
    )
}

/// How parameters are encoded. A pass that does not store them draws no random bits.
fn encode_param(encoding: Encoding, stores: bool) -> String {
    let random = match (encoding.is_stochastic(), stores) {
        (true, false) => ", vec4<u32>()".to_owned(),
        _ => random(encoding, PARAMS_NUMBER),
    };
    format!(
        "\nfn encode_param(value: vec4<f32>, place: Place) -> ParamQuad {{\n    \
         return encode_{}(value{random});\n}}\n",
        encoding.name()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Precision, format::Format};

    #[test]
    fn each_encoding_is_there_once_and_each_role_names_its_own() {
        let f32 = Encoding::F32;
        let [bf16, int8, uint8] = [
            (Format::Bf16, Precision::Signed),
            (Format::Int8, Precision::Signed),
            (Format::Int8, Precision::NonNegative),
        ]
        .map(|(format, precision)| format.encoding(precision));
        let text = text(&[("Param", f32), ("Grad", bf16)], [bf16, int8, uint8, f32]);
        for (what, times) in [
            ("fn decode_f32", 1),
            ("fn decode_bf16", 1),
            ("fn decode_int8", 1),
            ("fn decode_uint8", 1),
            ("fn magnitudes_of", 1),
            ("alias ParamQuad = Quad_f32", 1),
            ("alias GradQuad = Quad_bf16", 1),
        ] {
            assert_eq!(text.matches(what).count(), times, "{what}");
        }
    }
}
