use rand::{RngExt, SeedableRng};

use super::*;
use crate::{
    BufferRange, Gpu, GpuOptions,
    gpu::{
        answers::Answers, dispatch::Dispatch, matrix::yardstick, owning::OwningDevice,
        unbound::bind_all,
    },
    matrix, read_blocking,
    shader::assert_laid_out_as,
};

const TINY: DispatchLimits = DispatchLimits {
    binding_bytes: 16 * 1024,
    offset_alignment: 256,
    workgroups_per_dimension: 3,
};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Definite,
    Zero,
    Rank1,
    Indefinite,
    NanInHessian,
    InfinityInGradient,
    NanAboveDiagonal,
    TooLarge,
    TooNegative,
}

use Kind::*;

const KINDS: [Kind; 9] = [
    Definite,
    Zero,
    Rank1,
    Indefinite,
    NanInHessian,
    InfinityInGradient,
    NanAboveDiagonal,
    TooLarge,
    TooNegative,
];

/// Systems and their numbers in f32, with NaN in the gaps.
struct Bench {
    systems: Vec<DenseSystem>,
    kinds: Vec<Kind>,
    hessians: Vec<f32>,
    steps: Vec<f32>,
}

impl Bench {
    fn new(wanted: &[(u32, Kind)]) -> Self {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(2);
        let mut bench = Self {
            systems: Vec::new(),
            kinds: Vec::new(),
            hessians: vec![f32::NAN; 5],
            steps: vec![f32::NAN; 64],
        };
        for &(count, kind) in wanted {
            bench.systems.push(DenseSystem {
                hessian: bench.hessians.len() as u64,
                start: bench.steps.len() as u64,
                count,
            });
            bench.kinds.push(kind);
            let n = count as usize;
            let mut values = |count: usize| -> Vec<f32> {
                (0..count).map(|_| random.random_range(-1.0..1.0)).collect()
            };
            let (b, mut g) = (values(n * n), values(n));
            let mut h = vec![0.0; n * n];
            for i in 0..n {
                for j in 0..n {
                    let product: f32 = (0..n).map(|k| b[i * n + k] * b[j * n + k]).sum();
                    h[i * n + j] = match kind {
                        Zero | TooLarge => 0.0,
                        Rank1 => b[i] * b[j],
                        _ => product / n as f32,
                    };
                }
                if !matches!(kind, Zero | Rank1 | TooLarge) {
                    h[i * n + i] += 0.5;
                }
            }
            let last = n * n - 1;
            match kind {
                Indefinite => h[last] = -3.0,
                NanInHessian => h[n * (n - 1)] = f32::NAN,
                InfinityInGradient => g[n / 2] = f32::NEG_INFINITY,
                NanAboveDiagonal if n > 1 => h[n - 1] = f32::NAN,
                TooLarge => g[n - 1] = 1e35,
                TooNegative => h[last] = -3e38,
                _ => {}
            }
            bench.hessians.extend(h);
            bench.hessians.extend([f32::NAN; 3]);
            bench.steps.extend(g);
            let end = (bench.steps.len() + 1).next_multiple_of(64);
            bench.steps.resize(end, f32::NAN);
        }
        bench
    }

    fn made(&self, gpu: &Gpu, limits: &DispatchLimits, damping: f64) -> Made {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
        let device = OwningDevice::new(&gpu.device);
        let upload = |values: &[f32]| {
            let contents = bytemuck::cast_slice(values);
            filled_buffer(&device, "values", usage, contents).unwrap()
        };
        let hessians = upload(&self.hessians);
        let steps = upload(&self.steps);
        let outcomes = upload(&vec![7.0; 4 * (self.systems.len() + 1)]);
        let buffers = [&hessians, &steps, &outcomes];
        let answers = Answers::default();
        let guarded = answers.on(&device);
        let planned = solve(&guarded, limits, buffers, &self.systems, damping).unwrap();
        Made {
            dispatches: bind_all(&device, planned).unwrap(),
            _device: device,
            steps,
            outcomes,
        }
    }

