//! Every shader compiles, equals its golden file and declares what the host binds.

mod bindings;

use super::*;
use crate::{
    Formats, Precision, Stages,
    cpu::Step,
    format::{Format, Storage},
    progress::Progress,
    rules,
};

fn validated(text: &str) -> naga::Module {
    let module = naga::front::wgsl::parse_str(text)
        .unwrap_or_else(|error| panic!("{}\n{text}", error.emit_to_string(text)));
    // No capabilities are allowed beyond WebGPU's core.
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
    let size = |member: &naga::StructMember| module.types[member.ty].inner.size(module.to_ctx());
    members
        .iter()
        .map(|member| (member.name.as_deref().unwrap(), member.offset, size(member)))
        .collect()
}

/// Every rule with its default flags, with each flag flipped and with each choice made.
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
                // One half is out of range for some numbers.
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
        let frame = Frame::default();
        for pass in passes(&*rule) {
            for access in accesses(&*rule, frame, pass) {
                let text = of_rule(&*rule, access, frame, pass);
                if seen.insert(text.clone()) {
                    validated(&text);
                }
            }
        }
        for (_, text) in lines_of(&*rule) {
            validated(&text);
        }
        if rule.stages().sum.is_some() {
            validated(&conclude_tensors(&*rule));
        }
    }
    for skips in [false, true] {
        validated(&begin_step(skips));
    }
    for width in [Width::Quads, Width::Scalars] {
        validated(&measure(width, Encoding::F32));
        validated(&zero_grads(width, Encoding::F32));
    }
    validated(&summarize());
    validated(&clip_tensors());
    validated(&tally());
}

#[test]
fn every_rule_goes_at_once_or_by_tiles_if_its_stages_say_so() {
    for rule in variants() {
        let stages = rule.stages();
        let has_stages = stages != Stages::default();
        assert_eq!(goes_at_once(&*rule), !has_stages, "{}", rule.name());
        let by_tiles = goes_by_tiles(&*rule, &Frame::default(), Pass::Update);
        assert_eq!(by_tiles, fits_tiles(&*rule), "{}", rule.name());
        assert_eq!(by_tiles, stages.lines.is_some(), "{}", rule.name());
    }
}

/// The shaders about lines, if the rule has any.
fn lines_of(rule: &dyn Rule) -> Vec<(&'static str, String)> {
    if rule.stages().lines.is_none() {
        return Vec::new();
    }
    let frame = Frame::default();
    vec![
        ("measure_lines", measure_lines(rule, frame, Width::Quads)),
        ("move_lines", move_lines(rule, frame)),
        ("factor_small", factor_lines(rule, frame)),
    ]
}

/// How `pass` can find its elements.
fn accesses(rule: &dyn Rule, frame: Frame, pass: Pass) -> Vec<Access> {
    // What stores no parameters copies none.
    let copies = pass.stores_params() && frame.storage.copy().is_some();
    let with_copies = Access::WITH_COPIES.into_iter().filter(|_| copies);
    let by_tiles = goes_by_tiles(rule, &frame, pass);
    let by_tiles = Access::BY_TILES.into_iter().filter(|_| by_tiles);
    let all = Access::ALL.into_iter();
    all.chain(with_copies).chain(by_tiles).collect()
}

/// The passes that have a text of their own.
fn passes(rule: &dyn Rule) -> Vec<Pass> {
    let stages = rule.stages();
    let measure = stages.sum.map(|_| Pass::Measure);
    let lines = stages.lines.map(|_| Pass::Lines);
    let prepare = stages.matrix.map(|_| Pass::Prepare);
    let at_once = (stages == Stages::default()).then_some(Pass::Step);
    let passes = [Pass::Update].into_iter().chain(measure);
    passes.chain(lines).chain(prepare).chain(at_once).collect()
}

