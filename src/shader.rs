//! Complete shaders: plain concatenations of the files in `shaders/`.

use std::fmt::Write;

use crate::{
    Clip, Options, Rule, Slot,
    options::AVERAGE,
    plan::{GradPlace, Width},
};

/// Binding of the first state slot; `shaders/` has those before it.
pub(crate) const FIRST_STATE_BINDING: u32 = 5;

/// How an update finds its elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Access {
    /// In this crate's own arenas.
    Arena,
    /// In arenas, by a grid of several rows.
    FoldedArena,
    /// In a caller's ranges.
    Ranges(Width, GradPlace),
}

impl Access {
    /// Every one there is.
    #[cfg(test)]
    pub const ALL: [Self; 8] = [
        Self::Arena,
        Self::FoldedArena,
        Self::Ranges(Width::Quads, GradPlace::OwnBuffer),
        Self::Ranges(Width::Quads, GradPlace::SameBuffer),
        Self::Ranges(Width::Quads, GradPlace::InParams),
        Self::Ranges(Width::Scalars, GradPlace::OwnBuffer),
        Self::Ranges(Width::Scalars, GradPlace::SameBuffer),
        Self::Ranges(Width::Scalars, GradPlace::InParams),
    ];

    fn width(self) -> Width {
        match self {
            Self::Arena | Self::FoldedArena => Width::Quads,
            Self::Ranges(width, _) => width,
        }
    }

    pub fn grad_place(self) -> GradPlace {
        match self {
            Self::Arena | Self::FoldedArena => GradPlace::OwnBuffer,
            Self::Ranges(_, place) => place,
        }
    }
}

/// What an update shader is run for; each is an entry point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Pass {
    /// One step.
    Update,
    /// Parameters to evaluate with in the place of those to train with.
    Evaluate,
    /// And back.
    Train,
    /// What [`Sum`](crate::Sum) sums up.
    Measure,
    /// What [`Lines`](crate::Lines) averages.
    Lines,
    /// What a [`MatrixStage`](crate::MatrixStage) begins with.
    Prepare,
}

impl Pass {
    /// The slots of elements and tensors that the pass looks at and leaves as they are; None if it
    /// changes all that are in use.
    pub fn reads(self, rule: &dyn Rule) -> Option<&'static [&'static str]> {
        let stages = rule.stages();
        match self {
            Self::Update => stages.matrix.map(|matrix| matrix.reads),
            Self::Measure => Some(stages.sum.map_or(&[], |sum| sum.reads)),
            Self::Prepare => None,
            Self::Evaluate | Self::Train | Self::Lines => Some(&[]),
        }
    }

    pub fn entry_point(self) -> &'static str {
        match self {
            Self::Update => "main",
            Self::Evaluate => "evaluate",
            Self::Train => "train",
            Self::Measure => "measure_tensors",
            Self::Lines => "measure_lines",
            Self::Prepare => "prepare_matrices",
        }
    }
}

/// What an update does around the rule's own maths.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Around {
    pub scale: Scale,
    pub zero_grad: bool,
    pub average: bool,
}

/// How gradients reach the rule.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) enum Scale {
    /// As they are.
    #[default]
    None,
    /// By one number.
    Plain,
    ByNorm,
    ByValue(f32),
    ByTensor,
}

impl Around {
    /// What `options` put around an update of `rule`.
    pub fn of(options: &Options, rule: &dyn Rule) -> Self {
        // Without a look at the gradients, nothing else takes part in `grad_scale`.
        let keeps = !options.skips() && options.accumulate == 1 && !rule.maximize();
        Self {
            scale: match options.clip {
                Clip::None if keeps => Scale::None,
                Clip::None => Scale::Plain,
                Clip::Value(most) => Scale::ByValue(most as f32),
                Clip::GlobalNorm(_) => Scale::ByNorm,
                Clip::TensorNorm(_) => Scale::ByTensor,
            },
            zero_grad: options.zero_grad,
            average: options.average.is_some(),
        }
    }
}

/// The shader that turns what the host recorded into this step's numbers; `skips` if it looks at the
/// gradients first.
pub(crate) fn begin_step(skips: bool) -> String {
    let mut files = vec![
        include_str!("../shaders/begin_step.wgsl"),
        include_str!("../shaders/now.wgsl"),
        include_str!("../shaders/stats.wgsl"),
    ];
    if skips {
        files.extend([
            include_str!("../shaders/verdict/by_gradients.wgsl"),
            include_str!("../shaders/grad_stats/guard.wgsl"),
            include_str!("../shaders/grad_stats/run.wgsl"),
        ]);
    } else {
        files.push(include_str!("../shaders/verdict/none.wgsl"));
    }
    files.join("\n")
}

