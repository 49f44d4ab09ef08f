use rand::{RngExt, SeedableRng};

use super::*;
use crate::{
    BufferRange, Gpu, GpuOptions,
    gpu::{
        answers::Answers,
        dispatch::Dispatch,
        matrix::yardstick::{self, Planned, Yardstick},
        unbound::bind_all,
    },
    matrix, read_blocking,
    shader::assert_laid_out_as,
};

const MUON: [f64; 3] = [3.4445, -4.7750, 2.0315];

const TINY: DispatchLimits = DispatchLimits {
    binding_bytes: 16 * 1024,
    offset_alignment: 256,
    workgroups_per_dimension: 3,
};

fn gpu() -> Gpu {
    Gpu::open_blocking(&GpuOptions::default()).unwrap()
}

/// Matrices one after another. Each starts at a multiple of 64, with a gap before it.
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

/// Matrices of norm one, with NaN around them.
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
    device: &OwningDevice,
    limits: &DispatchLimits,
    x: &wgpu::Buffer,
    matrices: &[Matrix],
    steps: u32,
) -> Result<Vec<Dispatch>, Error> {
    let answers = Answers::default();
    let planned = orthogonalize(&answers.on(device), limits, x, matrices, steps, MUON);
    bind_all(device, planned?)
}

fn uploaded(device: &OwningDevice, x: &[f32]) -> wgpu::Buffer {
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
    filled_buffer(device, "x", usage, bytemuck::cast_slice(x)).unwrap()
}

fn run(gpu: &Gpu, dispatches: &[Dispatch]) {
    yardstick::run(gpu, |pass| {
        dispatches.iter().for_each(|dispatch| dispatch.record(pass));
    });
}

/// The largest difference from the f64 twin. Everything outside the matrices must be untouched.
fn error(gpu: &Gpu, limits: &DispatchLimits, shapes: &[[u32; 2]], steps: u32) -> f64 {
    let matrices = laid_out(shapes);
    let x = filled(&matrices);
    let device = OwningDevice::new(&gpu.device);
    let buffer = uploaded(&device, &x);
    let dispatches = made(&device, limits, &buffer, &matrices, steps).unwrap();
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

/// Every combination of `sizes`: wide, tall and square.
fn shapes(sizes: &[u32]) -> Vec<[u32; 2]> {
    let pairs = sizes
        .iter()
        .flat_map(|rows| sizes.iter().map(|columns| [*rows, *columns]));
    pairs.collect()
}

/// Error allowed to five steps in f32. The largest seen is a tenth of it.
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

/// Mesa's software drivers leave the shader's loops beyond about 260 000 columns.
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
        let device = OwningDevice::new(&gpu.device);
        let x = uploaded(&device, &filled(&matrices));
        made(&device, &limits, &x, &matrices, steps).unwrap().len()
    };
    assert_eq!(count(&[[16, 16]; 100], 5), 1);
    assert_eq!(count(&[[70, 16]; 100], 4), 12);
    assert_eq!(count(&[[70, 16]; 100], 5), 16);
    assert_eq!(count(&[[16, 16], [90, 80], [4, 4], [80, 90]], 5), 17);
    assert_eq!(count(&[[32, 3], [16, 7], [33, 7], [7, 33]], 5), 18);
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
    // The smaller matrix is in a batch of its own.
    let span = 640 + 64 + 4000;
    assert_eq!(scratch_bytes(&limits, &matrices), Ok(4 * (span + 2 * 1600)));
    assert_eq!(scratch_bytes(&limits, &[]), Ok(0));
}

#[test]
fn tables_lie_as_the_shader_reads_them() {
    let text = &multiply_shader(TileSize::Small);
    assert_laid_out_as!(
        Product, text, "Product",
        left right result rows columns inner product addend symmetric padding
    );
    assert_laid_out_as!(ProductTile, text, "ProductTile", product row column padding);
}

