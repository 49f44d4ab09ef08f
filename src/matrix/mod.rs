//! What Muon and the dense Newton do with whole matrices, on the CPU: the truth in f64, the fallback
//! in f32. The same on the GPU is `src/gpu/matrix/{orthogonalize,solve}.rs`.

mod orthogonalize;
mod shaders;
mod solve;

pub(crate) use orthogonalize::orthogonalize;
pub(crate) use shaders::{MATRIX_FORMAT, TileSize, multiply_shader, solve_shader};
pub(crate) use solve::solve;
