//! Complete shaders. They are plain concatenations of the files in `shaders/`.

mod formats;
mod frame;
mod generated;
mod names;
mod pass;

pub(crate) use formats::{FIRST_SLOT_NUMBER, PARAMS_NUMBER, rounds, stores_blocks};
use formats::{formats, of_grads};
pub(crate) use frame::{Frame, Scale};
pub(crate) use generated::{SHAPE_WORDS, looks_at_lines, looks_at_tensors};
use generated::{conclusion, generated, measuring, structs, sums, variant, window};
pub(crate) use pass::{Access, FIRST_STATE_BINDING, Pass};

use crate::{
    Formats, Options, Rule, Stages,
    format::{Encoding, Storage},
    plan::{GradPlace, Width},
};

/// The shader that turns what the host recorded into the numbers of a step. With `skips`, it also
/// inspects the gradients.
pub(crate) fn begin_step(skips: bool) -> String {
    let mut files = vec![
        include_str!("../../shaders/begin_step.wgsl"),
        include_str!("../../shaders/begin_step/entry_points.wgsl"),
        include_str!("../../shaders/now.wgsl"),
        include_str!("../../shaders/stats.wgsl"),
    ];
    if skips {
        files.extend([
            include_str!("../../shaders/verdict/by_gradients.wgsl"),
            include_str!("../../shaders/grad_stats/guard.wgsl"),
            include_str!("../../shaders/grad_stats/run.wgsl"),
        ]);
    } else {
        files.push(include_str!("../../shaders/verdict/none.wgsl"));
    }
    files.join("\n")
}

/// The shader that measures gradients. Its entry points are `measure_small` and `measure_large`, and
/// with `_extreme` those of the second pass.
pub(crate) fn measure(width: Width, encoding: Encoding) -> String {
    [
        include_str!("../../shaders/grad_stats/measure.wgsl"),
        include_str!("../../shaders/grad_stats/run.wgsl"),
        include_str!("../../shaders/place.wgsl"),
        grads(width, encoding),
        include_str!("../../shaders/grads/in_own_buffer.wgsl"),
        &of_grads(width, encoding),
        &measuring(),
    ]
    .join("\n")
}

/// The shader that adds up what was measured. Its entry points are `summarize_small` and
/// `summarize_large`, and with `_extreme` those of the second pass.
pub(crate) fn summarize() -> String {
    [
        include_str!("../../shaders/grad_stats/summarize.wgsl"),
        include_str!("../../shaders/grad_stats/run.wgsl"),
    ]
    .join("\n")
}

/// The shader that clips tensors. Its entry points are `clip_small` and `clip_large`.
pub(crate) fn clip_tensors() -> String {
    [
        include_str!("../../shaders/grad_stats/clip_tensors.wgsl"),
        include_str!("../../shaders/grad_stats/guard.wgsl"),
        include_str!("../../shaders/grad_stats/run.wgsl"),
        include_str!("../../shaders/stats.wgsl"),
    ]
    .join("\n")
}

/// The shader `zero`, which zeroes gradients.
pub(crate) fn zero_grads(width: Width, encoding: Encoding) -> String {
    [
        include_str!("../../shaders/grad_stats/zero.wgsl"),
        include_str!("../../shaders/place.wgsl"),
        grads(width, encoding),
        include_str!("../../shaders/grads/in_own_buffer_zeroed.wgsl"),
        &of_grads(width, encoding),
    ]
    .join("\n")
}

/// How gradients are loaded and zeroed.
fn grads(width: Width, encoding: Encoding) -> &'static str {
    match width {
        Width::Quads => include_str!("../../shaders/grads/quads.wgsl"),
        Width::Scalars if encoding.is_half() => include_str!("../../shaders/grads/halves.wgsl"),
        Width::Scalars => include_str!("../../shaders/grads/scalars.wgsl"),
    }
}

