//! The WGSL that follows from a rule's declaration: structs, constants, and the loads and stores of
//! its state.

use std::fmt::Write;

use super::{
    formats::{StoredSlot, load_block, rounds, store_state},
    frame::{Frame, Scale},
    pass::{Access, FIRST_STATE_BINDING, Pass},
};
use crate::{
    Rule, Slot, layout::TENSOR_ALIGNMENT, options::AVERAGE, plan::MEASURING_THREADS,
    rule::most_grad_exponent,
};

/// The generated text for `pass`.
pub(super) fn generated(rule: &dyn Rule, access: Access, frame: Frame, pass: Pass) -> [String; 5] {
    [
        structs(rule),
        variant(rule, frame),
        sums(rule),
        slots(rule, access, frame, pass),
        of_tensors(rule, frame, pass),
    ]
}

/// The structs that a rule's functions get: its constants, its state, and its state of tensors.
pub(super) fn structs(rule: &dyn Rule) -> String {
    let constants = rule.constants().into_iter().map(|(name, _)| name);
    let mut text = String::from("// The rule's numbers.\n\n");
    text += &declared("Hyper", "f32", constants);
    text += "\n";
    text += &declared("State", "vec4<f32>", rule.state_members());
    let of_tensor = rule.tensor_slots();
    if !of_tensor.is_empty() {
        text += "\n";
        text += &declared("OfTensor", "f32", of_tensor.iter().map(|slot| slot.name));
    }
    text
}

/// A struct of `members`, all of type `ty`.
fn declared<'n>(name: &str, ty: &str, members: impl IntoIterator<Item = &'n str>) -> String {
    let members: String = members
        .into_iter()
        .map(|member| format!("    {member}: {ty},\n"))
        .collect();
    if members.is_empty() {
        // WGSL has no empty structs.
        return format!("struct {name} {{\n    nothing: {ty},\n}}\n");
    }
    format!("struct {name} {{\n{members}}}\n")
}

/// The variant that the rule's fields choose.
pub(super) fn variant(rule: &dyn Rule, frame: Frame) -> String {
    let mut text = String::from("// The variant.\n\n");
    for (name, value) in rule.flags() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "const {name}: bool = {value};");
    }
    let _ = writeln!(text, "const ZERO_GRAD: bool = {};", frame.zero_grad);
    let most_grad = 2f64.powi(most_grad_exponent(rule));
    let _ = writeln!(text, "const MOST_GRAD: f32 = {most_grad:e};");
    let squares = rule.squares_gradients();
    let _ = writeln!(text, "const SQUARES_GRADS: bool = {squares};");
    let updates_by_grads = rule.stages().matrix.is_none();
    let _ = writeln!(text, "const UPDATES_BY_GRADS: bool = {updates_by_grads};");
    if let Scale::ByValue(most) = frame.scale {
        let _ = writeln!(text, "const CLIP_VALUE: f32 = {:e};", f64::from(most));
    }
    text
}