/// The shader that measures gradients: its entry points are `measure` and `measure_extreme`.
pub(crate) fn measure(width: Width) -> String {
    [
        include_str!("../shaders/grad_stats/measure.wgsl"),
        include_str!("../shaders/grad_stats/run.wgsl"),
        include_str!("../shaders/place.wgsl"),
        grads(width),
        include_str!("../shaders/grads/in_own_buffer.wgsl"),
    ]
    .join("\n")
}

/// The shader that adds up what was measured: `summarize` and `summarize_extreme`.
pub(crate) fn summarize() -> String {
    [
        include_str!("../shaders/grad_stats/summarize.wgsl"),
        include_str!("../shaders/grad_stats/run.wgsl"),
    ]
    .join("\n")
}

/// The shader `clip_tensors`.
pub(crate) fn clip_tensors() -> String {
    [
        include_str!("../shaders/grad_stats/clip_tensors.wgsl"),
        include_str!("../shaders/grad_stats/guard.wgsl"),
        include_str!("../shaders/grad_stats/run.wgsl"),
        include_str!("../shaders/stats.wgsl"),
    ]
    .join("\n")
}

/// The shader that zeroes gradients: `zero`.
pub(crate) fn zero_grads(width: Width) -> String {
    [
        include_str!("../shaders/grad_stats/zero.wgsl"),
        include_str!("../shaders/place.wgsl"),
        grads(width),
        include_str!("../shaders/grads/in_own_buffer_zeroed.wgsl"),
    ]
    .join("\n")
}

/// How gradients are stored.
fn grads(width: Width) -> &'static str {
    match width {
        Width::Quads => include_str!("../shaders/grads/quads.wgsl"),
        Width::Scalars => include_str!("../shaders/grads/scalars.wgsl"),
    }
}

/// The shader that counts what became of systems of equations: `tally`.
pub(crate) fn tally() -> String {
    [
        include_str!("../shaders/matrix/tally.wgsl"),
        include_str!("../shaders/stats.wgsl"),
    ]
    .join("\n")
}

/// The complete, standalone update shader of `rule` over arenas, to read or to compile elsewhere.
///
/// ```
/// let text = wgpu_optim::update_shader(&wgpu_optim::rules::AdamW::default());
/// assert!(text.contains("fn update(") && text.contains("@compute"));
/// ```
pub fn update_shader(rule: &dyn Rule) -> String {
    let around = Around::of(&Options::default(), rule);
    update(rule, Access::Arena, around)
}

/// The complete shader of `rule` for `pass`.
pub(crate) fn of_rule(rule: &dyn Rule, access: Access, around: Around, pass: Pass) -> String {
    match pass {
        Pass::Update | Pass::Evaluate | Pass::Train => update(rule, access, around),
        Pass::Prepare => prepare(rule, access, around),
        Pass::Measure => measure_tensors(rule, access, around),
        Pass::Lines => lines(rule, around, pass.entry_point()),
    }
}

/// One of the shaders that bring lines up to date: `measure_lines`, `move_lines` or `factor_rows`.
pub(crate) fn lines(rule: &dyn Rule, around: Around, entry_point: &str) -> String {
    let around = Around {
        // measure.wgsl binds the step's numbers for what gradients are scaled by, whatever it is.
        scale: match around.scale {
            Scale::None => Scale::Plain,
            scale => scale,
        },
        zero_grad: false,
        average: false,
    };
    let generated = [variant(rule, around), sums(rule)];
    let mut files = vec![
        rule.wgsl(),
        include_str!("../shaders/now.wgsl"),
        include_str!("../shaders/tensors/shape.wgsl"),
    ];
    match entry_point {
        "measure_lines" => {
            files.extend([
                include_str!("../shaders/lines/measure.wgsl"),
                include_str!("../shaders/tensors/bounded.wgsl"),
                include_str!("../shaders/place.wgsl"),
            ]);
            let access = Access::Ranges(Width::Scalars, GradPlace::OwnBuffer);
            // All but the parameters.
            files.extend(memory(access, around).into_iter().skip(1));
            if around.scale == Scale::ByTensor {
                files.push(include_str!("../shaders/window.wgsl"));
            }
        }
        "move_lines" => files.extend([
            include_str!("../shaders/lines/move.wgsl"),
            include_str!("../shaders/tensors/bounded.wgsl"),
        ]),
        _ => files.extend([
            include_str!("../shaders/lines/factor.wgsl"),
            include_str!("../shaders/tensors/bounded.wgsl"),
        ]),
    }
    files.extend(generated.iter().map(String::as_str));
    files.join("\n")
}

