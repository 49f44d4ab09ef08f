use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use wgpu_optim::{Gpu, GpuOptions};

use super::*;
use crate::descent::gpu::{kernels, probe};

fn all() -> impl Iterator<Item = Box<dyn Function>> {
    names().map(|name| by_name(name).unwrap())
}

/// Points of the domain, as f32 holds them.
fn points(function: &dyn Function, count: usize) -> Vec<Point> {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut draw = |[least, most]: [f64; 2]| f64::from(random.random_range(least..most) as f32);
    let mut points = Vec::new();
    for _ in 0..count {
        let mut point = [0.0; 2];
        for (x, range) in point.iter_mut().zip(function.domain()) {
            *x = draw(*range);
        }
        points.push(point);
    }
    points
}

fn moved(p: Point, axis: usize, by: f64) -> Point {
    let mut moved = p;
    moved[axis] += by;
    moved
}

/// The slope of `at` through its values at ±H and ±2H, which misses by H⁴ alone.
fn slope(at: impl Fn(f64) -> f64) -> f64 {
    const H: f64 = 1e-3;
    (8.0 * (at(H) - at(-H)) - (at(2.0 * H) - at(-2.0 * H))) / (12.0 * H)
}

#[test]
fn every_derivative_agrees_with_central_differences() {
    for function in all() {
        for p in points(&*function, 200) {
            let found = function.derivatives(p);
            let check = |found: f64, truth: f64, what: &str| {
                let missed = (found - truth).abs() / truth.abs().max(1.0);
                assert!(missed < 1e-7, "{function:?} {what} at {p:?}: {missed:e}");
            };
            for axis in 0..function.dimensions() {
                let at = |by| function.derivatives(moved(p, axis, by));
                let truth = slope(|by| at(by).value);
                check(found.gradient[axis], truth, "gradient");
                for other in 0..function.dimensions() {
                    let truth = slope(|by| at(by).gradient[other]);
                    check(found.hessian[axis + other], truth, "Hessian");
                }
            }
        }
    }
}

#[test]
fn every_known_minimum_is_one_and_within_the_domain() {
    for function in all() {
        let minima = function.minima();
        for (index, minimum) in minima.iter().enumerate() {
            let found = function.derivatives(minimum.at);
            let [xx, xy, yy] = found.hessian;
            assert!(function.admits(minimum.at), "{function:?}: {minimum:?}");
            assert!((found.value - minimum.value).abs() < 1e-12, "{minimum:?}");
            let slope = found.gradient[0].hypot(found.gradient[1]);
            assert!(slope < 1e-10, "{function:?}: {minimum:?} has slope {slope}");
            let is_tip = function.name() == "ackley" && index == 0;
            let is_bowl = match function.dimensions() {
                1 => xx > 0.0,
                _ => xx > 0.0 && xx * yy > xy * xy,
            };
            assert!(is_bowl || is_tip, "{function:?}: {minimum:?}");
            for other in &minima[..index] {
                let [dx, dy] = [0, 1].map(|axis| minimum.at[axis] - other.at[axis]);
                assert!(dx.hypot(dy) > 0.1, "{function:?}: {minimum:?} twice");
            }
        }
    }
}

#[test]
fn minima_that_are_known_from_books_are_found() {
    let near = |name: &str, at: Point, value: f64| {
        let minima = by_name(name).unwrap().minima();
        let mut near = minima.iter().filter(|minimum| {
            let missed = [0, 1].map(|axis| (minimum.at[axis] - at[axis]).abs());
            missed[0].max(missed[1]) < 1e-6 && (minimum.value - value).abs() < 1e-5
        });
        assert!(near.next().is_some(), "{name} {at:?}: {minima:?}");
    };
    near("himmelblau", [3.0, 2.0], 0.0);
    near("himmelblau", [-2.805_118_1, 3.131_312_5], 0.0);
    near("himmelblau", [-3.779_310_3, -3.283_186_0], 0.0);
    near("himmelblau", [3.584_428_3, -1.848_126_5], 0.0);
    near("styblinski_tang", [-2.903_534_0; 2], -78.332_33);
    near("rastrigin", [0.0, 0.0], 0.0);
    near("ackley", [0.0, 0.0], 0.0);
    near("beale", [3.0, 0.5], 0.0);
    near("cosh", [0.0, 0.0], 1.0);
    // cot(πx) = πx
    near("local_minimum", [1.090_408_2, 0.0], -1.046_721);
    assert_eq!(by_name("rastrigin").unwrap().minima().len(), 121);
}

#[test]
fn every_start_is_within_the_domain() {
    for function in all() {
        assert!(function.admits(function.start()), "{function:?}");
        assert!(!function.admits([f64::NAN, 0.0]));
        assert_eq!(by_name(function.name()).unwrap().name(), function.name());
    }
}

#[test]
fn an_unknown_function_is_answered_with_those_there_are() {
    let error = by_name("rosenbrok").unwrap_err().to_string();
    assert!(
        error.contains("\"rosenbrok\"") && error.contains("rosenbrock, beale"),
        "{error}"
    );
}

/// Value, gradient and Hessian of `function` at `points`, as the device finds them.
fn on_device(gpu: &Gpu, function: &dyn Function, points: &[Point]) -> Vec<[f32; 6]> {
    const MAIN: &str = "
        @group(0) @binding(0) var<storage, read> points: array<vec2<f32>>;
        @group(0) @binding(1) var<storage, read_write> found: array<array<f32, 6>>;

        @compute @workgroup_size(1)
        fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            let d = derivatives(points[id.x]);
            found[id.x] = array(
                d.value, d.gradient.x, d.gradient.y, d.hessian.x, d.hessian.y, d.hessian.z);
        }";
    let derivatives = kernels::derivatives(function);
    let points: Vec<_> = points.iter().map(|p| p.map(|x| x as f32)).collect();
    let found = probe::run(
        gpu,
        &format!("{derivatives}\n{MAIN}"),
        &function.constants(),
        bytemuck::cast_slice(&points),
        6 * points.len(),
        points.len(),
    );
    found.as_chunks::<6>().0.to_vec()
}

/// What the shaders' f32 may miss f64 by, as a part of the largest number of that kind in the domain:
/// some 30 of its last digits, since large terms cancel.
const TOLERANCE: f64 = 4e-6;

#[test]
fn every_shader_agrees_with_its_twin() {
    let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
    for function in all() {
        let points = points(&*function, 500);
        let truth = points.iter().map(|&p| {
            let Derivatives {
                value,
                gradient: [x, y],
                hessian: [xx, xy, yy],
            } = function.derivatives(p);
            [value, x, y, xx, xy, yy]
        });
        let truth: Vec<[f64; 6]> = truth.collect();
        let found = on_device(&gpu, &*function, &points);
        for kind in 0..6 {
            let largest = truth.iter().map(|all| all[kind].abs()).fold(1.0, f64::max);
            for ((truth, found), p) in truth.iter().zip(&found).zip(&points) {
                let missed = (f64::from(found[kind]) - truth[kind]).abs() / largest;
                assert!(
                    missed < TOLERANCE,
                    "{function:?} {kind} at {p:?}: {missed:e}"
                );
            }
        }
    }
}
