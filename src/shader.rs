//! Complete shaders: plain concatenations of the files in `shaders/`.

use std::fmt::Write;

use crate::{
    Clip, Options, Rule,
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
}

impl Pass {
    pub fn entry_point(self) -> &'static str {
        match self {
            Self::Update => "main",
            Self::Evaluate => "evaluate",
            Self::Train => "train",
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
    #[default]
    Plain,
    ByNorm,
    ByValue(f32),
    ByTensor,
}

impl Around {
    pub fn of(options: &Options) -> Self {
        Self {
            scale: match options.clip {
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

/// The complete, standalone update shader of `rule` over arenas, to read or to compile elsewhere.
///
/// ```
/// let text = wgpu_optim::update_shader(&wgpu_optim::rules::AdamW::default());
/// assert!(text.contains("fn update(") && text.contains("@compute"));
/// ```
pub fn update_shader(rule: &dyn Rule) -> String {
    update(rule, Access::Arena, Around::default())
}

/// The complete update shader of `rule`.
pub(crate) fn update(rule: &dyn Rule, access: Access, around: Around) -> String {
    let address = match access {
        Access::Arena => include_str!("../shaders/address/arena.wgsl"),
        Access::FoldedArena => include_str!("../shaders/address/folded_arena.wgsl"),
        Access::Ranges(..) => include_str!("../shaders/address/spans.wgsl"),
    };
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
        Scale::Plain => include_str!("../shaders/scale/plain.wgsl"),
        Scale::ByNorm => include_str!("../shaders/scale/by_norm.wgsl"),
        Scale::ByValue(_) => include_str!("../shaders/scale/by_value.wgsl"),
        Scale::ByTensor => include_str!("../shaders/scale/by_tensor.wgsl"),
    };
    let variant = variant(rule, around);
    let slots = slots(rule, around);
    // The rule comes first, so that a compiler's line numbers are those of its own file.
    let mut files = vec![
        rule.wgsl(),
        &variant,
        include_str!("../shaders/step.wgsl"),
        include_str!("../shaders/now.wgsl"),
        include_str!("../shaders/place.wgsl"),
        address,
        params,
        grads(access.width()),
        grad_place,
        scale,
        if around.average {
            include_str!("../shaders/average/moving.wgsl")
        } else {
            include_str!("../shaders/average/none.wgsl")
        },
        include_str!("../shaders/state/f32.wgsl"),
        &slots,
    ];
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

/// The lines that name a rule's slots: their bindings, and how `State` is loaded and stored.
fn slots(rule: &dyn Rule, around: Around) -> String {
    let slots = rule.element_slots();
    let used = || {
        slots
            .iter()
            .filter(|slot| slot.used)
            .zip(FIRST_STATE_BINDING..)
    };
    let mut text =
        String::from("// The rule's slots; those that the variant leaves unused read as zero.\n\n");
    for (slot, binding) in used() {
        let name = slot.name;
        let access = if slot.input { "read" } else { "read_write" };
        let _ = writeln!(
            text,
            "@group(0) @binding({binding}) var<storage, {access}> slot_{name}: array<StateQuad>;",
        );
    }
    if around.average {
        let binding = FIRST_STATE_BINDING + used().count() as u32;
        let _ = writeln!(
            text,
            "@group(0) @binding({binding}) var<storage, read_write> slot_{AVERAGE}: array<StateQuad>;",
        );
    }
    text += "\nfn load_state(place: Place) -> State {\n    var state = State();\n";
    for (slot, _) in used() {
        let name = slot.name;
        let _ = writeln!(
            text,
            "    state.{name} = decode_state(slot_{name}[place.state / 4u]);"
        );
    }
    text += "    return state;\n}\n\nfn store_state(place: Place, state: State) {\n";
    for (slot, _) in used().filter(|(slot, _)| !slot.input) {
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
                let text = update(&*rule, access, Around::default());
                if seen.insert(text.clone()) {
                    validated(&text);
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
    }

    /// What can be around an update, each thing by itself and all together; nothing first.
    fn arounds() -> Vec<(&'static str, Around)> {
        let plain = Around::default();
        let zero_grad = true;
        let average = true;
        let scale = |scale| Around { scale, ..plain };
        vec![
            ("plain", plain),
            ("by_norm", scale(Scale::ByNorm)),
            ("by_value", scale(Scale::ByValue(0.5))),
            ("by_tensor", scale(Scale::ByTensor)),
            ("zeroing", Around { zero_grad, ..plain }),
            ("averaging", Around { average, ..plain }),
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
    fn every_rule_compiles_with_whatever_is_around_it() {
        for name in rules::names() {
            let rule = rules::by_name(name).unwrap();
            for (_, around) in arounds() {
                for access in Access::ALL {
                    validated(&update(&*rule, access, around));
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
        ];
        for (name, around) in arounds().into_iter().skip(1) {
            let text = update(&rules::AdamW::default(), Access::Arena, around);
            files.push((format!("adamw-{name}"), text));
        }
        for name in rules::names() {
            let rule = rules::by_name(name).unwrap();
            files.push((name.to_owned(), update_shader(&*rule)));
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
            let slots: Vec<_> = rule.element_slots().iter().map(|slot| slot.name).collect();
            assert_eq!(names, slots, "{}", rule.name());
            assert!(members.iter().all(|(_, _, size)| *size == 16));
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
                let storage = |(_, variable): &(_, &naga::GlobalVariable)| {
                    matches!(variable.space, naga::AddressSpace::Storage { .. })
                };
                let count = module.global_variables.iter().filter(storage).count();
                let used = rule.element_slots().iter().filter(|slot| slot.used).count();
                let around = match access {
                    Access::Arena | Access::FoldedArena => 2,
                    Access::Ranges(_, GradPlace::InParams) => 2,
                    Access::Ranges(..) => 3,
                };
                assert_eq!(count, around + used, "{} {access:?}", rule.name());
                assert!(count <= 8);
            }
        }
    }
}