/// The lines that name a rule's slots: their bindings, and how `State` is loaded and stored. If
/// `pass` reads only some slots, the lines cover those alone and store nothing.
fn slots(rule: &dyn Rule, access: Access, frame: Frame, pass: Pass) -> String {
    let reads = pass.reads(rule);
    let slots = StoredSlot::of(rule, &frame, pass);
    let mut text =
        String::from("// The rule's slots; those that the variant leaves unused read as zero.\n\n");
    text.extend(slots.iter().map(StoredSlot::declaration));
    if frame.average {
        let in_use = rule.element_slots().iter().filter(|slot| slot.used).count();
        let binding = FIRST_STATE_BINDING + in_use as u32;
        let _ = writeln!(
            text,
            "@group(0) @binding({binding}) var<storage, read_write> slot_{AVERAGE}: \
             array<vec4<u32>>;",
        );
        if let Some(lower @ 1..) = frame.storage.params.lower_bits() {
            text += "\n// The bits of an f32 that parameters lack.\n";
            let _ = writeln!(text, "const LOWER: u32 = {lower:#x}u;");
        }
    }
    let lines = rule.stages().lines;
    let lines = lines.filter(|_| looks_at_lines(rule, reads));
    // A span that is measured is part of one tensor, whose lines are found once for all of it.
    let is_measured = pass == Pass::Measure;
    let in_tiles = access.is_in_tiles();
    if in_tiles {
        // Where a vector is measured, the state of its columns is updated too.
        let access = if is_measured { "read_write" } else { "read" };
        let _ = writeln!(
            text,
            "\n@group(0) @binding(11) var<storage, {access}> lines: array<vec4<f32>>;"
        );
    } else if lines.is_some() {
        text += "\n";
        text += include_str!("../../shaders/lines/gather.wgsl");
        let in_quads = frame.lines_in_quads;
        let _ = writeln!(text, "\nconst LINES_IN_QUADS: bool = {in_quads};");
    } else if is_measured {
        text += "\n";
        text += include_str!("../../shaders/lines/none.wgsl");
    }
    let has_block = slots.iter().any(StoredSlot::is_stored_in_blocks);
    text += "\n";
    if has_block {
        text += &load_block(&slots);
    }
    text += match (in_tiles, is_measured, has_block) {
        (true, ..) => "fn load_state(place: Place, gathered: Gathered) -> State {\n",
        (false, true, _) => "fn load_state(place: Place, tensor_lines: TensorLines) -> State {\n",
        (false, false, true) => "fn state_of(place: Place, block: Block, quad: u32) -> State {\n",
        (false, false, false) => "fn load_state(place: Place) -> State {\n",
    };
    text += "    var state = State();\n";
    if let Some(lines) = lines {
        if !in_tiles {
            if !is_measured {
                text += "    let tensor_lines = find_lines(place);\n";
            }
            text += "    let gathered = gather(tensor_lines, place);\n";
        }
        let _ = writeln!(
            text,
            "    state.{} = gathered.factor;\n    state.{} = gathered.column;",
            lines.factor, lines.column
        );
    }
    text.extend(slots.iter().map(|slot| slot.load(has_block)));
    text += "    return state;\n}\n\n";
    if has_block {
        // For what goes by quads, such as the switch to evaluation.
        text += "fn load_state(place: Place) -> State {\n    \
                 return state_of(place, load_block(place), place.state / 4u % 4u);\n}\n\n";
    }
    text + &store_state(&slots)
}

/// The uniform that says where a dispatch begins, in units of elements.
pub(super) fn window() -> String {
    let text = include_str!("../../shaders/window.wgsl");
    format!("{text}\nconst UNIT: u32 = {TENSOR_ALIGNMENT}u;\n")
}

/// How many threads measure, and which elements each of them has.
pub(super) fn measuring() -> String {
    let text = include_str!("../../shaders/tile.wgsl");
    format!("{text}\nconst MEASURING_THREADS: u32 = {MEASURING_THREADS}u;\n")
}

/// Words of a tensor's row before the values of its slots.
pub(crate) const SHAPE_WORDS: usize = 8;

/// The structs of what `rule` sums up.
pub(super) fn sums(rule: &dyn Rule) -> String {
    let Some(sum) = rule.stages().sum else {
        return String::new();
    };
    let members = |ty: &str| -> String {
        let names = sum.names.iter();
        names.map(|name| format!("    {name}: {ty},\n")).collect()
    };
    let quads: Vec<_> = (0..4)
        .map(|index| match sum.names.get(index) {
            Some(name) => format!("dot(sums.{name}, vec4<f32>(1.0))"),
            None => "0.0".to_owned(),
        })
        .collect();
    let added = sum.names.iter();
    let added = added.map(|name| format!("    (*sums).{name} += more.{name};\n"));
    let of_total = ["x", "y", "z", "w"].iter().zip(sum.names);
    let of_total: Vec<_> = of_total.map(|(axis, _)| format!("total.{axis}")).collect();
    format!(
        "// What the rule sums up, by four elements and in all.\n\n\
         struct Sums {{\n{}}}\n\nstruct Totals {{\n{}}}\n\n\
         fn add(sums: ptr<function, Sums>, more: Sums) {{\n{}}}\n\n\
         fn total(sums: Sums) -> vec4<f32> {{\n    return vec4<f32>(\n        {},\n    );\n}}\n\n\
         fn sums_of(total: vec4<f32>) -> Totals {{\n    return Totals({});\n}}\n",
        members("vec4<f32>"),
        members("f32"),
        added.collect::<String>(),
        quads.join(",\n        "),
        of_total.join(", "),
    )
}

