//! The complete update shader of every rule, as files that a review sees change.
//!
//! `UPDATE_GOLDEN=1 cargo test --test shaders` writes them anew.

use std::path::{Path, PathBuf};

use wgpu_optim::{rules, update_shader};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.wgsl"))
}

#[test]
fn every_shader_is_its_golden_file() {
    for name in rules::names() {
        let text = update_shader(&*rules::by_name(name).unwrap());
        let path = golden(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let kept = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(
            kept == text,
            "{} differs; if that is meant, UPDATE_GOLDEN=1 cargo test --test shaders",
            path.display()
        );
    }
}

#[test]
fn every_golden_file_belongs_to_a_rule() {
    for entry in golden("x").parent().unwrap().read_dir().unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(
            rules::names().any(|rule| rule == name),
            "{}",
            path.display()
        );
    }
}

#[test]
fn naga_accepts_every_golden_file() {
    for name in rules::names() {
        let text = std::fs::read_to_string(golden(name)).unwrap();
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
    for name in rules::names() {
        let result = std::process::Command::new("tint")
            .args(["--format", "wgsl"])
            .arg(golden(name))
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&result.stderr);
        assert!(result.status.success(), "{name}: {message}");
    }
}
