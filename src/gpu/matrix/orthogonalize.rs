//! Newton–Schulz for all matrices of a group. This is the host side of
//! `shaders/matrix/multiply.wgsl`. The CPU twin is `src/matrix/orthogonalize.rs`.

use std::{ops::Range, sync::Arc};

use bytemuck::{Pod, Zeroable};

use super::{
    batches::{Batch, Needs, batches},
    rounds::{is_small, rounds},
};
use crate::{
    Error,
    gpu::{
        answers::GuardedDevice,
        binding::{entry, filled_buffer, whole, zeroed_buffer},
        owning::OwningDevice,
        source::ShaderSource,
        unbound::Unbound,
    },
    matrix::{MATRIX_ENCODING, TileSize, multiply_shader},
    plan::{DispatchLimits, fold},
};

/// A row-major matrix among the group's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Matrix {
    /// First element, a multiple of 64.
    pub start: u64,
    pub rows: u32,
    pub columns: u32,
}

impl Matrix {
    /// Rows (and columns) of `X Xᵀ`, where X is in the wide form.
    pub fn side(&self) -> u32 {
        self.rows.min(self.columns)
    }

    /// The distances from one row and from one column to the next, in the wide form.
    pub fn wide_strides(&self) -> [u32; 2] {
        match self.rows <= self.columns {
            true => [self.columns, 1],
            false => [1, self.columns],
        }
    }

    pub fn bytes(&self) -> Range<u64> {
        let count = u64::from(self.rows) * u64::from(self.columns);
        MATRIX_ENCODING.bytes(self.start)..MATRIX_ENCODING.bytes(self.start + count)
    }
}

/// WGSL's `Product`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Product {
    left: [u32; 3],
    right: [u32; 3],
    result: [u32; 3],
    rows: u32,
    columns: u32,
    inner: u32,
    product: f32,
    addend: f32,
    symmetric: u32,
    padding: u32,
}

/// WGSL's `ProductTile`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ProductTile {
    product: u32,
    row: u32,
    column: u32,
    padding: u32,
}

/// The bindings, for errors.
const WHAT: &str = "the bindings of Newton–Schulz";

/// Products that one round takes of each matrix: `A = X Xᵀ`, `B = b A + c A²`, `X ← a X + B X`.
const STAGES: usize = 3;

/// Matrices that share a tile size. They bind a window of X, and scratch for `X Xᵀ` and for the
/// table of products.
type MatrixBatch = Batch<Matrix, 1, 2>;

/// All matrices but the small ones, in batches.
struct MatrixBatches {
    batches: Vec<(TileSize, MatrixBatch)>,
    /// The bytes of X that the matrices span. A second buffer mirrors them.
    span: Range<u64>,
    /// Size of each of two buffers. All batches use them, one after another.
    square_bytes: u64,
}

impl MatrixBatches {
    fn new(limits: &DispatchLimits, matrices: &[Matrix]) -> Result<Self, Error> {
        let mut planned = Vec::new();
        for size in TileSize::ALL {
            let is_of_size =
                |matrix: &Matrix| !is_small(matrix) && TileSize::holding(matrix.side()) == size;
            let of_size = matrices.iter().copied().filter(is_of_size);
            let cut = batches(of_size, limits, |matrix| {
                let square = u64::from(matrix.side());
                Needs {
                    ranges: [matrix.bytes()],
                    sizes: [
                        MATRIX_ENCODING.bytes(square * square),
                        (STAGES * size_of::<Product>()) as u64,
                    ],
                    name: format!(
                        "orthogonalizing a matrix of {} × {} elements",
                        matrix.rows, matrix.columns
                    ),
                }
            });
            planned.extend(cut?.into_iter().map(|batch| (size, batch)));
        }
        let windows = || planned.iter().map(|(_, batch)| &batch.windows[0]);
        let start = windows().map(|window| window.start).min();
        let end = windows().map(|window| window.end).max();
        let square_bytes = planned.iter().map(|(_, batch)| batch.sizes[0]).max();
        Ok(Self {
            span: start.unwrap_or(0)..end.unwrap_or(0),
            square_bytes: square_bytes.unwrap_or(0),
            batches: planned,
        })
    }
}