/// What can surround an update: nothing first, then each thing alone, then all together. Zeroed
/// gradients are also scaled, as they often are.
fn frames() -> Vec<(&'static str, Frame)> {
    let nothing = Frame::default();
    let zero_grad = true;
    let average = true;
    let scale = |scale| Frame { scale, ..nothing };
    vec![
        ("nothing", nothing),
        ("by_norm", scale(Scale::ByNorm)),
        ("by_value", scale(Scale::ByValue(0.5))),
        ("by_tensor", scale(Scale::ByTensor)),
        (
            "zeroing",
            Frame {
                zero_grad,
                ..scale(Scale::Plain)
            },
        ),
        ("averaging", Frame { average, ..nothing }),
        (
            "lines_in_quads",
            Frame {
                lines_in_quads: true,
                ..nothing
            },
        ),
        (
            "all",
            Frame {
                scale: Scale::ByTensor,
                zero_grad,
                average,
                ..nothing
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
    let scale =
        |options: &Options, maximize| Frame::of(options, &rule(maximize), Storage::default()).scale;
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
        // This inspects the gradients, and divides by a loss scale that the caller may have
        // written.
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
        for (_, frame) in frames() {
            for pass in passes(&*rule) {
                for access in accesses(&*rule, frame, pass) {
                    validated(&of_rule(&*rule, access, frame, pass));
                }
            }
        }
    }
    for most in [f32::MIN_POSITIVE, 1.0, 0.1, f32::MAX] {
        let frame = Frame {
            scale: Scale::ByValue(most),
            ..Frame::default()
        };
        let text = update(&rules::AdamW::default(), Access::Arena, frame);
        validated(&text);
        // The number is written exactly. A compiler might find a rounded one too large for an f32.
        assert!(
            text.contains(&format!("= {:e};", f64::from(most))),
            "{most}"
        );
    }
}

/// Every complete shader of the default variants that has a golden file: all rules over arenas, one
/// rule in all forms of access, and what begins a step.
fn golden() -> Vec<(String, String)> {
    let mut files = vec![
        ("begin_step".to_owned(), begin_step(false)),
        ("begin_step-skipping".to_owned(), begin_step(true)),
        ("measure".to_owned(), measure(Width::Quads, Encoding::F32)),
        ("summarize".to_owned(), summarize()),
        ("clip_tensors".to_owned(), clip_tensors()),
        (
            "zero_grads".to_owned(),
            zero_grads(Width::Quads, Encoding::F32),
        ),
        ("tally".to_owned(), tally()),
    ];
    // "all" shows what two of these add. The last is about other rules.
    let hidden = ["nothing", "by_tensor", "averaging", "lines_in_quads"];
    let shown = |name| !hidden.contains(&name);
    for (name, frame) in frames().into_iter().filter(|(name, _)| shown(name)) {
        let text = update(&rules::AdamW::default(), Access::Arena, frame);
        files.push((format!("adamw-{name}"), text));
    }
    for state in [Format::Bf16, Format::Int8] {
        let formats = Formats {
            params: Format::Bf16,
            grads: Format::F16,
            state,
            ..Formats::default()
        };
        let text = update_shader_in(&rules::AdamW::default(), formats);
        files.push((format!("adamw-{state}"), text));
    }
    for name in rules::names() {
        let rule = rules::by_name(name).unwrap();
        files.push((name.to_owned(), update_shader(&*rule)));
        // One of each kind of stage is enough here, because each rule's part of it is in its own
        // golden file.
        let access = Access::Ranges(Width::Quads, GradPlace::OwnBuffer);
        if name == "adafactor" {
            let frame = Frame {
                lines_in_quads: true,
                ..Frame::default()
            };
            let measure = of_rule(&*rule, access, frame, Pass::Measure);
            files.push((format!("{name}-measure"), measure));
            let tiles = Access::Tiles(GradPlace::OwnBuffer);
            for (what, pass) in [("measure", Pass::Measure), ("step", Pass::Update)] {
                let text = of_rule(&*rule, tiles, frame, pass);
                files.push((format!("{name}-{what}_in_tiles"), text));
            }
        }
        if name == "lamb" {
            let measure = of_rule(&*rule, access, Frame::default(), Pass::Measure);
            files.push((format!("{name}-measure"), measure));
            files.push((format!("{name}-conclude"), conclude_tensors(&*rule)));
        }
        if name == "muon" {
            let text = of_rule(&*rule, Access::Arena, Frame::default(), Pass::Prepare);
            files.push((format!("{name}-prepare"), text));
        }
        let about_lines = lines_of(&*rule).into_iter();
        files
            .extend(about_lines.map(|(entry_point, text)| (format!("{name}-{entry_point}"), text)));
    }
    for access in Access::ALL {
        let name = match access {
            Access::Arena | Access::Tiles(_) => continue,
            Access::FoldedArena => "adamw-folded".to_owned(),
            Access::Range(Width::Quads, GradPlace::OwnBuffer) => "adamw-one-range".to_owned(),
            // They are as those of many ranges.
            Access::Range(..) => continue,
            Access::Ranges(width, place) | Access::RangesAndCopies(width, place) => {
                format!("adamw-{width:?}-{place:?}").to_lowercase()
            }
        };
        files.push((
            name,
            update(&rules::AdamW::default(), access, Frame::default()),
        ));
    }
    for (width, copy) in [(Width::Quads, Format::F16), (Width::Scalars, Format::Bf16)] {
        let formats = Formats {
            copy: Some(copy),
            ..Formats::default()
        };
        let frame = Frame {
            storage: formats.into(),
            ..Frame::default()
        };
        let access = Access::RangesAndCopies(width, GradPlace::OwnBuffer);
        let name = format!("adamw-{width:?}-copied-{copy}").to_lowercase();
        files.push((name, update(&rules::AdamW::default(), access, frame)));
    }
    let at_once = step_at_once(&rules::AdamW::default(), Access::Arena, Frame::default());
    files.push(("adamw-at_once".to_owned(), at_once));
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

/// The name, offset and size of each member.
fn packed(names: &[&'static str], size: u32) -> Vec<(&'static str, u32, u32)> {
    let names = if names.is_empty() {
        &["nothing"]
    } else {
        names
    };
    let offsets = (0..).map(|index| size * index);
    let members = names.iter().zip(offsets);
    members
        .map(|(name, offset)| (*name, offset, size))
        .collect()
}

#[test]
fn constants_and_slots_lie_in_the_order_of_their_declaration_without_gaps() {
    for rule in variants() {
        let name = rule.name();
        let module = validated(&update_shader(&*rule));
        let constants: Vec<_> = rule.constants().iter().map(|(name, _)| *name).collect();
        assert_eq!(members(&module, "Hyper"), packed(&constants, 4), "{name}");
        let state = rule.state_members();
        assert_eq!(members(&module, "State"), packed(&state, 16), "{name}");
        let slots = rule.tensor_slots();
        if !slots.is_empty() {
            let slots: Vec<_> = slots.iter().map(|slot| slot.name).collect();
            assert_eq!(members(&module, "OfTensor"), packed(&slots, 4), "{name}");
        }
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
    // The last two concern this crate alone. A rule does not see them.
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
        for access in accesses(&*rule, Frame::default(), Pass::Update) {
            let module = validated(&update(&*rule, access, Frame::default()));
            let tensors = looks_at_tensors(&*rule, Pass::Update.reads(&*rule));
            let storage = |(_, variable): &(_, &naga::GlobalVariable)| {
                matches!(variable.space, naga::AddressSpace::Storage { .. })
            };
            let count = module.global_variables.iter().filter(storage).count();
            let reads = Pass::Update.reads(&*rule);
            let is_read = |name| reads.is_none_or(|names| names.contains(&name));
            let slots = rule.element_slots().into_iter();
            let used = slots.filter(|slot| slot.used && is_read(slot.name)).count();
            let beside = match access {
                Access::Arena | Access::FoldedArena => 2,
                Access::Range(_, GradPlace::InParams) => 1,
                Access::Range(..) => 2,
                Access::Ranges(_, GradPlace::InParams) | Access::Tiles(GradPlace::InParams) => 2,
                Access::Ranges(..) | Access::Tiles(_) => 3,
                Access::RangesAndCopies(..) => continue,
            };
            let lines = rule.stages().lines.is_some();
            let used = used + usize::from(tensors) + usize::from(lines);
            assert_eq!(count, beside + used, "{} {access:?}", rule.name());
            assert!(count <= 8);
            // A step at once that needs more is not planned.
            for pass in passes(&*rule)
                .into_iter()
                .filter(|pass| *pass != Pass::Step)
            {
                let text = of_rule(&*rule, access, Frame::default(), pass);
                let module = validated(&text);
                let count = module.global_variables.iter().filter(storage).count();
                assert!(count <= 8, "{} {pass:?} {access:?}: {count}", rule.name());
            }
        }
    }
}

#[test]
fn parameters_gradients_and_state_can_have_a_format_of_their_own() {
    let f32 = Storage::default();
    let [bf16, f16, plus_8] = [Format::Bf16, Format::F16, Format::Bf16Plus8]
        .map(|format| format.encoding(Precision::Signed));
    let state = |state| Storage { state, ..f32 };
    let cases = [
        (
            Storage {
                params: bf16,
                ..f32
            },
            "alias ParamQuad = Quad_bf16",
        ),
        (Storage { grads: bf16, ..f32 }, "alias GradQuad = Quad_bf16"),
        (Storage { grads: f16, ..f32 }, "alias GradQuad = Quad_f16"),
        (
            Storage {
                params: bf16,
                grads: bf16,
                state: Format::Int8,
                ..f32
            },
            "alias ParamQuad = Quad_bf16",
        ),
        (
            Storage {
                params: plus_8,
                beside: plus_8.residual(),
                ..f32
            },
            "residuals[place.state / 4u] = residual_of_param(kept);",
        ),
        (
            Storage {
                params: plus_8,
                grads: bf16,
                state: Format::Int8,
                beside: plus_8.residual(),
                ..f32
            },
            "fn updated_in_block(",
        ),
        (
            Storage {
                beside: Some(f16),
                ..f32
            },
            "fn copy_params(",
        ),
        (
            Storage {
                beside: Some(bf16),
                state: Format::Int8,
                ..f32
            },
            "fn updated_in_block(",
        ),
        (
            Storage {
                sensitive: Format::Bf16,
                ..f32
            },
            "slot_z: array<Quad_bf16>",
        ),
        (state(Format::Bf16), "slot_exp_avg: array<Quad_bf16>"),
        (state(Format::Int8), "exp_avg = decode_int8("),
        (state(Format::Int8), "exp_avg_sq = decode_uint8("),
    ];
    for (storage, expected) in cases {
        let mut times = 0;
        for name in rules::names() {
            let rule = rules::by_name(name).unwrap();
            let frame = Frame {
                average: !rule.evaluates_elsewhere(),
                storage,
                ..Frame::default()
            };
            for pass in passes(&*rule) {
                for access in accesses(&*rule, frame, pass) {
                    // One binding has one type.
                    let together = access.grad_place() == GradPlace::InParams;
                    if together && storage.params != storage.grads {
                        continue;
                    }
                    let text = of_rule(&*rule, access, frame, pass);
                    validated(&text);
                    times += text.matches(expected).count();
                }
            }
        }
        assert!(times > 0, "{expected}");
    }
    for width in [Width::Quads, Width::Scalars] {
        for encoding in [bf16, f16] {
            validated(&measure(width, encoding));
            validated(&zero_grads(width, encoding));
        }
    }
}
