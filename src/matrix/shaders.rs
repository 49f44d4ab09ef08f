//! The complete shaders of `shaders/matrix/`.

use crate::format::Encoding;

/// The format in which these shaders read and write matrices.
pub(crate) const MATRIX_ENCODING: Encoding = Encoding::F32;

/// How much of a product a workgroup computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TileSize {
    /// 4×4 elements for each of 16 threads.
    Tiny,
    /// 4×4 elements for each of 64 threads.
    Small,
    /// 8×8 elements for each of 64 threads.
    Large,
}

impl TileSize {
    pub const ALL: [Self; 3] = [Self::Tiny, Self::Small, Self::Large];

    /// The size for products of matrices whose shorter side is this: the smallest that holds it, since
    /// a matrix that does not fill a tile leaves the rest of it idle.
    pub fn holding(side: u32) -> Self {
        let holds = |size: &Self| side <= size.side();
        Self::ALL.into_iter().find(holds).unwrap_or(Self::Large)
    }

    /// Rows and columns of the tile.
    pub fn side(self) -> u32 {
        match self {
            Self::Tiny => 16,
            Self::Small => 32,
            Self::Large => 64,
        }
    }
}

/// The shader of products. Its entry points are `multiply` and `copy`.
pub(crate) fn multiply_shader(size: TileSize) -> String {
    let (side, block) = match size {
        TileSize::Tiny => (4, include_str!("../../shaders/matrix/block/small.wgsl")),
        TileSize::Small => (8, include_str!("../../shaders/matrix/block/small.wgsl")),
        TileSize::Large => (8, include_str!("../../shaders/matrix/block/large.wgsl")),
    };
    let text = include_str!("../../shaders/matrix/multiply.wgsl");
    format!("const SIDE: u32 = {side}u;\n{text}\n{block}")
}

/// The shader `solve`, with `threads` threads per system. It tries up to `attempts` values of λ.
pub(crate) fn solve_shader(threads: u32, attempts: u32) -> String {
    let text = include_str!("../../shaders/matrix/solve.wgsl");
    format!("const THREADS: u32 = {threads}u;\nconst ATTEMPTS: u32 = {attempts}u;\n{text}")
}

/// The shader `orthogonalize` of matrices of at most `side` rows and columns, 16 or 32.
pub(crate) fn rounds_shader(side: u32, rounds: u32, coefficients: [f64; 3]) -> String {
    let text = include_str!("../../shaders/matrix/rounds.wgsl");
    // A compiler might find a rounded number too large for an f32.
    let [x, gram, square] = coefficients.map(|coefficient| f64::from(coefficient as f32));
    format!(
        "const SIDE: u32 = {side}u;\nconst ROUNDS: u32 = {rounds}u;\n\
         const OF_X: f32 = {x:e};\nconst OF_GRAM: f32 = {gram:e};\n\
         const OF_SQUARE: f32 = {square:e};\n{text}"
    )
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn all() -> Vec<(&'static str, String)> {
        vec![
            ("multiply_tiny", multiply_shader(TileSize::Tiny)),
            ("multiply_small", multiply_shader(TileSize::Small)),
            ("multiply_large", multiply_shader(TileSize::Large)),
            ("rounds_16", rounds_shader(16, 5, [3.4445, -4.7750, 2.0315])),
            ("rounds_32", rounds_shader(32, 5, [3.4445, -4.7750, 2.0315])),
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
