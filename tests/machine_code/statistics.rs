//! The table of statistics beside this file. A change to a shader shows as a diff there.

use std::path::Path;

use libtest_mimic::{Completion, Failed};
use wgpu_optim::{
    Format, Formats,
    rules::{self, AdamW},
    update_shader, update_shader_in,
};

use crate::{Device, FAMILIES, code::Code, passes, spirv};

const HEADING: &str = "\
The update of each rule by its defaults, over arenas, and the passes of the golden files, as machine
code of RDNA2 (navi21) and GCN 5 (vega10). `UPDATE_STATISTICS=1 cargo test --test machine_code` writes this file.

waves: how many share a SIMD by the driver's count; RDNA2 has 128 SGPRs for each. latency, inverse:
the compiler's estimate of the cycles of one wave, with and without its waits. vector: instructions
that calculate in every lane. loads, stores: of 128 bits; lookups: loads of 32 or 64.

";

const COLUMNS: [&str; 11] = [
    "VGPRs",
    "SGPRs",
    "waves",
    "bytes",
    "latency",
    "inverse",
    "instructions",
    "vector",
    "loads",
    "stores",
    "lookups",
];

/// Compares the table with what the compiler makes now; with UPDATE_STATISTICS set, writes it.
pub fn check(devices: &[Device]) -> Result<Completion, Failed> {
    let mut version = "";
    let mut tables = String::new();
    for (family, device) in FAMILIES.iter().zip(devices) {
        let radv = match device {
            Ok(radv) => radv,
            Err(reason) => return Ok(Completion::ignored_with(reason)),
        };
        version = &radv.version;
        tables += "\n";
        tables += &row(family, COLUMNS.map(str::to_owned));
        for name in rules::names() {
            let text = update_shader(&*rules::by_name(name)?);
            let code = radv.compile(&spirv::compile(&text))?;
            tables += &row(name, cells(&code));
        }
        for (title, formats) in in_formats() {
            let text = update_shader_in(&AdamW::default(), formats);
            let code = radv.compile(&spirv::compile(&text))?;
            tables += &row(&format!("adamw, {title}"), cells(&code));
        }
        for (title, text, entry_point) in passes::all()? {
            let code = radv.compile(&spirv::compile_entry_point(&text, &entry_point))?;
            tables += &row(&title, cells(&code));
        }
    }
    let heading = format!("{HEADING}{version}\n");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machine_code/statistics.txt");
    if std::env::var_os("UPDATE_STATISTICS").is_some() {
        std::fs::write(&path, heading + &tables)?;
        return Ok(Completion::Completed);
    }
    let kept = std::fs::read_to_string(&path)?;
    // Another version of a compiler makes other code.
    if !kept.lines().any(|line| line == version) {
        let reason = format!("the table is not of this compiler, {version}");
        return Ok(Completion::ignored_with(reason));
    }
    let now = heading + &tables;
    if kept == now {
        return Ok(Completion::Completed);
    }
    let differs = |line: &&str| !kept.lines().any(|kept| kept == *line);
    let differing: Vec<_> = now.lines().filter(differs).collect();
    Err(format!(
        "{} differs; if that is meant: UPDATE_STATISTICS=1 cargo test --test machine_code\n{}",
        path.display(),
        differing.join("\n")
    )
    .into())
}

/// Rules in fewer bits.
pub fn in_formats() -> [(&'static str, Formats); 5] {
    let f32 = Formats::default();
    let state = |state| Formats { state, ..f32 };
    [
        ("state bf16", state(Format::Bf16)),
        ("state int8", state(Format::Int8)),
        (
            "all bf16",
            Formats {
                params: Format::Bf16,
                grads: Format::Bf16,
                state: Format::Bf16,
                ..f32
            },
        ),
        (
            "bf16, int8",
            Formats {
                params: Format::Bf16,
                grads: Format::Bf16,
                state: Format::Int8,
                ..f32
            },
        ),
        (
            "bf16+8",
            Formats {
                params: Format::Bf16Plus8,
                grads: Format::Bf16,
                ..f32
            },
        ),
    ]
}

fn cells(code: &Code) -> [String; COLUMNS.len()] {
    let statistic = |name| match code.statistics.get(name) {
        Some(value) => value.to_string(),
        None => "-".to_owned(),
    };
    let traffic = code.traffic();
    [
        statistic("VGPRs"),
        statistic("SGPRs"),
        statistic("Subgroups per SIMD"),
        statistic("Code size"),
        statistic("Latency"),
        statistic("Inverse Throughput"),
        statistic("Instructions"),
        code.vector_instructions().to_string(),
        traffic.loads.to_string(),
        traffic.stores.to_string(),
        traffic.lookups.to_string(),
    ]
}

/// One line, the first column to the left and the others to the right.
fn row(name: &str, cells: [String; COLUMNS.len()]) -> String {
    let mut line = format!("{name:38}");
    for (cell, column) in cells.iter().zip(COLUMNS) {
        let width = column.len() + 1;
        line += &format!("{cell:>width$}");
    }
    line + "\n"
}
