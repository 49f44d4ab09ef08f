//! Rules that keep the means of rows and columns: shapes, places, and what surrounds a step.

mod support;

use support::{places::everywhere, *};
use wgpu_optim::{
    Average, Clip, Extent, Format, Formats, Layout, Lines, LossScale, Optimizer, Options, Rule,
    Stages, Tensor, cpu, required_limits, rule, rules::Adafactor, wgpu,
};

/// Those that are wide enough and whole quads go by tiles, the others by elements. They lie among one
/// another.
const SHAPES: [&[usize]; 21] = [
    &[],
    &[1],
    &[7],
    &[1, 1],
    &[1, 300],
    &[300, 1],
    &[65, 130],
    &[3, 5, 7],
    &[2, 3, 3, 3],
    &[0x1001, 3],
    &[64],
    &[9004],
    &[4, 16, 16],
    &[12, 8],
    &[1, 68],
    &[300, 192],
    &[3, 40, 100],
    &[70, 260],
    &[3, 2052],
    &[37, 36],
    &[2, 2, 5, 64],
];

fn adafactor() -> Adafactor {
    Adafactor {
        weight_decay: 0.1,
        ..Default::default()
    }
}

fn problem(rule: impl Into<Box<dyn Rule>>, formats: Formats, shapes: &[&[usize]]) -> Problem {
    let mut layout = Layout::new();
    let group = layout.group_in(rule, formats).unwrap();
    for (index, shape) in shapes.iter().enumerate() {
        layout.tensor(group, &index.to_string(), shape).unwrap();
    }
    Problem::random(layout, 5, 1)
}

#[test]
fn adafactor_takes_tensors_of_any_shape() {
    let problem = problem(adafactor(), Formats::default(), &SHAPES);
    let mut optimizer = problem.in_arena(Options::default());
    let found = problem.run(&mut optimizer);
    assert_within_budget(&problem, &found, "adafactor");
    // What is kept is where it is said to be.
    let twin = problem.twin::<f64>();
    let mut compared = 0;
    for tensor in problem.layout.tensors() {
        for slot in slots_of(&problem.layout, tensor) {
            let queue = &gpu().queue;
            let found = optimizer.read_state_blocking(queue, tensor, slot).unwrap();
            let right = twin.state(tensor, slot).unwrap();
            assert_eq!(found.len(), right.len());
            for (found, right) in found.iter().zip(right.iter()) {
                let distance = (f64::from(*found) - right).abs();
                assert!(
                    distance <= 1e-5 * right.abs(),
                    "{slot}: {found} for {right}"
                );
                compared += 1;
            }
        }
    }
    let vectors = 1 + 1 + 7 + 64 + 9004;
    let of_elements = 2 + 301 + 301 + 195 + 36 + 36 + 4100 + 4 * 32 + 20;
    let of_tiles = 69 + 492 + 3 * 140 + 330 + 2055 + 73 + 4 * 69;
    assert_eq!(compared, vectors + of_elements + of_tiles);
    let error = optimizer
        .state(problem.tensors()[0], "row_var")
        .unwrap_err();
    assert!(error.to_string().contains("variance"), "{error}");
}

rule! {
    /// Descent with momentum, by gradients over the roots of their rows' and columns' means. It takes no
    /// sums.
    struct Lined("lined") {
        pub lr: f64 in NON_NEGATIVE = 0.01,
    }
    slots: momentum, row_var.of(Extent::Row), col_var.of(Extent::Column),
        variance.of(Extent::Vector), row_factor.of(Extent::Row).as_scratch();
    stages: Stages {
        lines: Some(Lines {
            row: "row_var",
            column: "col_var",
            vector: "variance",
            factor: "row_factor",
        }),
        ..Stages::default()
    };
    wgsl: "
fn line(g: f32, h: Hyper) -> f32 {
    return g * g;
}
fn move_line(kept: f32, mean: f32, h: Hyper, now: Step) -> f32 {
    return scalar_ema(kept, mean, 0.5);
}
fn row_factor(row: f32, mean: f32, h: Hyper) -> f32 {
    return row / max(mean, 1e-6);
}
fn update(p: vec4<f32>, g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    let variance = (*s).row_factor * (*s).col_var;
    (*s).momentum = 0.5 * (*s).momentum + g / sqrt(max(variance, vec4<f32>(1e-6)));
    return p - now.lr * (*s).momentum;
}";
}

impl Rule for Lined {}