    /// The largest relative residual. The outcomes must agree with those of the f32 twin.
    fn check(&self, gpu: &Gpu, limits: &DispatchLimits, damping: f64) -> f64 {
        let made = self.made(gpu, limits, damping);
        for dispatch in &made.dispatches {
            assert!(
                dispatch
                    .grid
                    .iter()
                    .all(|n| *n <= limits.workgroups_per_dimension)
            );
        }
        made.run(gpu);
        let read = |buffer| {
            let range = BufferRange::whole(buffer);
            read_blocking(&gpu.device, &gpu.queue, &range).unwrap()
        };
        let steps = read(&made.steps);
        let outcomes: Vec<Outcome> = bytemuck::pod_collect_to_vec(&read(&made.outcomes));
        assert_eq!(outcomes[self.systems.len()].damping, 7.0);
        let mut inside = vec![false; steps.len()];
        let mut worst = 0.0f64;
        for ((system, kind), outcome) in self.systems.iter().zip(&self.kinds).zip(&outcomes) {
            let n = system.count as usize;
            let what = format!("{kind:?} of {n}: {outcome:?}");
            let h = &self.hessians[system.hessian as usize..][..n * n];
            let elements = system.start as usize..system.start as usize + n;
            inside[elements.clone()].fill(true);
            let g = &self.steps[elements.clone()];
            let d = &steps[elements];
            let mut single = g.to_vec();
            let expected = matrix::solve(h, &mut single, damping);
            assert_eq!(outcome.not_finite, u32::from(!expected.finite), "{what}");
            assert_eq!(outcome.pending, 0);
            // Rounding decides whether a matrix of rank 1 seems singular.
            let agreed = outcome.failures.abs_diff(expected.failures);
            assert!(agreed <= u32::from(*kind == Rank1), "{what} {expected:?}");
            let fails = matches!(kind, Rank1 | Indefinite)
                && damping == 0.0
                && (n > 1 || *kind == Indefinite);
            if fails {
                assert!(outcome.failures > 0, "{what}");
            }
            let mut by_schedule = damping as f32;
            for _ in 0..outcome.failures {
                by_schedule = (10.0 * by_schedule).max(1e-8);
            }
            if outcome.not_finite == 1 {
                assert_eq!((outcome.damping, outcome.failures), (0.0, 0), "{what}");
                assert!(d.iter().all(|d| *d == 0.0), "{what}");
                continue;
            }
            assert!(
                (outcome.damping / by_schedule.max(1e-38) - 1.0).abs() < 1e-4
                    || outcome.damping == by_schedule,
                "{what}"
            );
            assert!(d.iter().all(|d| d.is_finite()), "{what}");
            let largest =
                |values: &[f32]| values.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
            for i in 0..n {
                let lower = |k: usize| f64::from(if k <= i { h[i * n + k] } else { h[k * n + i] });
                let terms = (0..n).map(|k| lower(k) * f64::from(d[k]));
                let left = terms.sum::<f64>() + f64::from(outcome.damping) * f64::from(d[i]);
                // Relative to the size of the terms of the sum.
                let scale = f64::from(largest(g))
                    + (f64::from(largest(h)) + f64::from(outcome.damping)) * f64::from(largest(d));
                worst = worst.max((left - f64::from(g[i])).abs() / scale);
            }
            if *kind == Definite {
                let mut expected: Vec<_> = g.iter().map(|x| f64::from(*x)).collect();
                let double: Vec<_> = h.iter().map(|x| f64::from(*x)).collect();
                matrix::solve(&double, &mut expected, damping);
                for (expected, d) in expected.iter().zip(d) {
                    let difference = (expected - f64::from(*d)).abs();
                    assert!(difference < 2e-5, "{what}: {expected} {d}");
                }
            }
        }
        let outside = steps.iter().zip(&inside).filter(|(_, inside)| !**inside);
        assert!(outside.clone().count() > 0);
        assert!(
            outside.into_iter().all(|(x, _)| x.is_nan()),
            "a gap was written"
        );
        worst
    }
}

struct Made {
    dispatches: Vec<Dispatch>,
    _device: std::sync::Arc<OwningDevice>,
    steps: wgpu::Buffer,
    outcomes: wgpu::Buffer,
}

impl Made {
    fn run(&self, gpu: &Gpu) {
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        self.dispatches
            .iter()
            .for_each(|dispatch| dispatch.record(&mut pass));
        drop(pass);
        gpu.queue.submit([encoder.finish()]);
    }
}

fn gpu() -> Gpu {
    Gpu::open_blocking(&GpuOptions::default()).unwrap()
}

fn of_every_kind(counts: &[u32]) -> Vec<(u32, Kind)> {
    let pairs = counts
        .iter()
        .flat_map(|count| KINDS.map(|kind| (*count, kind)));
    pairs.collect()
}

/// Relative to the terms of the sum. The largest seen is a tenth of it.
const TOLERANCE: f64 = 1e-5;

