//! The golden shaders, checked by two compilers. As files, they show a reviewer what a change does
//! to them. The unit tests of `src/shader/` compare them with what the crate composes, and rewrite
//! them.

use std::path::{Path, PathBuf};

fn golden_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let entries = folder.read_dir().unwrap();
    let files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() > wgpu_optim::rules::names().len());
    files
}

#[test]
fn naga_accepts_every_golden_file() {
    for path in golden_files() {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.display();
        let module = naga::front::wgsl::parse_str(&text)
            .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(&text)));
        let flags = naga::valid::ValidationFlags::all();
        let capabilities = naga::valid::Capabilities::empty();
        naga::valid::Validator::new(flags, capabilities)
            .validate(&module)
            .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(&text)));
    }
}

/// The WGSL compiler of Chromium is stricter than naga. Where it is not installed this says so.
#[test]
fn tint_accepts_every_golden_file_where_it_is_installed() {
    if std::process::Command::new("tint")
        .arg("--help")
        .output()
        .is_err()
    {
        println!("not run: there is no `tint` on the PATH");
        return;
    }
    for path in golden_files() {
        let name = path.display();
        let result = std::process::Command::new("tint")
            .args(["--format", "wgsl"])
            .arg(&path)
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&result.stderr);
        assert!(result.status.success(), "{name}: {message}");
    }
}
