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

    pub fn is_stored_in_blocks(&self) -> bool {
        self.is_stored && self.encoding.is_in_blocks()
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
        let elements = match encoding.is_in_blocks() {
            true => "Unit".to_owned(),
            false => format!("Quad_{}", encoding.name()),
        };
        format!(
            "@group(0) @binding({binding}) var<storage, {access}> slot_{}: array<{elements}>;\n",
            slot.name,
        )
    }

    /// The line that loads it into `state`: from `block`, of which this is one of the quads, if that is loaded.
    pub fn load(&self, has_block: bool) -> String {
        let (name, encoding) = (self.slot.name, self.encoding.name());
        let words = match (self.encoding.is_in_blocks(), has_block) {
            (true, true) => format!("block.{name}.quads[quad], block.{name}.top"),
            (true, false) => {
                let [codes, scale] = self.block();
                format!("{codes}[place.state / 4u % 4u], {scale}")
            }
            (false, _) => format!("slot_{name}[place.state / 4u]"),
        };
        format!("    state.{name} = decode_{encoding}({words});\n")
    }

    /// Where the codes of a block lie, and its scale.
    fn block(&self) -> [String; 2] {
        let name = self.slot.name;
        ["codes", "scales"]
            .map(|part| format!("slot_{name}[unit_of(place)].{part}[block_of(place)]"))
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
        let [codes, scale] = self.block();
        let mut text = format!(
            "    let top_{name} = top(a.{name}, b.{name}, c.{name}, d.{name});\n    \
             {scale} = top_{name};\n    {codes} = vec4<u32>(\n"
        );
        for (index, quad) in ["a", "b", "c", "d"].into_iter().enumerate() {
            let random = match self.encoding.is_stochastic() {
                true => format!(", random_from(place, {index}u, {}u)", self.number),
                false => String::new(),
            };
            text += &format!("        encode_{encoding}({quad}.{name}, top_{name}{random}),\n");
        }
        text + "    );\n"
    }
}

/// The function that loads a block's bits.
pub(super) fn load_block(slots: &[StoredSlot]) -> String {
    let in_blocks = slots.iter().filter(|slot| slot.encoding.is_in_blocks());
    let mut members = String::new();
    let mut loads = String::new();
    for slot in in_blocks {
        let (name, [codes, scale]) = (slot.slot.name, slot.block());
        members += &format!("    {name}: Codes,\n");
        loads += &format!("    block.{name} = Codes({codes}, {scale});\n");
    }
    format!(
        "struct Block {{\n{members}}}\n\nfn load_block(place: Place) -> Block {{\n    \
         var block = Block();\n{loads}    return block;\n}}\n\n"
    )
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
        // Compilers keep the bits of signed values beside their magnitudes. So those come last, which are the
        // first slots: then fewer numbers are left.
        text += "\nfn store_block(place: Place, a: State, b: State, c: State, d: State) {\n";
        text.extend(in_blocks.iter().rev().map(|slot| slot.store_block()));
        text += "}\n";
    }
    text
}

/// Whether `pass` stores slots in blocks.
pub(crate) fn stores_blocks(rule: &dyn Rule, frame: &Frame, pass: Pass) -> bool {
    StoredSlot::of(rule, frame, pass)
        .iter()
        .any(StoredSlot::is_stored_in_blocks)
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

/// The formats that `pass` loads and stores: their encodings, and the names by which the shaders refer
/// to them. Slots name their encoding themselves.
pub(super) fn formats(rule: &dyn Rule, frame: &Frame, width: Width, pass: Pass) -> String {
    let Storage { params, grads, .. } = frame.storage;
    let slots = StoredSlot::of(rule, frame, pass);
    let mut encodings = Vec::new();
    let mut roles = Vec::new();
    if is_coded(width, params) {
        encodings.push(params);
        roles.push(params_in(params, pass.stores_params()));
    }
    if is_coded(width, grads) {
        encodings.push(grads);
        roles.push(grads_in(grads));
    }
    encodings.extend(slots.iter().map(|slot| slot.encoding));
    let mut text = text(&encodings, roles);
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
    match is_coded(width, encoding) {
        true => text(&[encoding], vec![grads_in(encoding)]),
        false => String::new(),
    }
}

/// Whether elements are decoded. Those of f32 that move one at a time are not.
fn is_coded(width: Width, encoding: Encoding) -> bool {
    width == Width::Quads || encoding.is_half()
}

/// The files of `encodings`, each once, and `roles` after them.
fn text(encodings: &[Encoding], roles: Vec<String>) -> String {
    let mut files = Vec::new();
    for file in encodings.iter().flat_map(|encoding| encoding.wgsl()) {
        if !files.contains(file) {
            files.push(*file);
        }
    }
    let files = files.into_iter().map(str::to_owned);
    files.chain(roles).collect::<Vec<_>>().join("\n")
}

/// How gradients are decoded.
fn grads_in(encoding: Encoding) -> String {
    let name = encoding.name();
    format!(
        "alias GradQuad = Quad_{name};\n\n\
         fn decode_grad(quad: GradQuad) -> vec4<f32> {{\n    \
         return decode_{name}(quad);\n}}\n"
    )
}

/// How parameters are decoded and encoded. A pass that does not store them draws no random bits.
fn params_in(encoding: Encoding, stores: bool) -> String {
    if encoding.residual().is_some() {
        return include_str!("../../shaders/params/with_residual.wgsl").to_owned();
    }
    let name = encoding.name();
    let random = match (encoding.is_stochastic(), stores) {
        (true, false) => ", vec4<u32>()".to_owned(),
        _ => random(encoding, PARAMS_NUMBER),
    };
    format!(
        "alias ParamQuad = Quad_{name};\n\n\
         fn decode_param(quad: ParamQuad, place: Place) -> vec4<f32> {{\n    \
         return decode_{name}(quad);\n}}\n\n\
         fn encode_param(value: vec4<f32>, place: Place) -> ParamQuad {{\n    \
         return encode_{name}(value{random});\n}}\n"
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
        let roles = vec![params_in(f32, true), grads_in(bf16)];
        let text = text(&[f32, bf16, bf16, int8, uint8, f32], roles);
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