/// The shader that fills what matrices are then made of.
fn prepare(rule: &dyn Rule, access: Access, around: Around) -> String {
    let around = Around {
        zero_grad: false,
        average: false,
        ..around
    };
    let generated = generated(rule, around, Pass::Prepare);
    let mut files = vec![
        rule.wgsl(),
        include_str!("../shaders/prepare.wgsl"),
        include_str!("../shaders/tensors/shape.wgsl"),
        include_str!("../shaders/now.wgsl"),
        include_str!("../shaders/place.wgsl"),
        address(access),
    ];
    files.extend(memory(access, around));
    files.extend(generated.iter().map(String::as_str));
    files.join("\n")
}

/// What is generated for `pass`.
fn generated(rule: &dyn Rule, around: Around, pass: Pass) -> [String; 4] {
    [
        variant(rule, around),
        sums(rule),
        slots(rule, around, pass.reads(rule)),
        of_tensors(rule, around, pass),
    ]
}

/// How a pass finds its elements.
fn address(access: Access) -> &'static str {
    match access {
        Access::Arena => include_str!("../shaders/address/arena.wgsl"),
        Access::FoldedArena => include_str!("../shaders/address/folded_arena.wgsl"),
        Access::Ranges(..) => include_str!("../shaders/address/spans.wgsl"),
    }
}

/// The shader that adds up what `rule` measures.
fn measure_tensors(rule: &dyn Rule, access: Access, around: Around) -> String {
    let around = Around {
        zero_grad: false,
        average: false,
        ..around
    };
    let generated = generated(rule, around, Pass::Measure);
    let mut files = vec![
        rule.wgsl(),
        include_str!("../shaders/tensors/measure.wgsl"),
        include_str!("../shaders/tensors/shape.wgsl"),
        include_str!("../shaders/now.wgsl"),
        include_str!("../shaders/place.wgsl"),
    ];
    files.extend(memory(access, around));
    files.extend(generated.iter().map(String::as_str));
    files.join("\n")
}

/// The shader that lets `rule` conclude from sums, by workgroups of `lanes`.
pub(crate) fn conclude_tensors(rule: &dyn Rule, lanes: u32) -> String {
    let slots = rule.tensor_slots();
    let mut text = format!("const LANES = {lanes}u;\n\n");
    text += "fn tensor_at(row: u32) -> OfTensor {\n    return OfTensor(\n";
    for (slot, index) in slots.iter().zip(SHAPE_WORDS..) {
        let _ = match slot.used {
            true => writeln!(text, "        bitcast<f32>(tensors[row + {index}u]),"),
            false => writeln!(text, "        0.0,"),
        };
    }
    text += "    );\n}\n\nfn keep_tensor(row: u32, tensor: OfTensor) {\n";
    let used = slots.iter().zip(SHAPE_WORDS..);
    for (slot, index) in used.filter(|(slot, _)| slot.used) {
        let name = slot.name;
        let _ = writeln!(
            text,
            "    tensors[row + {index}u] = bitcast<u32>(tensor.{name});"
        );
    }
    text += "}\n";
    [
        rule.wgsl(),
        &variant(rule, Around::default()),
        include_str!("../shaders/tensors/conclude.wgsl"),
        include_str!("../shaders/tensors/bounded.wgsl"),
        include_str!("../shaders/tensors/shape.wgsl"),
        include_str!("../shaders/now.wgsl"),
        &sums(rule),
        &text,
    ]
    .join("\n")
}

/// Words of a tensor's row before its values.
pub(crate) const SHAPE_WORDS: usize = 8;

