//! How elements are stored: the encodings in `shaders/format/`, and which of them each thing has.

use super::{frame::Frame, pass::Pass};
use crate::{
    Rule,
    format::{Format, Formats},
    plan::Width,
};

impl Format {
    /// The suffix of its encoding's names.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            #[cfg(test)]
            Self::Bf16 => "bf16",
        }
    }

    /// The WGSL that decodes and encodes four elements.
    fn encoding(self) -> &'static str {
        match self {
            Self::F32 => include_str!("../../shaders/format/f32.wgsl"),
            #[cfg(test)]
            Self::Bf16 => super::tests::BF16,
        }
    }
}

/// The formats that `pass` loads and stores: their encodings, and the aliases by which the shaders
/// refer to them. Slots name their encoding themselves.
pub(super) fn formats(rule: &dyn Rule, frame: &Frame, width: Width, pass: Pass) -> String {
    let Formats {
        params,
        grads,
        average,
        ..
    } = frame.formats;
    let mut roles = of_quads(width, &[("Param", params), ("Grad", grads)]);
    if frame.average {
        roles.push(("Average", average));
    }
    let reads = pass.reads(rule);
    let slots = rule.element_slots().into_iter();
    let is_read = |name| reads.is_none_or(|names| names.contains(&name));
    let slots = slots.filter(|slot| slot.used && is_read(slot.name));
    let of_slots = slots.map(|slot| rule.stages().format_of(&slot, &frame.formats));
    text(&roles, of_slots)
}

/// The same for gradients alone.
pub(super) fn of_grads(width: Width, format: Format) -> String {
    text(&of_quads(width, &[("Grad", format)]), [])
}

/// Elements that move one at a time are f32, which needs no encoding.
fn of_quads<'r>(width: Width, roles: &[(&'r str, Format)]) -> Vec<(&'r str, Format)> {
    match width {
        Width::Quads => roles.to_vec(),
        Width::Scalars => Vec::new(),
    }
}

fn text(roles: &[(&str, Format)], others: impl IntoIterator<Item = Format>) -> String {
    let mut formats = Vec::new();
    for format in roles.iter().map(|(_, format)| *format).chain(others) {
        if !formats.contains(&format) {
            formats.push(format);
        }
    }
    let encodings = formats.iter().map(|format| format.encoding().to_owned());
    let named = roles.iter().map(|(role, format)| role_of(role, *format));
    encodings.chain(named).collect::<Vec<_>>().join("\n")
}

/// The aliases through which `role` uses the encoding of `format`.
fn role_of(role: &str, format: Format) -> String {
    let (what, format) = (role.to_lowercase(), format.name());
    format!(
        "alias {role}Quad = Quad_{format};\n\n\
         fn decode_{what}(quad: {role}Quad) -> vec4<f32> {{\n    \
         return decode_{format}(quad);\n}}\n\n\
         fn encode_{what}(value: vec4<f32>) -> {role}Quad {{\n    \
         return encode_{format}(value);\n}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_encoding_is_there_once_and_each_role_names_its_own() {
        let (f32, bf16) = (Format::F32, Format::Bf16);
        let text = text(&[("Param", f32), ("Grad", bf16)], [bf16, f32]);
        for (what, times) in [
            ("fn decode_f32", 1),
            ("fn decode_bf16", 1),
            ("alias ParamQuad = Quad_f32", 1),
            ("alias GradQuad = Quad_bf16", 1),
        ] {
            assert_eq!(text.matches(what).count(), times, "{what}");
        }
    }
}