impl<T: cpu::Real> cpu::Twin<T> for Lined {
    fn update(&self, block: cpu::Block<'_, T>, now: cpu::Step<T>) {
        let [half, least] = [0.5, 1e-6].map(T::from_f64);
        block.each(move |p, g, [momentum, row_factor, col_var]| {
            let variance = *row_factor * *col_var;
            *momentum = half * *momentum + g / variance.max(least).sqrt();
            p - now.lr * *momentum
        });
    }
    fn line(&self, g: T) -> T {
        g * g
    }
    fn move_line(&self, kept: T, mean: T, _now: cpu::Step<T>) -> T {
        cpu::ema(kept, mean, T::from_f64(0.5))
    }
    fn row_factor(&self, row: T, mean: T) -> T {
        row / mean.max(T::from_f64(1e-6))
    }
}

#[test]
fn rules_of_lines_match_the_twin_wherever_their_tensors_lie() {
    let rules: [fn() -> Box<dyn Rule>; 2] = [|| adafactor().into(), || Lined::default().into()];
    for rule in rules {
        let problem = problem(rule(), Formats::default(), &SHAPES);
        for (place, mut optimizer) in everywhere(&problem, &Options::default()) {
            let found = problem.run(&mut optimizer);
            let name = rule().name().to_owned();
            assert_within_budget(&problem, &found, &format!("{name} in {place}"));
        }
    }
}

/// The larger a group is, the larger are its tiles.
#[test]
fn a_large_group_matches_the_twin() {
    let shapes: [&[usize]; 4] = [&[1500, 1024], &[70_000, 64], &[2, 100_004], &[300_004]];
    let mut problem = problem(adafactor(), Formats::default(), &shapes);
    problem.grads.truncate(2);
    let found = problem.run(&mut problem.in_arena(Options::default()));
    assert_within_budget(&problem, &found, "adafactor");
}

/// A step of the first tensor of `problem` on another device.
fn first_step(device: &wgpu::Device, queue: &wgpu::Queue, problem: &Problem) -> Vec<f32> {
    let made = Optimizer::new(device, &problem.layout, Options::default());
    let mut optimizer = made.unwrap();
    let tensor = problem.tensors()[0];
    let count = problem.layout.element_count(tensor).unwrap();
    let grad: Vec<_> = (0..count).map(|i| (i as f32).sin()).collect();
    optimizer.write_grad(queue, tensor, &grad).unwrap();
    let mut encoder = device.create_command_encoder(&Default::default());
    optimizer.step(&mut encoder).unwrap();
    queue.submit([encoder.finish()]);
    optimizer.read_param_blocking(queue, tensor).unwrap()
}

/// By elements, an update in an arena takes a storage binding less.
#[test]
fn a_device_with_too_few_bindings_for_tiles_steps_by_elements() {
    let problem = problem(Lined::default(), Formats::default(), &[&[40, 64]]);
    let bindings_of = |count| {
        let mut limits = required_limits(&gpu().adapter);
        limits.max_storage_buffers_per_shader_stage = count;
        let descriptor = wgpu::DeviceDescriptor {
            required_limits: limits,
            ..Default::default()
        };
        let device = gpu().adapter.request_device(&descriptor);
        let (device, queue) = pollster::block_on(device).unwrap();
        first_step(&device, &queue, &problem)
    };
    // Parameters, gradients, momentum, lines and where they are; and for tiles a table.
    let [by_elements, by_tiles] = [5, 6].map(bindings_of);
    assert!(by_tiles.iter().any(|p| *p != 0.0));
    let is_near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-6 * a.abs();
    assert!(by_elements.iter().zip(&by_tiles).all(is_near));
}

