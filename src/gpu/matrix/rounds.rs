//! Newton–Schulz for small matrices, all rounds at once. This is the host side of
//! `shaders/matrix/rounds.wgsl`. The CPU twin is `src/matrix/orthogonalize.rs`.

use bytemuck::{Pod, Zeroable};

use super::{
    batches::{Needs, batches},
    orthogonalize::Matrix,
};
use crate::{
    Error,
    gpu::{
        answers::GuardedDevice,
        binding::{entry, filled_buffer, whole},
        source::ShaderSource,
        unbound::Unbound,
    },
    matrix::{MATRIX_ENCODING, rounds_shader},
    plan::{DispatchLimits, fold, length},
};

/// WGSL's `SmallMatrix`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct SmallMatrix {
    first: u32,
    row: u32,
    column: u32,
    rows: u32,
    columns: u32,
}

/// How many rows and columns a matrix may have, and how many such matrices share a workgroup.
const SIDES: [(u32, usize); 2] = [(16, 4), (32, 1)];

/// The place in [`SIDES`] of a small matrix.
fn size_of_small(matrix: &Matrix) -> Option<usize> {
    let longest = matrix.rows.max(matrix.columns);
    SIDES.iter().position(|(side, _)| longest <= *side)
}

/// Whether all rounds of `matrix` are one dispatch.
pub(super) fn is_small(matrix: &Matrix) -> bool {
    size_of_small(matrix).is_some()
}

/// The dispatches for those of `matrices` that are small. The arguments are those of
/// [`orthogonalize`](super::orthogonalize::orthogonalize).
pub(super) fn rounds(
    device: &GuardedDevice<'_>,
    limits: &DispatchLimits,
    x: &wgpu::Buffer,
    matrices: &[Matrix],
    steps: u32,
    coefficients: [f64; 3],
) -> Result<Vec<Unbound>, Error> {
    let mut dispatches = Vec::new();
    for (index, (side, in_workgroup)) in SIDES.into_iter().enumerate() {
        let of_size = matrices.iter().copied();
        let of_size = of_size.filter(|matrix| size_of_small(matrix) == Some(index));
        let cut = batches(of_size, limits, |matrix| Needs {
            ranges: [matrix.bytes()],
            sizes: [size_of::<SmallMatrix>() as u64],
            name: format!(
                "orthogonalizing a matrix of {} × {} elements",
                matrix.rows, matrix.columns
            ),
        });
        let text = || rounds_shader(side, steps, coefficients);
        let mut source = None;
        for batch in cut? {
            let source = source.get_or_insert_with(|| ShaderSource::new(text(), "orthogonalize"));
            let window = &batch.windows[0];
            let first = MATRIX_ENCODING.elements(window.start);
            let row = |matrix: &Matrix| {
                let [row, column] = matrix.wide_strides();
                SmallMatrix {
                    first: (matrix.start - first) as u32,
                    row,
                    column,
                    rows: matrix.side(),
                    columns: matrix.rows.max(matrix.columns),
                }
            };
            let rows: Vec<_> = batch.items.iter().map(row).collect();
            let what = "the bindings of Newton–Schulz over small matrices";
            let table = device.guarded(what, || {
                let storage = wgpu::BufferUsages::STORAGE;
                filled_buffer(
                    device,
                    "small matrices",
                    storage,
                    bytemuck::cast_slice(&rows),
                )
            })??;
            let entries = [entry(0, x, window.start, length(window)), whole(1, &table)];
            let grid = fold(rows.len().div_ceil(in_workgroup) as u64, limits);
            dispatches.push(Unbound::new(source, what, "Newton–Schulz", &entries, grid));
        }
    }
    Ok(dispatches)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shader::assert_laid_out_as;

    #[test]
    fn tables_lie_as_the_shader_reads_them() {
        let text = &rounds_shader(16, 5, [3.4445, -4.7750, 2.0315]);
        assert_laid_out_as!(SmallMatrix, text, "SmallMatrix", first row column rows columns);
    }
}
