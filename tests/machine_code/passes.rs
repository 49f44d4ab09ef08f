//! The passes that come before an update, updates by tiles, and the update that begins its step itself, from
//! the golden files. They have loops and branches, so what is asked of them is that they keep to the registers.

use std::path::Path;

use libtest_mimic::Failed;

use crate::{code::MOST_VGPRS, radv::Radv, spirv};

/// Each pass but the updates by elements: its title, its shader and its entry point.
pub fn all() -> Result<Vec<(String, String, String)>, Failed> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut passes = Vec::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        let text = std::fs::read_to_string(&path)?;
        let module = naga::front::wgsl::parse_str(&text)?;
        let file = path.file_stem().unwrap_or_default().to_string_lossy();
        let is_shown = file.starts_with("begin_step")
            || file.ends_with("at_once")
            || file.ends_with("in_tiles");
        for entry_point in module.entry_points {
            let name = entry_point.name;
            if is_shown || !["main", "evaluate", "train"].contains(&&*name) {
                passes.push((format!("{file}: {name}"), text.clone(), name));
            }
        }
    }
    passes.sort();
    Ok(passes)
}

pub fn keep_to_registers(radv: &Radv) -> Result<(), Failed> {
    let mut complaints = Vec::new();
    for (title, text, entry_point) in all()? {
        let code = radv.compile(&spirv::compile_entry_point(&text, &entry_point))?;
        let found = code.register_complaints(MOST_VGPRS).into_iter();
        complaints.extend(found.map(|complaint| format!("{title}: {complaint}")));
    }
    match complaints.is_empty() {
        true => Ok(()),
        false => Err(complaints.join("\n").into()),
    }
}
