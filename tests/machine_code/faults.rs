//! Faults that the checks must find.

use libtest_mimic::Failed;
use wgpu_optim::{rules::AdamW, update_shader};

use crate::{
    code::{Code, Traffic},
    expected,
    radv::{Radv, driver_file},
    spirv,
};

/// `p - g`.
const STREAMING: &str = "
BB0:
	s_load_dwordx4 s[4:7], s[2:3], 0x20                 ; f4080101 fa000020
	buffer_load_dwordx4 v[4:7], v0, s[4:7], 0 offen     ; e0381000 80010400
	buffer_load_dwordx4 v[8:11], v0, s[8:11], 0 offen   ; e0381000 80020800
	v_sub_f32_e32 v4, v4, v8                            ; 08081104
	buffer_store_dwordx4 v[4:7], v0, s[4:7], 0 offen    ; e0781000 80010400
	s_endpgm                                            ; bf810000
";

pub fn of_machine_code() -> Result<(), Failed> {
    let complaints = |text: &str, [vgprs, spilled_vgprs, spilled_sgprs, scratch]: [u64; 4]| {
        let statistics = [
            ("VGPRs", vgprs),
            ("Spilled VGPRs", spilled_vgprs),
            ("Spilled SGPRs", spilled_sgprs),
            ("Scratch size", scratch),
        ];
        let statistics = statistics.map(|(name, value)| (name.to_owned(), value));
        let code = Code::read(statistics.into(), text).unwrap();
        code.complaints(Traffic {
            loads: 2,
            stores: 1,
            lookups: 0,
        })
    };
    assert_eq!(complaints(STREAMING, [64, 0, 0, 0]), Vec::<String>::new());

    let without_disassembler = "Shader disassembly is not supported";
    assert!(Code::read(Default::default(), without_disassembler).is_none());

    let subtraction = "v_sub_f32_e32 v4, v4, v8";
    for (from, to, complaint) in [
        ("load_dwordx4 v[4:7]", "load_dword v4", "moves Traffic"),
        ("load_dwordx4 v[4:7]", "load_dwordx3 v[4:6]", "width"),
        ("store_dwordx4 v[4:7]", "store_dwordx3 v[4:6]", "width"),
        (subtraction, "buffer_atomic_add v4, v0", "width"),
        (subtraction, "ds_write_b32 v4, v0", "width"),
        (subtraction, "s_cbranch_execz BB2", "branches"),
        (subtraction, "s_and_saveexec_b64 s[0:1], vcc", "branches"),
        (subtraction, "s_mov_b64 exec, vcc", "branches"),
        (subtraction, "buffer_load_dwordx4 v[4:7], v0", "Traffic"),
        (subtraction, "buffer_store_dwordx4 v[4:7], v0", "Traffic"),
        ("s_endpgm", "buffer_load_dword v4, v0\ns_endpgm", "after"),
    ] {
        assert!(STREAMING.contains(from), "{from}");
        let found = complaints(&STREAMING.replace(from, to), [64, 0, 0, 0]);
        assert!(
            found.iter().any(|found| found.contains(complaint)),
            "{to}: {found:?}"
        );
    }
    for (statistics, complaint) in [
        ([65, 0, 0, 0], "VGPRs Some(65)"),
        ([64, 1, 0, 0], "Spilled VGPRs"),
        ([64, 0, 1, 0], "Spilled SGPRs"),
        ([64, 0, 0, 4], "Scratch size"),
    ] {
        let found = complaints(STREAMING, statistics);
        assert!(
            found.len() == 1 && found[0].contains(complaint),
            "{found:?}"
        );
    }
    Ok(())
}

pub fn of_shaders(radv: &Radv) -> Result<(), Failed> {
    let text = update_shader(&AdamW::default());
    let store = "store_quad(quad, updated);";
    let load = "let quad = load_quad(place);";
    for (from, to, complaint) in [
        // The compiler moves a store past loads of other buffers, but not of its own.
        (
            load,
            "params[lane] = vec4<f32>(); let quad = load_quad(place);",
            "after",
        ),
        (
            store,
            "if updated.x > 0.0 { store_quad(quad, updated); }",
            "branches",
        ),
        (
            store,
            "store_quad(quad, updated); params[place.param].x = 0.0;",
            "width",
        ),
        (
            store,
            "var kept: array<vec4<f32>, 256>;
            for (var i = 0u; i < place.param; i++) { kept[i * i % 256u] += updated; }
            store_quad(quad, kept[place.param % 256u]);",
            "Scratch size",
        ),
    ] {
        assert!(text.contains(from), "{from}");
        assert_complains(radv, &text.replacen(from, to, 1), complaint)?;
    }
    // A caller's ranges at any offset move 32 bits at a time, behind bounds.
    let scalars = include_str!("../golden/adamw-scalars-ownbuffer.wgsl");
    for complaint in ["Traffic", "width", "branches"] {
        assert_complains(radv, scalars, complaint)?;
    }
    Ok(())
}

fn assert_complains(radv: &Radv, text: &str, complaint: &str) -> Result<(), Failed> {
    let code = radv.compile(&spirv::compile(text))?;
    let found = code.complaints(expected(&AdamW::default()));
    assert!(
        found.iter().any(|found| found.contains(complaint)),
        "{complaint}: {found:?}"
    );
    Ok(())
}

pub fn of_folders() -> Result<(), Failed> {
    let root = std::env::temp_dir().join(format!("radv-{}", std::process::id()));
    let folders = ["none", "other", "here"].map(|name| root.join(name));
    for (folder, file) in [(1, "lvp_icd.json"), (2, "radeon_icd.json")] {
        std::fs::create_dir_all(&folders[folder])?;
        std::fs::write(folders[folder].join(file), "")?;
    }
    let found = driver_file(&folders);
    let missing = driver_file(&folders[..2]).unwrap_err();
    std::fs::remove_dir_all(&root)?;
    assert_eq!(found, Ok(folders[2].join("radeon_icd.json")));
    assert!(missing.contains("radeon_icd"), "{missing}");
    Ok(())
}