/// The trainer's products of the sizes of one round's. It takes a dispatch for each.
fn by_trainer(
    gpu: &Gpu,
    device: &OwningDevice,
    x: &wgpu::Buffer,
    matrices: &[Matrix],
) -> Vec<Planned> {
    let yardstick = Yardstick::new(gpu);
    let storage = wgpu::BufferUsages::STORAGE;
    let side = u64::from(matrices.iter().map(Matrix::side).max().unwrap());
    let square = MATRIX_ENCODING.bytes(side * side);
    let made = |size| zeroed_buffer(device, "a product", storage, size).unwrap();
    let [gram, polynomial, next] = [square, square, x.size()].map(made);
    let mut planned = Vec::new();
    for matrix in matrices {
        let (side, length) = (matrix.side(), matrix.rows.max(matrix.columns));
        let is_wide = matrix.rows <= matrix.columns;
        fn part(buffer: &wgpu::Buffer, bytes: Range<u64>) -> wgpu::BufferBinding<'_> {
            wgpu::BufferBinding {
                buffer,
                offset: bytes.start,
                size: wgpu::BufferSize::new(bytes.end - bytes.start),
            }
        }
        let square = || 0..MATRIX_ENCODING.bytes(u64::from(side * side));
        let seen = || part(x, matrix.bytes());
        let of_squares = |left, right, result| yardstick::Product {
            rows: side,
            columns: side,
            inner: side,
            left: part(left, square()),
            is_left_transposed: false,
            right: part(right, square()),
            is_right_transposed: false,
            result: part(result, square()),
        };
        let grams = yardstick::Product {
            inner: length,
            left: seen(),
            is_left_transposed: !is_wide,
            right: seen(),
            is_right_transposed: is_wide,
            ..of_squares(&gram, &gram, &gram)
        };
        let squares = of_squares(&gram, &gram, &polynomial);
        let moved = yardstick::Product {
            result: part(&next, matrix.bytes()),
            ..of_squares(&polynomial, &polynomial, &next)
        };
        let moved = match is_wide {
            true => yardstick::Product {
                columns: length,
                right: seen(),
                ..moved
            },
            false => yardstick::Product {
                rows: length,
                left: seen(),
                ..moved
            },
        };
        let products = [grams, squares, moved];
        planned.extend(products.map(|product| yardstick.plan(device, product)));
    }
    planned
}

/// Five rounds of Muon's, beside the trainer's products and the twin.
#[test]
#[ignore = "a measurement"]
fn throughput() {
    let gpu = gpu();
    let limits = DispatchLimits::of(&gpu.device.limits());
    let large = yardstick::Large::new(&gpu);
    println!(
        "{}; GFLOP/s, and per cent of the trainer's product at 1024², in turns with it",
        gpu.info.name
    );
    println!(
        "{:14} {:>12} {:>17} {:>11}",
        "", "Muon", "the trainer", "twin, f32"
    );
    for (what, shape, count) in [
        ("1000 × 8²", [8, 8], 1000),
        ("1000 × 16²", [16, 16], 1000),
        ("1000 × 16×33", [16, 33], 1000),
        ("300 × 32²", [32, 32], 300),
        ("100 × 48²", [48, 48], 100),
        ("100 × 64²", [64, 64], 100),
        ("2048 × 256", [2048, 256], 1),
        ("256 × 2048", [256, 2048], 1),
        ("1024²", [1024, 1024], 1),
    ] {
        let matrices = laid_out(&vec![shape; count]);
        let x = filled(&matrices);
        let device = OwningDevice::new(&gpu.device);
        let buffer = uploaded(&device, &x);
        let dispatches = made(&device, &limits, &buffer, &matrices, 5).unwrap();
        let planned = by_trainer(&gpu, &device, &uploaded(&device, &x), &matrices);
        let single = std::cell::RefCell::new(x.clone());
        let rounds = if count == 1 { 3 } else { 10 };
        let seconds = yardstick::fastest(
            &gpu,
            rounds,
            [
                &|gpu| large.run(gpu),
                &|gpu| run(gpu, &dispatches),
                &|gpu| {
                    yardstick::run(gpu, |pass| {
                        for planned in [&planned; 5].into_iter().flatten() {
                            planned.record(pass);
                        }
                    })
                },
                &|_| {
                    let mut single = single.borrow_mut();
                    single.copy_from_slice(&x);
                    for matrix in &matrices {
                        let (rows, columns) = (matrix.rows as usize, matrix.columns as usize);
                        let x = &mut single[elements(matrix)];
                        matrix::orthogonalize(x, rows, columns, 5, MUON);
                    }
                },
            ],
        );
        let flops = |matrix: &Matrix| {
            let [m, n] = [matrix.side(), matrix.rows.max(matrix.columns)].map(f64::from);
            5.0 * 2.0 * (2.0 * m * m * n + m * m * m)
        };
        let flops: f64 = matrices.iter().map(flops).sum();
        let [of_large, muon, one_by_one, twin] = seconds;
        let speed = |seconds| flops / seconds;
        let percent = |seconds| 100.0 * speed(seconds) * of_large / yardstick::Large::FLOPS;
        println!(
            "{what:14} {:5.1} {:4.0} % {:10.2} {:4.0} % {:11.1}",
            1e-9 * speed(muon),
            percent(muon),
            1e-9 * speed(one_by_one),
            percent(one_by_one),
            1e-9 * speed(twin)
        );
    }
}
