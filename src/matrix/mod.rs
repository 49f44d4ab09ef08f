//! What Muon and the dense Newton do with whole matrices, on the CPU. In f64 it is the reference,
//! in f32 the fallback. The GPU's version is `src/gpu/matrix/{orthogonalize,solve}.rs`.

mod orthogonalize;
mod shaders;
mod solve;

pub(crate) use orthogonalize::orthogonalize;
pub(crate) use shaders::{MATRIX_ENCODING, TileSize, multiply_shader, rounds_shader, solve_shader};
pub(crate) use solve::solve;