/// The types of what `rule` sums up.
fn sums(rule: &dyn Rule) -> String {
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

/// How a rule comes to what it keeps of tensors, and the call of its function for `pass`.
fn of_tensors(rule: &dyn Rule, around: Around, pass: Pass) -> String {
    let reads = pass.reads(rule);
    let slots = rule.tensor_slots();
    let is_read = |slot: &Slot| slot.used && reads.is_none_or(|names| names.contains(&slot.name));
    let looks = looks_at_tensors(rule, reads);
    let mut text = String::new();
    if looks || around.scale == Scale::ByTensor {
        text += include_str!("../shaders/window.wgsl");
        text += "\n";
    }
    if looks {
        text += include_str!("../shaders/tensors/lookup.wgsl");
        text += "\n";
    }
    if slots.is_empty() {
        text += "fn load_tensor(place: Place) -> u32 {\n    return 0u;\n}\n\n";
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
                    "    tensor.{name} = bitcast<f32>(tensors[row + {index}u]);"
                );
            }
        }
        text += "    return tensor;\n}\n\n";
    }
    let (name, result, call) = match pass {
        Pass::Update => ("update", " -> vec4<f32>", "return update"),
        Pass::Prepare => ("prepare", "", "prepare"),
        _ => return text,
    };
    let (ty, argument) = if slots.is_empty() {
        ("u32", "")
    } else {
        ("OfTensor", ", tensor")
    };
    let _ = writeln!(
        text,
        "fn {name}_at(\n    p: vec4<f32>,\n    g: vec4<f32>,\n    \
         s: ptr<function, State>,\n    tensor: {ty},\n){result} {{"
    );
    let mut step = "now";
    if rule.decoupled_weight_decay() == 0.0 {
        // In so many words, so that compilers leave out what it is a factor of.
        text += "    var undecayed = now;\n    undecayed.decay = 0.0;\n";
        step = "undecayed";
    }
    let _ = writeln!(text, "    {call}(p, g, s, hyper, {step}{argument});\n}}");
    text
}

/// Whether a stage that `reads` these slots, or all, looks at what is kept of tensors.
pub(crate) fn looks_at_tensors(rule: &dyn Rule, reads: Option<&[&str]>) -> bool {
    let is_read = |slot: &Slot| slot.used && reads.is_none_or(|names| names.contains(&slot.name));
    rule.tensor_slots().iter().any(is_read) || looks_at_lines(rule, reads)
}

/// Whether it looks at what is kept of rows and columns.
pub(crate) fn looks_at_lines(rule: &dyn Rule, reads: Option<&[&str]>) -> bool {
    let is_read = |name| reads.is_none_or(|names| names.contains(&name));
    let lines = rule.stages().lines;
    lines.is_some_and(|lines| is_read(lines.factor) || is_read(lines.column))
}

/// How parameters, gradients and state are stored.
fn memory(access: Access, around: Around) -> [&'static str; 5] {
    let params = match access.width() {
        Width::Quads => include_str!("../shaders/params/quads.wgsl"),
        Width::Scalars => include_str!("../shaders/params/scalars.wgsl"),
    };
    let grad_place = match access.grad_place() {
        GradPlace::OwnBuffer if around.zero_grad => {
            include_str!("../shaders/grads/in_own_buffer_zeroed.wgsl")
        }
        GradPlace::OwnBuffer => include_str!("../shaders/grads/in_own_buffer.wgsl"),
        GradPlace::SameBuffer => include_str!("../shaders/grads/in_same_buffer.wgsl"),
        GradPlace::InParams => include_str!("../shaders/grads/in_params.wgsl"),
    };
    let scale = match around.scale {
        Scale::None => include_str!("../shaders/scale/none.wgsl"),
        Scale::Plain => include_str!("../shaders/scale/plain.wgsl"),
        Scale::ByNorm => include_str!("../shaders/scale/by_norm.wgsl"),
        Scale::ByValue(_) => include_str!("../shaders/scale/by_value.wgsl"),
        Scale::ByTensor => include_str!("../shaders/scale/by_tensor.wgsl"),
    };
    [
        params,
        grads(access.width()),
        grad_place,
        scale,
        include_str!("../shaders/state/f32.wgsl"),
    ]
}

/// The complete update shader of `rule`.
pub(crate) fn update(rule: &dyn Rule, access: Access, around: Around) -> String {
    let [variant, sums, slots, of_tensors] = generated(rule, around, Pass::Update);
    // The rule comes first, so that a compiler's line numbers are those of its own file.
    let mut files = vec![
        rule.wgsl(),
        &variant,
        include_str!("../shaders/step.wgsl"),
        include_str!("../shaders/now.wgsl"),
        include_str!("../shaders/place.wgsl"),
        address(access),
    ];
    files.extend(memory(access, around));
    files.push(if around.average {
        include_str!("../shaders/average/moving.wgsl")
    } else {
        include_str!("../shaders/average/none.wgsl")
    });
    files.extend([&slots[..], &of_tensors]);
    if rule.stages().sum.is_some() {
        files.extend([&sums[..], include_str!("../shaders/tensors/shape.wgsl")]);
    }
    if around.average || rule.evaluates_elsewhere() {
        files.push(include_str!("../shaders/evaluation/entry_points.wgsl"));
        files.push(if around.average {
            include_str!("../shaders/evaluation/by_average.wgsl")
        } else {
            include_str!("../shaders/evaluation/by_rule.wgsl")
        });
    }
    files.join("\n")
}