#[test]
fn rules_of_lines_match_the_twin_whatever_surrounds_the_step() {
    let everything = Options {
        clip: Clip::TensorNorm(0.5),
        loss_scale: Some(LossScale::fixed(4.0)),
        zero_grad: true,
        average: Some(Average {
            decay: 0.5,
            debias: false,
        }),
        ..Options::default()
    };
    let norm = Options {
        clip: Clip::GlobalNorm(1.0),
        accumulate: 2,
        ..Options::default()
    };
    let skips = Options {
        skip_non_finite: true,
        ..Options::default()
    };
    let half = Formats {
        params: Format::Bf16,
        grads: Format::Bf16,
        ..Formats::default()
    };
    let beside = Formats {
        params: Format::Bf16Plus8,
        state: Format::Bf16,
        ..half
    };
    let split = Formats {
        params: Format::Bf16Plus16,
        ..half
    };
    let copied = Formats {
        copy: Some(Format::F16),
        state: Format::Int8,
        ..Formats::default()
    };
    let f32 = Formats::default();
    let adafactor: fn() -> Box<dyn Rule> = || adafactor().into();
    let lined: fn() -> Box<dyn Rule> = || Lined::default().into();
    for (rule, formats, options) in [
        (adafactor, f32, &everything),
        (adafactor, f32, &norm),
        (adafactor, f32, &skips),
        (adafactor, half, &everything),
        (adafactor, beside, &norm),
        (adafactor, split, &everything),
        (adafactor, copied, &norm),
        (lined, f32, &everything),
        (lined, beside, &skips),
        (lined, copied, &norm),
    ] {
        let mut problem = problem(rule(), formats, &SHAPES);
        // The twin takes numbers of 32 bits. So they are such as bf16 can hold.
        let of_grads = problem.grads.iter_mut().flatten();
        for value in problem.params.iter_mut().chain(of_grads).flatten() {
            *value = (*value * 64.0).round().clamp(-255.0, 255.0) / 64.0;
        }
        if options.skip_non_finite {
            // In a vector that goes by tiles.
            problem.grads[2][10][7] = f32::NAN;
        }
        let expected = Outcome::of_twin(&problem, options);
        for (place, mut optimizer) in everywhere(&problem, options) {
            problem.run(&mut optimizer);
            let label = format!("{} in {place}, {formats:?}", rule().name());
            Outcome::of(&mut optimizer).assert_near(&expected, &label);
        }
    }
}

/// What the steps leave.
struct Outcome {
    params: Vec<f32>,
    to_evaluate: Vec<f32>,
    grads: Vec<f32>,
    state: Vec<f32>,
}

impl Outcome {
    fn of(optimizer: &mut Optimizer) -> Self {
        let queue = &gpu().queue;
        let tensors: Vec<_> = optimizer.layout().tensors().collect();
        let params = |optimizer: &Optimizer| {
            let read = |tensor: &Tensor| optimizer.read_param_blocking(queue, *tensor).unwrap();
            tensors.iter().flat_map(read).collect()
        };
        let read = |tensor: &Tensor| optimizer.read_grad_blocking(queue, *tensor).unwrap();
        let grads = tensors.iter().flat_map(read).collect();
        let layout = optimizer.layout();
        let state = tensors.iter().flat_map(|tensor| {
            let slots = slots_of(layout, *tensor).into_iter();
            slots.flat_map(|slot| optimizer.read_state_blocking(queue, *tensor, slot).unwrap())
        });
        let state = state.collect();
        let of_training = params(optimizer);
        submit(|encoder| optimizer.evaluate(encoder).unwrap());
        Self {
            params: of_training,
            to_evaluate: params(optimizer),
            grads,
            state,
        }
    }

    fn of_twin(problem: &Problem, options: &Options) -> Self {
        let layout = &problem.layout;
        let mut twin = cpu::Optimizer::<f32>::with_options(layout, options.clone()).unwrap();
        problem.replay(&mut twin, |_, _| Ok(())).unwrap();
        let params = |twin: &cpu::Optimizer<f32>| {
            let params = layout.tensors().map(|tensor| twin.param(tensor).unwrap());
            params.flatten().copied().collect()
        };
        let grads = layout.tensors().map(|tensor| twin.grad(tensor).unwrap());
        let grads = grads.flatten().copied().collect();
        let mut state = Vec::new();
        for tensor in layout.tensors() {
            for slot in slots_of(layout, tensor) {
                state.extend_from_slice(&twin.state(tensor, slot).unwrap());
            }
        }
        let of_training = params(&twin);
        twin.evaluate();
        Self {
            params: of_training,
            to_evaluate: params(&twin),
            grads,
            state,
        }
    }

    /// Sums in another order differ by their last bits, and so does what they turn when it is rounded.
    fn assert_near(&self, expected: &Self, label: &str) {
        for (what, found, expected) in [
            ("params", &self.params, &expected.params),
            ("to evaluate", &self.to_evaluate, &expected.to_evaluate),
            ("grads", &self.grads, &expected.grads),
            ("state", &self.state, &expected.state),
        ] {
            assert_eq!(found.len(), expected.len());
            let is_off = |(found, expected): &(&f32, &f32)| {
                let distance = (*found - *expected).abs();
                distance.is_nan() || distance > 1e-5 * expected.abs().max(0.1)
            };
            let off = found.iter().zip(expected).filter(is_off).count();
            assert!(
                off <= found.len() / 2000,
                "{label}: {off} of the {what} are off"
            );
        }
    }
}
