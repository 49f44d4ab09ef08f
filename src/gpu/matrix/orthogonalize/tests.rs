use rand::{RngExt, SeedableRng};

use super::*;
use crate::{
    BufferRange, Gpu, GpuOptions,
    gpu::{answers::Answers, dispatch::Dispatch, unbound::bind_all},
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
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    dispatches
        .iter()
        .for_each(|dispatch| dispatch.record(&mut pass));
    drop(pass);
    gpu.queue.submit([encoder.finish()]);
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
        let device = OwningDevice::new(&gpu.device);
        let buffer = uploaded(&device, &x);
        let dispatches = made(&device, &limits, &buffer, &matrices, 5).unwrap();
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