/// The variant that the rule's fields choose.
fn variant(rule: &dyn Rule, around: Around) -> String {
    let mut text = String::from("// The variant.\n\n");
    for (name, value) in rule.flags() {
        // Writing to a String does not fail.
        let _ = writeln!(text, "const {name}: bool = {value};");
    }
    let _ = writeln!(text, "const ZERO_GRAD: bool = {};", around.zero_grad);
    if let Scale::ByValue(most) = around.scale {
        let _ = writeln!(text, "const CLIP_VALUE: f32 = {:e};", f64::from(most));
    }
    text
}

/// The lines that name a rule's slots: their bindings, and how `State` is loaded and stored; of those
/// slots alone, and without storing, that a stage `reads`.
fn slots(rule: &dyn Rule, around: Around, reads: Option<&[&str]>) -> String {
    let slots = rule.element_slots();
    let is_read = |slot: &Slot| reads.is_none_or(|names| names.contains(&slot.name));
    let used = || {
        let used = slots.iter().filter(|slot| slot.used);
        used.zip(FIRST_STATE_BINDING..)
            .filter(|(slot, _)| is_read(slot))
    };
    let mut text =
        String::from("// The rule's slots; those that the variant leaves unused read as zero.\n\n");
    for (slot, binding) in used() {
        let name = slot.name;
        let access = if slot.input || reads.is_some() {
            "read"
        } else {
            "read_write"
        };
        let _ = writeln!(
            text,
            "@group(0) @binding({binding}) var<storage, {access}> slot_{name}: array<StateQuad>;",
        );
    }
    if around.average {
        let in_use = slots.iter().filter(|slot| slot.used).count();
        let binding = FIRST_STATE_BINDING + in_use as u32;
        let _ = writeln!(
            text,
            "@group(0) @binding({binding}) var<storage, read_write> slot_{AVERAGE}: array<StateQuad>;",
        );
    }
    let lines = rule.stages().lines;
    let lines = lines.filter(|_| looks_at_lines(rule, reads));
    if lines.is_some() {
        text += "\n";
        text += include_str!("../shaders/lines/gather.wgsl");
    }
    text += "\nfn load_state(place: Place) -> State {\n    var state = State();\n";
    if let Some(lines) = lines {
        let _ = writeln!(
            text,
            "    let gathered = gather(place);\n    state.{} = gathered.factor;\n    \
             state.{} = gathered.column;",
            lines.factor, lines.column
        );
    }
    for (slot, _) in used() {
        let name = slot.name;
        let _ = writeln!(
            text,
            "    state.{name} = decode_state(slot_{name}[place.state / 4u]);"
        );
    }
    text += "    return state;\n}\n";
    text += "\nfn store_state(place: Place, state: State) {\n";
    for (slot, _) in used().filter(|(slot, _)| !slot.input && reads.is_none()) {
        let name = slot.name;
        let _ = writeln!(
            text,
            "    slot_{name}[place.state / 4u] = encode_state(state.{name});"
        );
    }
    text += "}\n";
    text
}

/// The members of a struct in `text` with their offsets, and its size: for Rust's twin of it.
#[cfg(test)]
pub(crate) fn layout_of(text: &str, name: &str) -> (Vec<(String, usize)>, usize) {
    let module = naga::front::wgsl::parse_str(text).unwrap();
    let named = |(_, ty): &(_, &naga::Type)| ty.name.as_deref() == Some(name);
    let (_, found) = module.types.iter().find(named).unwrap();
    let naga::TypeInner::Struct { members, span } = &found.inner else {
        panic!("{name} is no struct");
    };
    let offset = |member: &naga::StructMember| {
        let name = member.name.clone().unwrap();
        (name, member.offset as usize)
    };
    (members.iter().map(offset).collect(), *span as usize)
}

