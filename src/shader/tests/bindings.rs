//! How many storage bindings each rule takes.

use super::*;

/// The storage bindings of a pass.
fn bindings(rule: &dyn Rule, frame: Frame, access: Access, pass: Pass) -> usize {
    let module = validated(&of_rule(rule, access, frame, pass));
    let globals = module.global_variables.iter();
    let is_storage = |(_, variable): &(_, &naga::GlobalVariable)| {
        matches!(variable.space, naga::AddressSpace::Storage { .. })
    };
    globals.filter(is_storage).count()
}

/// The storage bindings of the pass of `rule` that has most of them.
fn most_bindings(rule: &dyn Rule, frame: Frame, access: Access) -> usize {
    let count = |pass| bindings(rule, frame, access, pass);
    // A step at once that needs too many is two dispatches.
    let passes = passes(rule).into_iter().filter(|pass| *pass != Pass::Step);
    passes.map(count).max().unwrap_or(0)
}

/// tests/bindings.txt says what fits WebGPU's eight storage bindings. No format takes one more, but what lies
/// beside the parameters does.
/// `UPDATE_GOLDEN=1 cargo test --lib golden` writes it anew.
#[test]
fn bindings_are_those_of_the_golden_table_in_every_format() {
    let [bf16, f16, plus_8] = [Format::Bf16, Format::F16, Format::Bf16Plus8]
        .map(|format| format.encoding(Precision::Signed));
    let storages = [
        Storage::default(),
        Storage {
            params: bf16,
            grads: bf16,
            state: Format::Int8,
            ..Storage::default()
        },
        Storage {
            grads: f16,
            state: Format::Bf16,
            sensitive: Format::Bf16,
            ..Storage::default()
        },
    ];
    let beside = [(Encoding::F32, f16), (plus_8, plus_8.residual().unwrap())];
    let beside = beside.map(|(params, beside)| Storage {
        params,
        beside: Some(beside),
        ..Storage::default()
    });
    let places = [
        ("arenas", Access::Arena),
        (
            "ranges",
            Access::Ranges(Width::Scalars, GradPlace::OwnBuffer),
        ),
    ];
    let options = [
        ("", false, Scale::None),
        (", average", true, Scale::None),
        (", tensor norm", false, Scale::ByTensor),
        (", both", true, Scale::ByTensor),
    ];
    let mut table = String::from(
        "Storage bindings of each rule, with its defaults, by where parameters and gradients lie (arenas,\n\
         or a caller's ranges) and what surrounds the step (Options::average, Clip::TensorNorm). WebGPU's\n\
         default is 8; what needs more is refused where the device has no more. A copy of the parameters takes\n\
         one more, and so do parameters in bf16+8. -: the rule has an average of its own.\n\nrule              ",
    );
    for (place, _) in places {
        for (option, ..) in options {
            table += &format!(" {:>20}", format!("{place}{option}"));
        }
    }
    for name in rules::names() {
        table += &format!("\n{name:18}");
        let rule = rules::by_name(name).unwrap();
        for (_, access) in places {
            for (_, average, scale) in options {
                if average && rule.evaluates_elsewhere() {
                    table += &format!(" {:>20}", "-");
                    continue;
                }
                let frame = |storage| Frame {
                    average,
                    scale,
                    storage,
                    ..Frame::default()
                };
                let count = |storage| most_bindings(&*rule, frame(storage), access);
                let counts = storages.map(count);
                assert!(
                    counts.iter().all(|count| *count == counts[0]),
                    "{name}: {counts:?}"
                );
                let [copy, residual] = beside.map(count);
                // A pass that stores no parameters copies none.
                assert!((counts[0]..=counts[0] + 1).contains(&copy), "{name}");
                assert_eq!(residual, counts[0] + 1, "{name}");
                // Where a copy lies makes no difference.
                if let Access::Ranges(width, place) = access {
                    let with_copies = Access::RangesAndCopies(width, place);
                    let [own, callers] = [access, with_copies]
                        .map(|access| bindings(&*rule, frame(beside[0]), access, Pass::Update));
                    assert_eq!(callers, own, "{name}");
                }
                table += &format!(" {:>20}", counts[0]);
            }
        }
    }
    table += "\n";
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bindings.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &table).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), table);
}

/// So what the table says of ranges, and what an optimizer counts of them, holds for tiles.
#[test]
fn tiles_take_as_many_bindings_as_ranges_and_no_more_than_eight() {
    let ranges = Access::Ranges(Width::Quads, GradPlace::OwnBuffer);
    let tiles = Access::Tiles(GradPlace::OwnBuffer);
    let plus_8 = Format::Bf16Plus8.encoding(Precision::Signed);
    let storages = [
        Storage::default(),
        Storage {
            beside: Some(Format::F16.encoding(Precision::Signed)),
            ..Storage::default()
        },
        Storage {
            params: plus_8,
            beside: plus_8.residual(),
            ..Storage::default()
        },
    ];
    let mut compared = 0;
    for name in rules::names() {
        let rule = rules::by_name(name).unwrap();
        for (around, frame) in frames() {
            for storage in storages {
                let frame = Frame { storage, ..frame };
                for pass in passes(&*rule) {
                    if !goes_by_tiles(&*rule, &frame, pass) {
                        continue;
                    }
                    let [found, expected] =
                        [tiles, ranges].map(|access| bindings(&*rule, frame, access, pass));
                    assert_eq!(found, expected, "{name}, {around}, {pass:?}");
                    assert!(found <= 8, "{name}, {around}, {pass:?}: {found}");
                    compared += 1;
                }
            }
        }
    }
    // An update and what comes before it.
    assert!(compared >= 2 * storages.len() * frames().len());
}