/// The shader `tally`, which counts how systems of equations went.
pub(crate) fn tally() -> String {
    [
        include_str!("../../shaders/matrix/tally.wgsl"),
        include_str!("../../shaders/stats.wgsl"),
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
    update_shader_in(rule, Formats::default())
}

/// [`update_shader`] over parameters, gradients and state in these formats.
pub fn update_shader_in(rule: &dyn Rule, formats: Formats) -> String {
    let frame = Frame::of(&Options::default(), rule, formats.into());
    update(rule, Access::Arena, frame)
}

/// The complete shader of `rule` for `pass`.
pub(crate) fn of_rule(rule: &dyn Rule, access: Access, frame: Frame, pass: Pass) -> String {
    match pass {
        Pass::Update | Pass::Evaluate | Pass::Train | Pass::Copy => update(rule, access, frame),
        Pass::Step => step_at_once(rule, access, frame),
        Pass::Prepare => prepare(rule, access, frame),
        Pass::Measure => measure_tensors(rule, access, frame),
        Pass::Lines => measure_lines(rule, frame, access.width()),
    }
}

/// What every shader about lines consists of.
fn lines(rule: &dyn Rule, frame: Frame, files: &[&str]) -> String {
    let generated = [structs(rule), variant(rule, frame), sums(rule)];
    let mut all = vec![rule.wgsl()];
    all.extend(files);
    all.extend([
        include_str!("../../shaders/now.wgsl"),
        include_str!("../../shaders/ema.wgsl"),
        include_str!("../../shaders/bound.wgsl"),
        include_str!("../../shaders/tensors/bounded.wgsl"),
        include_str!("../../shaders/tensors/shape.wgsl"),
    ]);
    all.extend(generated.iter().map(String::as_str));
    all.join("\n")
}

/// The shader `measure_lines`, which adds up along rows and columns. It reads gradients alone, in
/// quads or at any element.
pub(crate) fn measure_lines(rule: &dyn Rule, frame: Frame, width: Width) -> String {
    let frame = Frame {
        // measure.wgsl always binds `Step`, so gradients can always be scaled by it.
        scale: match frame.scale {
            Scale::None => Scale::Plain,
            scale => scale,
        },
        zero_grad: false,
        average: false,
        ..frame
    };
    let mut files = vec![
        include_str!("../../shaders/lines/measure.wgsl"),
        include_str!("../../shaders/lines/line.wgsl"),
        include_str!("../../shaders/place.wgsl"),
    ];
    let access = Access::Ranges(width, GradPlace::OwnBuffer);
    // All files but the first, which is about parameters.
    files.extend(memory(access, frame).into_iter().skip(1));
    let of_grads = of_grads(width, frame.storage.grads);
    if !of_grads.is_empty() {
        files.push(&of_grads);
    }
    let window = window();
    if frame.scale == Scale::ByTensor {
        files.push(&window);
    }
    lines(rule, frame, &files)
}

/// The shader `move_lines`, which updates the state of lines from their sums.
pub(crate) fn move_lines(rule: &dyn Rule, frame: Frame) -> String {
    let file = include_str!("../../shaders/lines/move.wgsl");
    lines(rule, frame, &[file])
}

/// The shaders `factor_small` and `factor_large`, which compute the factors of rows.
pub(crate) fn factor_lines(rule: &dyn Rule, frame: Frame) -> String {
    let file = include_str!("../../shaders/lines/factor.wgsl");
    lines(rule, frame, &[file])
}

/// The shader `prepare`, which fills matrices.
fn prepare(rule: &dyn Rule, access: Access, frame: Frame) -> String {
    let frame = Frame {
        zero_grad: false,
        average: false,
        ..frame
    };
    let generated = generated(rule, access, frame, Pass::Prepare);
    let formats = formats(rule, &frame, access.width(), Pass::Prepare);
    let mut files = vec![
        rule.wgsl(),
        match stores_blocks(rule, &frame, Pass::Prepare) {
            false => include_str!("../../shaders/prepare.wgsl"),
            true => include_str!("../../shaders/prepare_in_blocks.wgsl"),
        },
        include_str!("../../shaders/tensors/shape.wgsl"),
        include_str!("../../shaders/now.wgsl"),
        include_str!("../../shaders/ema.wgsl"),
        include_str!("../../shaders/bound.wgsl"),
        include_str!("../../shaders/place.wgsl"),
        address(access),
    ];
    files.extend(memory(access, frame));
    files.push(&formats);
    files.extend(generated.iter().map(String::as_str));
    files.join("\n")
}

/// How a pass finds its elements.
fn address(access: Access) -> &'static str {
    match access {
        Access::Arena => include_str!("../../shaders/address/arena.wgsl"),
        Access::FoldedArena => include_str!("../../shaders/address/folded_arena.wgsl"),
        Access::Range(..) => include_str!("../../shaders/address/span.wgsl"),
        Access::Ranges(..) => include_str!("../../shaders/address/spans.wgsl"),
        Access::RangesAndCopies(..) => include_str!("../../shaders/address/spans_and_copies.wgsl"),
        Access::Tiles(_) => include_str!("../../shaders/lines/tile.wgsl"),
    }
}

/// Where an element lies in each binding.
fn place(access: Access) -> &'static str {
    match access {
        Access::RangesAndCopies(..) => include_str!("../../shaders/place_and_copy.wgsl"),
        _ => include_str!("../../shaders/place.wgsl"),
    }
}