/// Asserts that a Rust struct has the members of one in WGSL, at the same places.
#[cfg(test)]
macro_rules! assert_laid_out_as {
    ($Rust:ident, $text:expr, $wgsl:expr, $($field:ident)*) => {
        let (members, _) = $crate::shader::layout_of($text, $wgsl);
        let of_rust = [$((stringify!($field).to_owned(), std::mem::offset_of!($Rust, $field))),*];
        assert_eq!(members, of_rust, $wgsl);
    };
}
#[cfg(test)]
pub(crate) use assert_laid_out_as;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cpu::Step, progress::Progress, rules};

    fn validated(text: &str) -> naga::Module {
        let module = naga::front::wgsl::parse_str(text)
            .unwrap_or_else(|error| panic!("{}\n{text}", error.emit_to_string(text)));
        // No capabilities: nothing beyond WebGPU's core.
        let capabilities = naga::valid::Capabilities::empty();
        let mut validator =
            naga::valid::Validator::new(naga::valid::ValidationFlags::all(), capabilities);
        validator
            .validate(&module)
            .unwrap_or_else(|error| panic!("{}\n{text}", error.emit_to_string(text)));
        module
    }

    fn members<'m>(module: &'m naga::Module, name: &str) -> Vec<(&'m str, u32, u32)> {
        let named = |ty: &&naga::Type| ty.name.as_deref() == Some(name);
        let (_, ty) = module.types.iter().find(|(_, ty)| named(ty)).unwrap();
        let naga::TypeInner::Struct { members, .. } = &ty.inner else {
            panic!("{name} is no struct");
        };
        let size =
            |member: &naga::StructMember| module.types[member.ty].inner.size(module.to_ctx());
        members
            .iter()
            .map(|member| (member.name.as_deref().unwrap(), member.offset, size(member)))
            .collect()
    }

    /// Every rule with its flags as they come, and with every flag turned and every choice made.
    fn variants() -> Vec<Box<dyn Rule>> {
        let mut variants = Vec::new();
        for name in rules::names() {
            variants.push(rules::by_name(name).unwrap());
            let all: Vec<_> = rules::by_name(name)
                .unwrap()
                .hyperparameters()
                .iter()
                .map(|field| (field.name, field.value(), field.allowed()))
                .collect();
            for (field, value, allowed) in all {
                let others: Vec<String> = match value.as_str() {
                    "true" => vec!["false".into()],
                    "false" => vec!["true".into()],
                    _ if allowed.starts_with("one of: ") => allowed["one of: ".len()..]
                        .split(", ")
                        .map(str::to_owned)
                        .collect(),
                    _ => vec!["0.5".into()],
                };
                for other in others {
                    let mut rule = rules::by_name(name).unwrap();
                    // Some numbers may not be one half.
                    if rule.set(field, &other).is_ok() {
                        variants.push(rule);
                    }
                }
            }
        }
        assert!(variants.len() > 60, "{}", variants.len());
        variants
    }

    #[test]
    fn every_rule_compiles_in_every_variant_and_form_of_access() {
        let mut seen = std::collections::HashSet::new();
        for rule in variants() {
            for access in Access::ALL {
                for pass in passes(&*rule) {
                    let text = of_rule(&*rule, access, Around::default(), pass);
                    if seen.insert(text.clone()) {
                        validated(&text);
                    }
                }
            }
            for entry_point in LINES.iter().filter(|_| rule.stages().lines.is_some()) {
                validated(&lines(&*rule, Around::default(), entry_point));
            }
            if rule.stages().sum.is_some() {
                for lanes in [64, 256] {
                    validated(&conclude_tensors(&*rule, lanes));
                }
            }
        }
        for skips in [false, true] {
            validated(&begin_step(skips));
        }
        for width in [Width::Quads, Width::Scalars] {
            validated(&measure(width));
            validated(&zero_grads(width));
        }
        validated(&summarize());
        validated(&clip_tensors());
        validated(&tally());
    }

    const LINES: [&str; 3] = ["measure_lines", "move_lines", "factor_rows"];

    /// Those with a text of their own.
    fn passes(rule: &dyn Rule) -> Vec<Pass> {
        let stages = rule.stages();
        let measure = stages.sum.map(|_| Pass::Measure);
        let lines = stages.lines.map(|_| Pass::Lines);
        let prepare = stages.matrix.map(|_| Pass::Prepare);
        let passes = [Pass::Update].into_iter().chain(measure);
        passes.chain(lines).chain(prepare).collect()
    }

    /// What can be around an update, each thing by itself, but that gradients which are zeroed are
    /// often scaled too, and all together; nothing first.
    fn arounds() -> Vec<(&'static str, Around)> {
        let nothing = Around::default();
        let zero_grad = true;
        let average = true;
        let scale = |scale| Around { scale, ..nothing };
        vec![
            ("nothing", nothing),
            ("by_norm", scale(Scale::ByNorm)),
            ("by_value", scale(Scale::ByValue(0.5))),
            ("by_tensor", scale(Scale::ByTensor)),
            (
                "zeroing",
                Around {
                    zero_grad,
                    ..scale(Scale::Plain)
                },
            ),
            ("averaging", Around { average, ..nothing }),
            (
                "all",
                Around {
                    scale: Scale::ByTensor,
                    zero_grad,
                    average,
                },
            ),
        ]
    }

    #[test]
    fn gradients_are_scaled_wherever_a_step_can_ask_for_it() {
        let plain = Options::default();
        let rule = |maximize| rules::AdamW {
            maximize,
            ..Default::default()
        };
        let scale = |options: &Options, maximize| Around::of(options, &rule(maximize)).scale;
        assert_eq!(scale(&plain, false), Scale::None);
        assert_eq!(scale(&plain, true), Scale::Plain);
        for options in [
            Options {
                accumulate: 2,
                ..plain.clone()
            },
            Options {
                loss_scale: Some(crate::LossScale::fixed(8.0)),
                ..plain.clone()
            },
            // Looks at the gradients, and divides by a loss scale that the caller may have written.
            Options {
                skip_non_finite: true,
                ..plain.clone()
            },
        ] {
            assert_eq!(scale(&options, false), Scale::Plain, "{options:?}");
        }
    }

    #[test]
    fn every_rule_compiles_with_whatever_is_around_it() {
        for name in rules::names() {
            let rule = rules::by_name(name).unwrap();
            for (_, around) in arounds() {
                for access in Access::ALL {
                    for pass in passes(&*rule) {
                        validated(&of_rule(&*rule, access, around, pass));
                    }
                }
            }
        }
        for most in [f32::MIN_POSITIVE, 1.0, 0.1, f32::MAX] {
            let around = Around {
                scale: Scale::ByValue(most),
                ..Around::default()
            };
            let text = update(&rules::AdamW::default(), Access::Arena, around);
            validated(&text);
            // Exactly, lest a compiler find the largest f32 too large for one.
            assert!(
                text.contains(&format!("= {:e};", f64::from(most))),
                "{most}"
            );
        }
    }

    /// Every complete shader of the default variants that is kept: all rules over arenas, one rule
    /// in all forms of access, and what begins a step.
    fn golden() -> Vec<(String, String)> {
        let mut files = vec![
            ("begin_step".to_owned(), begin_step(false)),
            ("begin_step-skipping".to_owned(), begin_step(true)),
            ("measure".to_owned(), measure(Width::Quads)),
            ("summarize".to_owned(), summarize()),
            ("clip_tensors".to_owned(), clip_tensors()),
            ("zero_grads".to_owned(), zero_grads(Width::Quads)),
            ("tally".to_owned(), tally()),
        ];
        // "all" shows what these two add.
        let shown = |name| !["nothing", "by_tensor", "averaging"].contains(&name);
        for (name, around) in arounds().into_iter().filter(|(name, _)| shown(name)) {
            let text = update(&rules::AdamW::default(), Access::Arena, around);
            files.push((format!("adamw-{name}"), text));
        }
        for name in rules::names() {
            let rule = rules::by_name(name).unwrap();
            files.push((name.to_owned(), update_shader(&*rule)));
            // Of what comes before an update, one of each kind: the rules' parts of it are in theirs.
            let access = Access::Ranges(Width::Quads, GradPlace::OwnBuffer);
            if name == "lamb" {
                let measure = of_rule(&*rule, access, Around::default(), Pass::Measure);
                files.push((format!("{name}-measure"), measure));
                files.push((format!("{name}-conclude"), conclude_tensors(&*rule, 64)));
            }
            if name == "muon" {
                let text = of_rule(&*rule, Access::Arena, Around::default(), Pass::Prepare);
                files.push((format!("{name}-prepare"), text));
            }
            if rule.stages().lines.is_some() {
                for entry_point in LINES {
                    let text = lines(&*rule, Around::default(), entry_point);
                    files.push((format!("{name}-{entry_point}"), text));
                }
            }
        }
        for access in Access::ALL {
            let name = match access {
                Access::Arena => continue,
                Access::FoldedArena => "adamw-folded".to_owned(),
                Access::Ranges(width, place) => format!("adamw-{width:?}-{place:?}").to_lowercase(),
            };
            files.push((
                name,
                update(&rules::AdamW::default(), access, Around::default()),
            ));
        }
        files
    }

    /// `UPDATE_GOLDEN=1 cargo test --lib golden` writes the files anew.
    #[test]
    fn every_shader_is_its_golden_file() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        let files = golden();
        for (name, text) in &files {
            let path = folder.join(format!("{name}.wgsl"));
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                std::fs::write(&path, text).unwrap();
            }
            let kept = std::fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(
                kept == *text,
                "{} differs; if that is meant: UPDATE_GOLDEN=1 cargo test --lib golden",
                path.display()
            );
        }
        assert_eq!(folder.read_dir().unwrap().count(), files.len());
    }

    #[test]
    fn hyper_is_packed_f32_one_per_constant() {
        for rule in variants() {
            let module = validated(&update_shader(&*rule));
            let members = members(&module, "Hyper");
            assert_eq!(members.len(), rule.constants().len(), "{}", rule.name());
            for (index, (_, offset, size)) in members.iter().enumerate() {
                assert_eq!((*offset, *size), (4 * index as u32, 4), "{}", rule.name());
            }
        }
    }

    #[test]
    fn state_has_one_vector_per_slot_by_its_name() {
        for rule in variants() {
            let module = validated(&update_shader(&*rule));
            let members = members(&module, "State");
            let names: Vec<_> = members.iter().map(|(name, ..)| *name).collect();
            assert_eq!(names, rule.state_members(), "{}", rule.name());
            assert!(members.iter().all(|(_, _, size)| *size == 16));
        }
    }

    #[test]
    fn of_tensor_has_one_f32_per_slot_of_tensors_by_its_name() {
        for rule in variants() {
            let slots = rule.tensor_slots();
            if slots.is_empty() {
                continue;
            }
            let module = validated(&update_shader(&*rule));
            let members = members(&module, "OfTensor");
            let names: Vec<_> = members.iter().map(|(name, ..)| *name).collect();
            let expected: Vec<_> = slots.iter().map(|slot| slot.name).collect();
            assert_eq!(names, expected, "{}", rule.name());
            assert!(members.iter().all(|(_, _, size)| *size == 4));
        }
    }

    #[test]
    fn step_lies_alike_in_both_shaders_and_has_the_members_of_its_twin() {
        let begin = validated(&begin_step(false));
        assert_eq!(
            members(&begin, "Step"),
            members(&validated(&begin_step(true)), "Step")
        );
        let update = validated(&update_shader(&rules::AdamW::default()));
        let step = members(&update, "Step");
        assert_eq!(step, members(&begin, "Step"));
        assert_eq!(
            step,
            [
                ("lr", 0, 4),
                ("decay", 4, 4),
                ("grad_scale", 8, 4),
                ("t", 12, 4),
                ("at", 16, 16),
                ("refreshed", 32, 4),
                ("average_weight", 36, 4),
                ("grad_unit", 40, 4),
            ]
        );
        // The last two are the crate's own business, which a rule does not see.
        let Step::<f32> {
            lr: _,
            decay: _,
            grad_scale: _,
            t: _,
            at: _,
            refreshed: _,
        } = Progress::new(&rules::AdamW::default())
            .advance(&rules::AdamW::default())
            .rounded();
    }

    #[test]
    fn no_variant_needs_more_than_webgpus_eight_storage_bindings() {
        for rule in variants() {
            for access in Access::ALL {
                let module = validated(&update(&*rule, access, Around::default()));
                let tensors = looks_at_tensors(&*rule, Pass::Update.reads(&*rule));
                let storage = |(_, variable): &(_, &naga::GlobalVariable)| {
                    matches!(variable.space, naga::AddressSpace::Storage { .. })
                };
                let count = module.global_variables.iter().filter(storage).count();
                let reads = Pass::Update.reads(&*rule);
                let is_read = |name| reads.is_none_or(|names| names.contains(&name));
                let slots = rule.element_slots().into_iter();
                let used = slots.filter(|slot| slot.used && is_read(slot.name)).count();
                let around = match access {
                    Access::Arena | Access::FoldedArena => 2,
                    Access::Ranges(_, GradPlace::InParams) => 2,
                    Access::Ranges(..) => 3,
                };
                let lines = rule.stages().lines.is_some();
                let used = used + usize::from(tensors) + usize::from(lines);
                assert_eq!(count, around + used, "{} {access:?}", rule.name());
                assert!(count <= 8);
                for pass in passes(&*rule) {
                    let text = of_rule(&*rule, access, Around::default(), pass);
                    let module = validated(&text);
                    let count = module.global_variables.iter().filter(storage).count();
                    assert!(count <= 8, "{} {pass:?} {access:?}: {count}", rule.name());
                }
            }
        }
    }
}
