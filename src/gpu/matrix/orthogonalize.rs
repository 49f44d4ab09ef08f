//! Newton–Schulz for all matrices of a group: the host side of `shaders/matrix/multiply.wgsl`. On the
//! CPU: `src/matrix/orthogonalize.rs`.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::batches::{Batch, Needs, batches};
use crate::{
    Error,
    buffer::guarded,
    gpu::{
        binding::{bind, entry, filled_buffer},
        dispatch::Dispatch,
        pipelines::Pipelines,
    },
    matrix::{TileSize, multiply_shader},
    plan::{DispatchLimits, fold},
};

/// A matrix in the group's elements, row-major.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Matrix {
    /// First element, a multiple of 64.
    pub start: u64,
    pub rows: u32,
    pub columns: u32,
}

impl Matrix {
    /// Rows and columns of `X Xᵀ` in the wide form.
    fn side(&self) -> u32 {
        self.rows.min(self.columns)
    }

    /// From one row to the next and from one column to the next, in the wide form.
    fn wide_strides(&self) -> [u32; 2] {
        match self.rows <= self.columns {
            true => [self.columns, 1],
            false => [1, self.columns],
        }
    }

    fn bytes(&self) -> Range<u64> {
        let count = u64::from(self.rows) * u64::from(self.columns);
        4 * self.start..4 * (self.start + count)
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

/// WGSL's `Tile`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Tile {
    product: u32,
    row: u32,
    column: u32,
    padding: u32,
}

/// Products that one step takes of each matrix: `A = X Xᵀ`, `B = b A + c A²`, `X ← a X + B X`.
const STAGES: usize = 3;

/// Matrices of one size of tile with what they bind of x, of `X Xᵀ` and of the table of products.
type Products = Batch<Matrix, 1, 2>;

/// What there is to do.
struct Plan {
    batches: Vec<(TileSize, Products)>,
    /// Of x, mirrored in a second buffer.
    span: Range<u64>,
    /// Of each of two buffers that all batches use in turn.
    square_bytes: u64,
}

impl Plan {
    fn new(limits: &DispatchLimits, matrices: &[Matrix]) -> Result<Self, Error> {
        let mut planned = Vec::new();
        for size in [TileSize::Small, TileSize::Large] {
            // A matrix that does not fill a small tile would leave most of a large one idle.
            let of_size = matrices.iter().copied().filter(|matrix| {
                (matrix.side() <= TileSize::Small.side()) == (size == TileSize::Small)
            });
            let cut = batches(of_size, limits, |matrix| {
                let square = u64::from(matrix.side());
                Needs {
                    ranges: [matrix.bytes()],
                    sizes: [4 * square * square, (STAGES * size_of::<Product>()) as u64],
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

/// Bytes of the buffers that [`orthogonalize`] makes to compute in; its tables come on top.
#[cfg(test)]
pub(super) fn scratch_bytes(limits: &DispatchLimits, matrices: &[Matrix]) -> Result<u64, Error> {
    let plan = Plan::new(limits, matrices)?;
    Ok(plan.span.end - plan.span.start + 2 * plan.square_bytes)
}

/// What replaces each of `matrices` in `x` by `steps` rounds of Newton–Schulz. They arrive divided by
/// their norms.
///
/// # Errors
/// [`Error::Limit`] for a matrix that does not fit a binding; [`Error::OutOfMemory`].
pub(super) async fn orthogonalize(
    device: &wgpu::Device,
    pipelines: &mut Pipelines,
    limits: &DispatchLimits,
    x: &wgpu::Buffer,
    matrices: &[Matrix],
    steps: u32,
    coefficients: [f64; 3],
) -> Result<Vec<Dispatch>, Error> {
    let plan = Plan::new(limits, matrices)?;
    let mut dispatches = Vec::new();
    if plan.batches.is_empty() || steps == 0 {
        return Ok(dispatches);
    }
    let scratch = guarded(device, "the scratch memory of Newton–Schulz", || {
        let make = |label, size| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size,
                usage: wgpu::BufferUsages::STORAGE,
                mapped_at_creation: false,
            })
        };
        [
            make("the next X", plan.span.end - plan.span.start),
            make("X Xᵀ", plan.square_bytes),
            make("the polynomial in X Xᵀ", plan.square_bytes),
        ]
    });
    let [next, gram, polynomial] = scratch.await?;
    for (size, batch) in &plan.batches {
        let text = multiply_shader(*size);
        let multiply = pipelines.compile(device, text, "multiply").await?;
        let copy = pipelines.compile(device, text, "copy").await?;
        let tables = Tables::new(size.side(), batch, coefficients);
        let made = guarded(device, "the bindings of Newton–Schulz", || {
            let window = &batch.windows[0];
            let bound = Bound {
                x: Part::new(x, window, 0),
                next: Part::new(&next, window, plan.span.start),
                gram: Part::new(&gram, &(0..batch.sizes[0]), 0),
                polynomial: Part::new(&polynomial, &(0..batch.sizes[0]), 0),
            };
            tables.dispatches(device, limits, [&multiply, &copy], &bound, steps)
        });
        dispatches.extend(made.await??);
    }
    Ok(dispatches)
}

/// A part of a buffer.
#[derive(Clone, Copy)]
struct Part<'a> {
    buffer: &'a wgpu::Buffer,
    offset: u64,
    size: u64,
}

impl<'a> Part<'a> {
    /// Bytes `window` of a buffer that holds those from `start` on.
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

/// What a batch computes in.
struct Bound<'a> {
    x: Part<'a>,
    next: Part<'a>,
    gram: Part<'a>,
    polynomial: Part<'a>,
}

/// What the workgroups of a batch do.
struct Tables {
    products: Vec<Product>,
    /// By stage.
    tiles: [Vec<Tile>; STAGES],
}

impl Tables {
    fn new(tile: u32, batch: &Products, coefficients: [f64; 3]) -> Self {
        let [a, b, c] = coefficients.map(|x| x as f32);
        let mut products = Vec::new();
        let mut tiles = [const { Vec::new() }; STAGES];
        let mut square = 0;
        for matrix in &batch.items {
            let x = (matrix.start - batch.windows[0].start / 4) as u32;
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

    fn tiles_of(tile: u32, index: u32, product: &Product) -> impl Iterator<Item = Tile> {
        let Product {
            rows,
            columns,
            symmetric,
            ..
        } = *product;
        let tile = tile as usize;
        (0..rows).step_by(tile).flat_map(move |row| {
            // Of a symmetric result, those from the diagonal on.
            let first = if symmetric == 1 { row } else { 0 };
            (first..columns).step_by(tile).map(move |column| Tile {
                product: index,
                row,
                column,
                padding: 0,
            })
        })
    }

    fn dispatches(
        &self,
        device: &wgpu::Device,
        limits: &DispatchLimits,
        [multiply, copy]: [&wgpu::ComputePipeline; 2],
        bound: &Bound<'_>,
        steps: u32,
    ) -> Result<Vec<Dispatch>, Error> {
        let storage = wgpu::BufferUsages::STORAGE;
        let contents = bytemuck::cast_slice(&self.products);
        let products = filled_buffer(device, "products", storage, contents)?;
        // One dispatch, unless there are more tiles than one can have.
        let widest = u64::from(limits.workgroups_per_dimension);
        let most = (widest * widest).min(limits.binding_bytes / size_of::<Tile>() as u64);
        let mut tables = [const { Vec::new() }; STAGES];
        for (tables, tiles) in tables.iter_mut().zip(&self.tiles) {
            for tiles in tiles.chunks(most as usize) {
                let contents = bytemuck::cast_slice(tiles);
                let table = filled_buffer(device, "tiles", storage, contents)?;
                tables.push((table, fold(tiles.len() as u64, limits)));
            }
        }
        let stage = |stage: usize, left: Option<Part<'_>>, right: Part<'_>, result: Part<'_>| {
            let pipeline = if left.is_some() { multiply } else { copy };
            let dispatches = tables[stage].iter().map(|(tiles, grid)| {
                let mut entries = vec![
                    right.entry(1),
                    result.entry(2),
                    entry(3, &products, 0, products.size()),
                    entry(4, tiles, 0, tiles.size()),
                ];
                entries.extend(left.map(|left| left.entry(0)));
                Dispatch {
                    bind_group: bind(device, pipeline, "Newton–Schulz", &entries),
                    pipeline: pipeline.clone(),
                    grid: *grid,
                    switched: None,
                }
            });
            dispatches.collect::<Vec<_>>()
        };
        let Bound {
            x,
            next,
            gram,
            polynomial,
        } = *bound;
        let step = |from: Part<'_>, to: Part<'_>| {
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
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::{BufferRange, Gpu, GpuOptions, matrix, read_blocking, shader::assert_laid_out_as};

    const MUON: [f64; 3] = [3.4445, -4.7750, 2.0315];

    const TINY: DispatchLimits = DispatchLimits {
        binding_bytes: 16 * 1024,
        offset_alignment: 256,
        workgroups_per_dimension: 3,
    };

    fn gpu() -> Gpu {
        Gpu::open_blocking(&GpuOptions::default()).unwrap()
    }

    /// Matrices one after the other, at multiples of 64 with some room between.
    fn laid_out(shapes: &[[u32; 2]]) -> Vec<Matrix> {
        let mut start = 128;
        let place = |&[rows, columns]: &[u32; 2]| {
            let matrix = Matrix {
                start,
                rows,
                columns,
            };
            start = (start + u64::from(rows * columns)).next_multiple_of(64) + 64;
            matrix
        };
        shapes.iter().map(place).collect()
    }

    fn elements(matrix: &Matrix) -> Range<usize> {
        let bytes = matrix.bytes();
        bytes.start as usize / 4..bytes.end as usize / 4
    }

    /// Matrices of norm one, and NaN around them.
    fn filled(matrices: &[Matrix]) -> Vec<f32> {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let end = elements(matrices.last().unwrap()).end;
        let mut x = vec![f32::NAN; end.next_multiple_of(64) + 1024];
        for matrix in matrices {
            let elements = &mut x[elements(matrix)];
            elements.fill_with(|| random.random_range(-1.0..1.0));
            let norm = elements.iter().map(|x| x * x).sum::<f32>().sqrt();
            elements.iter_mut().for_each(|x| *x /= norm);
        }
        x
    }

    fn made(
        gpu: &Gpu,
        limits: &DispatchLimits,
        x: &wgpu::Buffer,
        matrices: &[Matrix],
        steps: u32,
    ) -> Result<Vec<Dispatch>, Error> {
        let pipelines = &mut Pipelines::default();
        let made = orthogonalize(&gpu.device, pipelines, limits, x, matrices, steps, MUON);
        pollster::block_on(made)
    }

    fn uploaded(gpu: &Gpu, x: &[f32]) -> wgpu::Buffer {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
        filled_buffer(&gpu.device, "x", usage, bytemuck::cast_slice(x)).unwrap()
    }

    fn run(gpu: &Gpu, dispatches: &[Dispatch]) {
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        dispatches
            .iter()
            .for_each(|dispatch| dispatch.record(&mut pass));
        drop(pass);
        gpu.queue.submit([encoder.finish()]);
    }

    /// Largest difference from the twin in f64, after all else is found untouched.
    fn error(gpu: &Gpu, limits: &DispatchLimits, shapes: &[[u32; 2]], steps: u32) -> f64 {
        let matrices = laid_out(shapes);
        let x = filled(&matrices);
        let buffer = uploaded(gpu, &x);
        let dispatches = made(gpu, limits, &buffer, &matrices, steps).unwrap();
        for dispatch in &dispatches {
            assert!(
                dispatch
                    .grid
                    .iter()
                    .all(|n| *n <= limits.workgroups_per_dimension)
            );
        }
        run(gpu, &dispatches);
        let found = read_blocking(&gpu.device, &gpu.queue, &BufferRange::whole(&buffer)).unwrap();
        let mut inside = vec![false; x.len()];
        let mut worst = 0.0f64;
        for matrix in &matrices {
            inside[elements(matrix)].fill(true);
            let mut expected: Vec<_> = x[elements(matrix)].iter().map(|x| f64::from(*x)).collect();
            let (rows, columns) = (matrix.rows as usize, matrix.columns as usize);
            matrix::orthogonalize(&mut expected, rows, columns, steps, MUON);
            for (expected, found) in expected.iter().zip(&found[elements(matrix)]) {
                let difference = (expected - f64::from(*found)).abs();
                assert!(difference < 1e-3, "{matrix:?}: {expected} {found}");
                worst = worst.max(difference);
            }
        }
        let outside = found.iter().zip(&inside).filter(|(_, inside)| !**inside);
        assert!(outside.clone().count() > 0);
        assert!(
            outside.into_iter().all(|(x, _)| x.is_nan()),
            "a gap was written"
        );
        worst
    }

    /// Around the edges of tiles and slices, wide, tall and square.
    fn shapes(sizes: &[u32]) -> Vec<[u32; 2]> {
        let pairs = sizes
            .iter()
            .flat_map(|rows| sizes.iter().map(|columns| [*rows, *columns]));
        pairs.collect()
    }

    /// What f32 makes of five steps; the largest differences seen are a tenth of it.
    const TOLERANCE: f64 = 1e-5;

    #[test]
    fn every_shape_is_orthogonalized_as_by_the_twin() {
        let gpu = gpu();
        let limits = DispatchLimits::of(&gpu.device.limits());
        let mut shapes = shapes(&[1, 2, 3, 7, 16, 17, 31, 32, 33, 63, 64, 65, 127, 130]);
        shapes.push([300, 200]);
        shapes.push([200, 300]);
        shapes.push([1, 100_000]);
        shapes.push([1, 200_000]);
        shapes.push([3000, 2]);
        for steps in [0, 1, 2, 5] {
            let worst = error(&gpu, &limits, &shapes, steps);
            println!("{steps} steps: off by {worst:.1e}");
            assert!(worst < TOLERANCE, "{steps} steps: {worst}");
        }
    }

    /// Beyond about 260 000 columns, Mesa's software drivers end the loops of the shader.
    #[test]
    fn matrices_of_a_quarter_million_columns_are_orthogonalized_too() {
        let gpu = gpu();
        let limits = DispatchLimits::of(&gpu.device.limits());
        let worst = error(&gpu, &limits, &[[33, 250_000], [250_000, 2]], 1);
        assert!(worst < TOLERANCE, "{worst}");
    }

    #[test]
    fn neither_batches_nor_folded_grids_change_anything() {
        let gpu = gpu();
        let mut shapes = shapes(&[1, 5, 16, 33, 48, 64]);
        let worst = error(&gpu, &TINY, &shapes, 5);
        assert!(worst < TOLERANCE, "{worst}");
        shapes.push([300, 200]);
        shapes.push([130, 257]);
        let narrow = DispatchLimits {
            binding_bytes: 512 * 1024,
            ..TINY
        };
        let worst = error(&gpu, &narrow, &shapes, 5);
        assert!(worst < TOLERANCE, "{worst}");
    }

    #[test]
    fn the_number_of_matrices_does_not_change_that_of_dispatches() {
        let gpu = gpu();
        let limits = DispatchLimits::of(&gpu.device.limits());
        let count = |shapes: &[[u32; 2]], steps| {
            let matrices = laid_out(shapes);
            let x = uploaded(&gpu, &filled(&matrices));
            made(&gpu, &limits, &x, &matrices, steps).unwrap().len()
        };
        assert_eq!(count(&[[16, 16]; 100], 5), 16);
        assert_eq!(count(&[[70, 16]; 100], 4), 12);
        assert_eq!(count(&[[16, 16], [90, 80], [4, 4], [80, 90]], 5), 32);
    }

    #[test]
    fn a_matrix_that_cannot_be_bound_is_refused() {
        let matrices = laid_out(&[[8, 8], [70, 80]]);
        let error = scratch_bytes(&TINY, &matrices).unwrap_err();
        let Error::Limit { what, needed, .. } = error else {
            panic!("{error}");
        };
        assert!(what.contains("70 × 80"), "{what}");
        assert_eq!(needed, 4 * 70 * 80);
    }

    #[test]
    fn scratch_is_a_second_x_and_two_squares() {
        let matrices = laid_out(&[[10, 64], [100, 40]]);
        let limits = DispatchLimits {
            binding_bytes: 1 << 20,
            ..TINY
        };
        // The smaller one has a batch of its own.
        let span = 640 + 64 + 4000;
        assert_eq!(scratch_bytes(&limits, &matrices), Ok(4 * (span + 2 * 1600)));
        assert_eq!(scratch_bytes(&limits, &[]), Ok(0));
    }

    #[test]
    fn tables_lie_as_the_shader_reads_them() {
        let text = multiply_shader(TileSize::Small);
        assert_laid_out_as!(
            Product, text, "Product",
            left right result rows columns inner product addend symmetric padding
        );
        assert_laid_out_as!(Tile, text, "Tile", product row column padding);
    }

    #[test]
    #[ignore = "a measurement"]
    fn throughput() {
        let gpu = gpu();
        println!("{}", gpu.info.name);
        let limits = DispatchLimits::of(&gpu.device.limits());
        for (what, shapes) in [
            ("1024²", vec![[1024, 1024]]),
            ("256 × 2048", vec![[256, 2048]]),
            ("2048 × 256", vec![[2048, 256]]),
            ("1000 × 16²", vec![[16, 16]; 1000]),
            ("100 × 64²", vec![[64, 64]; 100]),
            ("100 × 48²", vec![[48, 48]; 100]),
        ] {
            let matrices = laid_out(&shapes);
            let x = filled(&matrices);
            let buffer = uploaded(&gpu, &x);
            let dispatches = made(&gpu, &limits, &buffer, &matrices, 5).unwrap();
            run(&gpu, &dispatches);
            let range = BufferRange {
                size: 4,
                ..BufferRange::whole(&buffer)
            };
            read_blocking(&gpu.device, &gpu.queue, &range).unwrap();
            let mut best = f64::INFINITY;
            for _ in 0..3 {
                let start = std::time::Instant::now();
                run(&gpu, &dispatches);
                read_blocking(&gpu.device, &gpu.queue, &range).unwrap();
                best = best.min(start.elapsed().as_secs_f64());
            }
            let flops: f64 = matrices
                .iter()
                .map(|matrix| {
                    let [m, n] = [matrix.side(), matrix.rows.max(matrix.columns)].map(f64::from);
                    5.0 * 2.0 * (2.0 * m * m * n + m * m * m)
                })
                .sum();
            let start = std::time::Instant::now();
            let mut single = x.clone();
            for matrix in &matrices {
                let (rows, columns) = (matrix.rows as usize, matrix.columns as usize);
                matrix::orthogonalize(&mut single[elements(matrix)], rows, columns, 5, MUON);
            }
            let cpu = start.elapsed().as_secs_f64();
            println!(
                "{what}: {:.2} ms, {:.1} GFLOP/s; twin in f32 {:.2} ms, {:.1} GFLOP/s",
                1e3 * best,
                1e-9 * flops / best,
                1e3 * cpu,
                1e-9 * flops / cpu
            );
        }
    }
}
