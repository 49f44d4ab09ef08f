//! The complete shaders of `shaders/matrix/`.

use crate::format::Encoding;

/// The format in which these shaders read and write matrices.
pub(crate) const MATRIX_ENCODING: Encoding = Encoding::F32;

/// How much of a product a workgroup computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TileSize {
    /// 4×4 elements per thread.
    Small,
    /// 8×8 elements per thread.
    Large,
}

impl TileSize {
    /// Rows and columns of the tile.
    pub fn side(self) -> u32 {
        match self {
            Self::Small => 32,
            Self::Large => 64,
        }
    }
}

/// The shader of products. Its entry points are `multiply` and `copy`.
pub(crate) fn multiply_shader(size: TileSize) -> &'static str {
    match size {
        TileSize::Small => concat!(
            include_str!("../../shaders/matrix/multiply.wgsl"),
            "\n",
            include_str!("../../shaders/matrix/block/small.wgsl"),
        ),
        TileSize::Large => concat!(
            include_str!("../../shaders/matrix/multiply.wgsl"),
            "\n",
            include_str!("../../shaders/matrix/block/large.wgsl"),
        ),
    }
}

/// The shader `solve`, with `threads` threads per system. It tries up to `attempts` values of λ.
pub(crate) fn solve_shader(threads: u32, attempts: u32) -> String {
    let text = include_str!("../../shaders/matrix/solve.wgsl");
    format!("const THREADS: u32 = {threads}u;\nconst ATTEMPTS: u32 = {attempts}u;\n{text}")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn all() -> Vec<(&'static str, String)> {
        vec![
            ("multiply_small", multiply_shader(TileSize::Small).into()),
            ("multiply_large", multiply_shader(TileSize::Large).into()),
            ("solve_64", solve_shader(64, 8)),
            ("solve_256", solve_shader(256, 8)),
        ]
    }

    #[test]
    fn naga_accepts_every_shader_without_extensions() {
        for (name, text) in all() {
            let module = naga::front::wgsl::parse_str(&text)
                .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(&text)));
            let flags = naga::valid::ValidationFlags::all();
            let capabilities = naga::valid::Capabilities::empty();
            naga::valid::Validator::new(flags, capabilities)
                .validate(&module)
                .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(&text)));
            let used = module.global_variables.iter().filter(|(_, variable)| {
                matches!(variable.space, naga::AddressSpace::Storage { .. })
            });
            assert!(used.count() <= 8, "{name}");
            let shared: u32 = module
                .global_variables
                .iter()
                .filter(|(_, variable)| variable.space == naga::AddressSpace::WorkGroup)
                .map(|(_, variable)| module.types[variable.ty].inner.size(module.to_ctx()))
                .sum();
            assert!(shared <= 16 * 1024, "{name}: {shared} bytes");
        }
    }

    #[test]
    fn tint_accepts_every_shader_where_it_is_installed() {
        if Command::new("tint").arg("--help").output().is_err() {
            println!("not run: there is no `tint` on the PATH");
            return;
        }
        for (name, text) in all() {
            let file = format!("wgpu-optim-{}-{name}.wgsl", std::process::id());
            let path = std::env::temp_dir().join(file);
            std::fs::write(&path, text).unwrap();
            let result = Command::new("tint")
                .args(["--format", "wgsl"])
                .arg(&path)
                .output()
                .unwrap();
            std::fs::remove_file(&path).unwrap();
            let message = String::from_utf8_lossy(&result.stderr);
            assert!(result.status.success(), "{name}: {message}");
        }
    }
}