/// Bytes of the scratch buffers that [`orthogonalize`] makes. Its tables are not counted.
#[cfg(test)]
pub(super) fn scratch_bytes(limits: &DispatchLimits, matrices: &[Matrix]) -> Result<u64, Error> {
    let work = MatrixBatches::new(limits, matrices)?;
    Ok(work.span.end - work.span.start + 2 * work.square_bytes)
}

/// The dispatches that replace each of `matrices` in `x` by the result of `steps` rounds of
/// Newton–Schulz. Each matrix must already be divided by its norm.
///
/// # Errors
/// [`Error::Limit`] for a matrix that does not fit a binding; [`Error::OutOfMemory`].
pub(super) fn orthogonalize(
    device: &GuardedDevice<'_>,
    limits: &DispatchLimits,
    x: &wgpu::Buffer,
    matrices: &[Matrix],
    steps: u32,
    coefficients: [f64; 3],
) -> Result<Vec<Unbound>, Error> {
    let work = MatrixBatches::new(limits, matrices)?;
    let mut dispatches = rounds(device, limits, x, matrices, steps, coefficients)?;
    if work.batches.is_empty() || steps == 0 {
        return Ok(dispatches);
    }
    let scratch = device.guarded("the scratch memory of Newton–Schulz", || {
        let make = |label, size| zeroed_buffer(device, label, wgpu::BufferUsages::STORAGE, size);
        Ok::<_, Error>([
            make("the next X", work.span.end - work.span.start)?,
            make("X Xᵀ", work.square_bytes)?,
            make("the polynomial in X Xᵀ", work.square_bytes)?,
        ])
    });
    let [next, gram, polynomial] = scratch??;
    for (size, batch) in &work.batches {
        let text = multiply_shader(*size);
        let sources = [
            ShaderSource::new(text.clone(), "multiply"),
            ShaderSource::new(text, "copy"),
        ];
        let tables = Tables::new(size.side(), batch, coefficients);
        let made = device.guarded(WHAT, || {
            let window = &batch.windows[0];
            let operands = Operands {
                x: Region::new(x, window, 0),
                next: Region::new(&next, window, work.span.start),
                gram: Region::new(&gram, &(0..batch.sizes[0]), 0),
                polynomial: Region::new(&polynomial, &(0..batch.sizes[0]), 0),
            };
            tables.dispatches(device, limits, &sources, &operands, steps)
        });
        dispatches.extend(made??);
    }
    Ok(dispatches)
}

/// A range of bytes of a buffer.
#[derive(Clone, Copy)]
struct Region<'a> {
    buffer: &'a wgpu::Buffer,
    offset: u64,
    size: u64,
}

impl<'a> Region<'a> {
    /// The bytes `window`, in a buffer that holds the bytes from `start` on.
    fn new(buffer: &'a wgpu::Buffer, window: &Range<u64>, start: u64) -> Self {
        Self {
            buffer,
            offset: window.start - start,
            size: window.end - window.start,
        }
    }

    fn entry(&self, binding: u32) -> wgpu::BindGroupEntry<'a> {
        entry(binding, self.buffer, self.offset, self.size)
    }
}

/// The memory that a batch computes in.
struct Operands<'a> {
    x: Region<'a>,
    next: Region<'a>,
    gram: Region<'a>,
    polynomial: Region<'a>,
}

/// The tables that tell the workgroups of a batch what to do.
struct Tables {
    products: Vec<Product>,
    /// By stage.
    tiles: [Vec<ProductTile>; STAGES],
}