/// How a rule gets its state of tensors, and the call of its function for `pass`.
fn of_tensors(rule: &dyn Rule, frame: Frame, pass: Pass) -> String {
    let reads = pass.reads(rule);
    let slots = rule.tensor_slots();
    let is_read = |slot: &Slot| slot.used && reads.is_none_or(|names| names.contains(&slot.name));
    let looks = looks_at_tensors(rule, reads);
    let mut text = String::new();
    if looks || frame.scale == Scale::ByTensor || rounds(rule, &frame, pass) {
        text += &window();
        text += "\n";
    }
    if looks {
        text += match looks_at_lines(rule, reads) {
            false => include_str!("../../shaders/tensors/words.wgsl"),
            true => include_str!("../../shaders/tensors/quads.wgsl"),
        };
        text += "\n";
        text += include_str!("../../shaders/tensors/lookup.wgsl");
        text += "\n";
    }
    if slots.is_empty() {
        text += "alias OfTensor = u32;\n\n";
        text += "fn load_tensor(place: Place) -> OfTensor {\n    return 0u;\n}\n\n";
    } else {
        text += "fn load_tensor(place: Place) -> OfTensor {\n    var tensor = OfTensor();\n";
        if slots.iter().any(is_read) {
            text += "    let row = row_of(place);\n";
        }
        for (slot, index) in slots.iter().zip(SHAPE_WORDS..) {
            let name = slot.name;
            if is_read(slot) {
                let _ = writeln!(
                    text,
                    "    tensor.{name} = bitcast<f32>(tensor_word(row + {index}u));"
                );
            }
        }
        text += "    return tensor;\n}\n\n";
    }
    let (name, result, call) = match pass {
        Pass::Update | Pass::Step => ("update", " -> vec4<f32>", "return update"),
        Pass::Prepare => ("prepare", "", "prepare"),
        _ => return text,
    };
    let argument = match slots.is_empty() {
        true => "",
        false => ", tensor",
    };
    let _ = writeln!(
        text,
        "fn {name}_at(\n    p: vec4<f32>,\n    g: vec4<f32>,\n    \
         s: ptr<function, State>,\n    tensor: OfTensor,\n){result} {{"
    );
    let mut step = "now";
    if rule.decoupled_weight_decay() == 0.0 {
        // The 0 is written out, so that compilers can remove the products with it.
        text += "    var undecayed = now;\n    undecayed.decay = 0.0;\n";
        step = "undecayed";
    }
    let _ = writeln!(text, "    {call}(p, g, s, hyper, {step}{argument});\n}}");
    text
}

/// Whether a stage that `reads` these slots (`None` means all) reads the state of tensors.
pub(crate) fn looks_at_tensors(rule: &dyn Rule, reads: Option<&[&str]>) -> bool {
    let is_read = |slot: &Slot| slot.used && reads.is_none_or(|names| names.contains(&slot.name));
    rule.tensor_slots().iter().any(is_read) || looks_at_lines(rule, reads)
}

/// Whether such a stage reads the state of rows and columns.
pub(crate) fn looks_at_lines(rule: &dyn Rule, reads: Option<&[&str]>) -> bool {
    let is_read = |name| reads.is_none_or(|names| names.contains(&name));
    let lines = rule.stages().lines;
    lines.is_some_and(|lines| is_read(lines.factor) || is_read(lines.column))
}

/// How the tensor that a rule concludes about is loaded and stored.
pub(super) fn conclusion(rule: &dyn Rule) -> String {
    let slots = rule.tensor_slots();
    let mut text = "fn tensor_at(row: u32) -> OfTensor {\n    return OfTensor(\n".to_owned();
    for (slot, index) in slots.iter().zip(SHAPE_WORDS..) {
        let _ = match slot.used {
            true => writeln!(text, "        bitcast<f32>(tensors[row + {index}u]),"),
            false => writeln!(text, "        0.0,"),
        };
    }
    text += "    );\n}\n\nfn keep_tensor(row: u32, tensor: OfTensor, is_nan: bool) {\n";
    let used = slots.iter().zip(SHAPE_WORDS..);
    for (slot, index) in used.filter(|(slot, _)| slot.used) {
        let name = slot.name;
        let _ = writeln!(
            text,
            "    tensors[row + {index}u] = select(bitcast<u32>(tensor.{name}), 0x7fc00000u, is_nan);"
        );
    }
    text += "}\n";
    text
}