#[test]
fn every_system_is_solved_whatever_its_neighbours() {
    let gpu = gpu();
    let limits = DispatchLimits::of(&gpu.device.limits());
    let mut wanted = of_every_kind(&[1, 2, 3, 5, 16, 31, 32, 33, 64, 65, 127]);
    wanted.extend([255, 256].map(|count| (count, Definite)));
    wanted.extend([Rank1, Indefinite].map(|kind| (256, kind)));
    let bench = Bench::new(&wanted);
    for damping in [0.0, 1e-8, 0.25] {
        let worst = bench.check(&gpu, &limits, damping);
        println!("damping {damping}: off by {worst:.1e}");
        assert!(worst < TOLERANCE, "{worst}");
    }
}

#[test]
fn neither_batches_nor_folded_grids_change_anything() {
    let gpu = gpu();
    let bench = Bench::new(&of_every_kind(&[1, 2, 7, 20, 33, 40, 60]));
    let worst = bench.check(&gpu, &TINY, 0.0);
    assert!(worst < TOLERANCE, "{worst}");
    let folded = DispatchLimits {
        binding_bytes: 1 << 20,
        ..TINY
    };
    let worst = bench.check(&gpu, &folded, 0.0);
    assert!(worst < TOLERANCE, "{worst}");
}

#[test]
fn the_number_of_systems_does_not_change_that_of_dispatches() {
    let gpu = gpu();
    let limits = DispatchLimits::of(&gpu.device.limits());
    // Large systems take several dispatches, each with some values of λ.
    let large = (ATTEMPTS / ATTEMPTS_AT_ONCE) as usize;
    for (wanted, dispatches) in [
        (vec![(3, Definite); 200], 1),
        (
            vec![(40, Definite), (3, Zero), (50, Zero), (4, Rank1)],
            1 + large,
        ),
        (vec![], 0),
    ] {
        let made = Bench::new(&wanted).made(&gpu, &limits, 0.0);
        assert_eq!(made.dispatches.len(), dispatches);
    }
}

#[test]
fn a_system_that_is_too_large_is_refused() {
    let of = |count| {
        let system = DenseSystem {
            hessian: 0,
            start: 0,
            count,
        };
        scratch_bytes(&TINY, &[system])
    };
    assert_eq!(of(63), Ok(4 * 63 * 64));
    for count in [64, 257] {
        assert!(matches!(of(count), Err(Error::Limit { .. })));
    }
}

#[test]
fn tables_lie_as_the_shader_reads_them() {
    let text = &solve_shader(FEW_THREADS, ATTEMPTS);
    assert_laid_out_as!(
        System, text, "System",
        hessian step factor outcome count damping continues padding
    );
    assert_laid_out_as!(Outcome, text, "Outcome", damping failures not_finite pending);
    assert!(text.contains(&format!("const MOST_UNKNOWNS: u32 = {MOST_UNKNOWNS}u;")));
}

/// Dense Newton's systems, beside the twin. Operations are n³/3 of the factorisation and 2 n² of the
/// substitutions.
#[test]
#[ignore = "a measurement"]
fn throughput() {
    let gpu = gpu();
    let limits = DispatchLimits::of(&gpu.device.limits());
    let large = yardstick::Large::new(&gpu);
    println!(
        "{}; per cent of the trainer's product at 1024², in turns with it",
        gpu.info.name
    );
    println!(
        "{:12} {:>8} {:>14} {:>12}",
        "systems", "ms", "GFLOP/s", "twin, ms"
    );
    for (systems, count) in [
        (1000, 4),
        (1000, 16),
        (200, 32),
        (50, 64),
        (20, 128),
        (4, 256),
    ] {
        let bench = Bench::new(&vec![(count, Definite); systems]);
        let made = bench.made(&gpu, &limits, 0.0);
        let n = count as usize;
        let on_cpu = |_: &Gpu| {
            for system in &bench.systems {
                let h = &bench.hessians[system.hessian as usize..][..n * n];
                let mut g = bench.steps[system.start as usize..][..n].to_vec();
                matrix::solve(h, &mut g, 0.0);
            }
        };
        let work: [&dyn Fn(&Gpu); 3] = [&|gpu| large.run(gpu), &|gpu| made.run(gpu), &on_cpu];
        let [of_large, seconds, twin] = yardstick::fastest(&gpu, 10, work);
        let side = n as f64;
        let flops = systems as f64 * (side.powi(3) / 3.0 + 2.0 * side * side);
        let speed = flops / seconds;
        println!(
            "{:12} {:8.1} {:6.2} {:5.1} % {:12.1}",
            format!("{systems} of {count}"),
            1e3 * seconds,
            1e-9 * speed,
            100.0 * speed * of_large / yardstick::Large::FLOPS,
            1e3 * twin
        );
    }
}