impl Tables {
    fn new(tile: u32, batch: &MatrixBatch, coefficients: [f64; 3]) -> Self {
        let [a, b, c] = coefficients.map(|x| x as f32);
        let mut products = Vec::new();
        let mut tiles = [const { Vec::new() }; STAGES];
        let mut square = 0;
        for matrix in &batch.items {
            let x = (matrix.start - MATRIX_ENCODING.elements(batch.windows[0].start)) as u32;
            let [row, column] = matrix.wide_strides();
            let (rows, columns) = (matrix.side(), matrix.rows.max(matrix.columns));
            let seen = [x, row, column];
            let of_square = [square, rows, 1];
            let gram = Product {
                left: seen,
                right: [x, column, row],
                result: of_square,
                rows,
                columns: rows,
                inner: columns,
                product: 1.0,
                addend: 0.0,
                symmetric: 1,
                padding: 0,
            };
            let polynomial = Product {
                left: of_square,
                right: of_square,
                inner: rows,
                product: c,
                addend: b,
                ..gram
            };
            let next = Product {
                left: of_square,
                right: seen,
                result: seen,
                columns,
                inner: rows,
                product: 1.0,
                addend: a,
                symmetric: 0,
                ..gram
            };
            for (product, tiles) in [gram, polynomial, next].into_iter().zip(&mut tiles) {
                tiles.extend(Self::tiles_of(tile, products.len() as u32, &product));
                products.push(product);
            }
            square += rows * rows;
        }
        Self { products, tiles }
    }

    fn tiles_of(tile: u32, index: u32, product: &Product) -> impl Iterator<Item = ProductTile> {
        let Product {
            rows,
            columns,
            symmetric,
            ..
        } = *product;
        let tile = tile as usize;
        (0..rows).step_by(tile).flat_map(move |row| {
            // A symmetric result needs only the tiles from the diagonal on.
            let first = if symmetric == 1 { row } else { 0 };
            (first..columns)
                .step_by(tile)
                .map(move |column| ProductTile {
                    product: index,
                    row,
                    column,
                    padding: 0,
                })
        })
    }

    fn dispatches(
        &self,
        device: &OwningDevice,
        limits: &DispatchLimits,
        [multiply, copy]: &[Arc<ShaderSource>; 2],
        operands: &Operands<'_>,
        steps: u32,
    ) -> Result<Vec<Unbound>, Error> {
        let storage = wgpu::BufferUsages::STORAGE;
        let contents = bytemuck::cast_slice(&self.products);
        let products = filled_buffer(device, "products", storage, contents)?;
        // This is one dispatch, unless there are more tiles than one dispatch may have workgroups.
        let widest = u64::from(limits.workgroups_per_dimension);
        let most = (widest * widest).min(limits.binding_bytes / size_of::<ProductTile>() as u64);
        let mut tables = [const { Vec::new() }; STAGES];
        for (tables, tiles) in tables.iter_mut().zip(&self.tiles) {
            for tiles in tiles.chunks(most as usize) {
                let contents = bytemuck::cast_slice(tiles);
                let table = filled_buffer(device, "tiles", storage, contents)?;
                tables.push((table, fold(tiles.len() as u64, limits)));
            }
        }
        let stage =
            |stage: usize, left: Option<Region<'_>>, right: Region<'_>, result: Region<'_>| {
                let source = if left.is_some() { multiply } else { copy };
                let dispatches = tables[stage].iter().map(|(tiles, grid)| {
                    let mut entries = vec![
                        right.entry(1),
                        result.entry(2),
                        whole(3, &products),
                        whole(4, tiles),
                    ];
                    entries.extend(left.map(|left| left.entry(0)));
                    Unbound::new(source, WHAT, "Newton–Schulz", &entries, *grid)
                });
                dispatches.collect::<Vec<_>>()
            };
        let Operands {
            x,
            next,
            gram,
            polynomial,
        } = *operands;
        let step = |from: Region<'_>, to: Region<'_>| {
            [
                stage(0, Some(from), from, gram),
                stage(1, Some(gram), gram, polynomial),
                stage(2, Some(polynomial), from, to),
            ]
            .concat()
        };
        let [there, back] = [step(x, next), step(next, x)];
        let mut dispatches = [there, back]
            .into_iter()
            .cycle()
            .take(steps as usize)
            .flatten()
            .collect::<Vec<_>>();
        if steps % 2 == 1 {
            dispatches.extend(stage(2, None, next, x));
        }
        Ok(dispatches)
    }
}

#[cfg(test)]
mod tests;