/// How a copy of the parameters is stored.
fn copy(access: Access) -> &'static str {
    match access {
        Access::RangesAndCopies(Width::Quads, _) => {
            include_str!("../../shaders/copy/quads_in_ranges.wgsl")
        }
        Access::RangesAndCopies(Width::Scalars, _) => {
            include_str!("../../shaders/copy/halves_in_ranges.wgsl")
        }
        _ => include_str!("../../shaders/copy/halves.wgsl"),
    }
}

/// The shader that adds up what `rule` measures. Its entry points are `measure_small` and
/// `measure_large`, or by tiles `measure_matrices` and `measure_vectors`.
fn measure_tensors(rule: &dyn Rule, access: Access, frame: Frame) -> String {
    let frame = Frame {
        zero_grad: false,
        average: false,
        ..frame
    };
    let generated = generated(rule, access, frame, Pass::Measure);
    let formats = formats(rule, &frame, access.width(), Pass::Measure);
    let measuring = measuring();
    let mut files = vec![
        rule.wgsl(),
        match access.is_in_tiles() {
            false => include_str!("../../shaders/tensors/measure.wgsl"),
            true => include_str!("../../shaders/tensors/measure_in_tiles.wgsl"),
        },
        include_str!("../../shaders/tensors/shape.wgsl"),
        include_str!("../../shaders/now.wgsl"),
        include_str!("../../shaders/ema.wgsl"),
        include_str!("../../shaders/bound.wgsl"),
        include_str!("../../shaders/place.wgsl"),
    ];
    files.extend(memory(access, frame));
    files.push(&formats);
    match access.is_in_tiles() {
        false => files.push(&measuring),
        true => files.extend([
            address(access),
            include_str!("../../shaders/lines/line.wgsl"),
            include_str!("../../shaders/tensors/bounded.wgsl"),
        ]),
    }
    files.extend(generated.iter().map(String::as_str));
    files.join("\n")
}

/// The shader in which `rule` concludes from its sums. Its entry points are `conclude_small` and
/// `conclude_large`.
pub(crate) fn conclude_tensors(rule: &dyn Rule) -> String {
    [
        rule.wgsl(),
        &structs(rule),
        &variant(rule, Frame::default()),
        include_str!("../../shaders/tensors/conclude.wgsl"),
        include_str!("../../shaders/tensors/bounded.wgsl"),
        include_str!("../../shaders/tensors/shape.wgsl"),
        include_str!("../../shaders/now.wgsl"),
        include_str!("../../shaders/ema.wgsl"),
        include_str!("../../shaders/bound.wgsl"),
        &sums(rule),
        &conclusion(rule),
    ]
    .join("\n")
}

/// How parameters and gradients are loaded and stored.
fn memory(access: Access, frame: Frame) -> [&'static str; 4] {
    let Storage { params, grads, .. } = frame.storage;
    let params = match access.width() {
        Width::Quads => include_str!("../../shaders/params/quads.wgsl"),
        Width::Scalars if params.is_half() => include_str!("../../shaders/params/halves.wgsl"),
        Width::Scalars => include_str!("../../shaders/params/scalars.wgsl"),
    };
    let grad_place = match access.grad_place() {
        GradPlace::OwnBuffer if frame.zero_grad => {
            include_str!("../../shaders/grads/in_own_buffer_zeroed.wgsl")
        }
        GradPlace::OwnBuffer => include_str!("../../shaders/grads/in_own_buffer.wgsl"),
        GradPlace::SameBuffer => include_str!("../../shaders/grads/in_same_buffer.wgsl"),
        GradPlace::InParams => include_str!("../../shaders/grads/in_params.wgsl"),
    };
    let scale = match frame.scale {
        Scale::None => include_str!("../../shaders/scale/none.wgsl"),
        Scale::Plain => include_str!("../../shaders/scale/plain.wgsl"),
        Scale::ByNorm => include_str!("../../shaders/scale/by_norm.wgsl"),
        Scale::ByValue(_) => include_str!("../../shaders/scale/by_value.wgsl"),
        Scale::ByTensor => include_str!("../../shaders/scale/by_tensor.wgsl"),
    };
    [
        params,
        self::grads(access.width(), grads),
        grad_place,
        scale,
    ]
}

/// What surrounds a rule's maths in an update.
fn around(access: Access, frame: Frame, formats: &str) -> Vec<&str> {
    let mut files = vec![
        include_str!("../../shaders/now.wgsl"),
        include_str!("../../shaders/ema.wgsl"),
        include_str!("../../shaders/bound.wgsl"),
        place(access),
        address(access),
    ];
    files.extend(memory(access, frame));
    files.push(formats);
    files.push(if frame.average {
        include_str!("../../shaders/average/moving.wgsl")
    } else {
        include_str!("../../shaders/average/none.wgsl")
    });
    match frame.storage.copy().and_then(Encoding::copy) {
        Some(nearest) => {
            files.push(copy(access));
            if !access.is_in_tiles() {
                files.push(include_str!("../../shaders/copy/entry_point.wgsl"));
            }
            files.push(nearest);
        }
        None => files.push(include_str!("../../shaders/copy/none.wgsl")),
    }
    files
}

/// What only shaders by tiles have.
const IN_TILES: [&str; 4] = [
    include_str!("../../shaders/step_in_tiles.wgsl"),
    include_str!("../../shaders/updated.wgsl"),
    include_str!("../../shaders/lines/tile.wgsl"),
    include_str!("../../shaders/tensors/measure_in_tiles.wgsl"),
];

/// Whether `rule` can be in the shaders by tiles. A rule from outside the crate may have names for itself that
/// are taken there. This reads all of their text.
pub(crate) fn fits_tiles(rule: &dyn Rule) -> bool {
    rule.stages().lines.is_some() && !names::clash(rule.wgsl(), &IN_TILES)
}

/// Whether `pass` of a rule that [fits](fits_tiles) goes by tiles where matrices have them. A block of state
/// may reach from one row to the next, so what stores blocks does not.
pub(crate) fn goes_by_tiles(rule: &dyn Rule, frame: &Frame, pass: Pass) -> bool {
    matches!(pass, Pass::Update | Pass::Measure)
        && looks_at_lines(rule, pass.reads(rule))
        && !stores_blocks(rule, frame, pass)
}

/// What only the shader of a step at once has.
const AT_ONCE: [&str; 5] = [
    include_str!("../../shaders/step_at_once.wgsl"),
    include_str!("../../shaders/updated.wgsl"),
    include_str!("../../shaders/begin_step.wgsl"),
    include_str!("../../shaders/stats.wgsl"),
    include_str!("../../shaders/verdict/none.wgsl"),
];

/// Whether `rule` can be in the shader of a step at once. A rule from outside the crate may have names for itself
/// that are taken there.
pub(crate) fn goes_at_once(rule: &dyn Rule) -> bool {
    rule.stages() == Stages::default() && !names::clash(rule.wgsl(), &AT_ONCE)
}

/// The shader of a step that is one workgroup, whose rule has no [stages](crate::Stages).
fn step_at_once(rule: &dyn Rule, access: Access, frame: Frame) -> String {
    let [structs, variant, _, slots, of_tensors] = generated(rule, access, frame, Pass::Step);
    let formats = formats(rule, &frame, access.width(), Pass::Step);
    let mut files = vec![rule.wgsl(), &structs, &variant];
    files.extend(AT_ONCE);
    files.push(include_str!("../../shaders/quad.wgsl"));
    files.extend(around(access, frame, &formats));
    files.extend([&slots[..], &of_tensors]);
    files.join("\n")
}

/// The complete update shader of `rule`.
pub(crate) fn update(rule: &dyn Rule, access: Access, frame: Frame) -> String {
    let [structs, variant, sums, slots, of_tensors] = generated(rule, access, frame, Pass::Update);
    let formats = formats(rule, &frame, access.width(), Pass::Update);
    let in_tiles = access.is_in_tiles();
    let updated = include_str!("../../shaders/updated.wgsl");
    let step = match (in_tiles, stores_blocks(rule, &frame, Pass::Update)) {
        (true, _) => &[include_str!("../../shaders/step_in_tiles.wgsl"), updated][..],
        (false, true) => &[include_str!("../../shaders/step_in_blocks.wgsl"), updated],
        (false, false) => &[include_str!("../../shaders/step.wgsl")],
    };
    // The rule's text comes first, so that a compiler's line numbers are those of the rule's own
    // file.
    let mut files = vec![rule.wgsl(), &structs, &variant];
    files.extend(step);
    files.push(include_str!("../../shaders/quad.wgsl"));
    files.extend(around(access, frame, &formats));
    files.extend([&slots[..], &of_tensors]);
    if rule.stages().sum.is_some() {
        files.extend([&sums[..], include_str!("../../shaders/tensors/shape.wgsl")]);
    }
    // What is no step does not go by tiles.
    if !in_tiles && (frame.average || rule.evaluates_elsewhere()) {
        files.push(include_str!("../../shaders/evaluation/entry_points.wgsl"));
        files.push(match (frame.average, frame.storage.params.rounds()) {
            (false, _) => include_str!("../../shaders/evaluation/by_rule.wgsl"),
            (true, false) => include_str!("../../shaders/evaluation/by_average.wgsl"),
            (true, true) => include_str!("../../shaders/evaluation/by_rounded_average.wgsl"),
        });
    }
    files.join("\n")
}

/// The members of a struct in `text` with their offsets, and its size. Tests compare them with
/// Rust.
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

/// Asserts that a Rust struct has the same members as one in WGSL, at the same offsets.
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
mod tests;
