//! A step that is one workgroup is one dispatch. It does to the bit what it does beside another group, as
//! two dispatches.

mod support;

use support::*;
use wgpu_optim::{
    Average, BufferRange, Buffers, Format, Formats, Optimizer, Options, Rule, Stats, cpu, rule,
    rules::Sgd, wgpu,
};

/// All that a run leaves: parameters, state, and the statistics of its group.
#[derive(Debug, PartialEq)]
struct Left {
    params: Vec<Vec<u32>>,
    evaluated: Vec<Vec<u32>>,
    state: Vec<Vec<u32>>,
    stats: Stats,
}

rule! {
    /// Descent whose shader has names that the small step's has too.
    struct Taken("taken") {
        pub lr: f64 in NON_NEGATIVE = 0.1,
    }
    wgsl: "
struct Verdict { keep: vec4<f32> }
fn keep(g: vec4<f32>) -> Verdict { return Verdict(g); }
fn due(now: Step) -> f32 { return now.lr; }
fn update(p: vec4<f32>, g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    return p - due(now) * keep(g).keep;
}";
}

impl Rule for Taken {}

impl<T: cpu::Real> cpu::Twin<T> for Taken {
    fn update(&self, block: cpu::Block<'_, T>, now: cpu::Step<T>) {
        block.each(move |p, g, []| p - now.lr * g);
    }
}

#[test]
fn a_users_rule_may_have_the_names_of_the_small_step() {
    for sizes in [&[5][..], &[5, 10_000]] {
        let problem = Problem::of_sizes(Taken::default(), sizes, 3);
        let found = problem.run(&mut problem.in_arena(Options::default()));
        let twin = problem.twin::<f32>();
        for (tensor, found) in problem.layout.tensors().zip(found) {
            assert_eq!(found, twin.param(tensor).unwrap());
        }
    }
}

fn bits(values: Vec<f32>) -> Vec<u32> {
    values.into_iter().map(f32::to_bits).collect()
}

/// Steps with all that a host may do between them.
fn run(problem: &Problem, mut optimizer: Optimizer) -> Left {
    let group = only_group(&problem.layout);
    problem.write_params(&mut optimizer);
    let step = |optimizer: &mut Optimizer| {
        submit(|encoder| optimizer.step(encoder).unwrap());
    };
    for index in 0..problem.grads.len() {
        problem.write_step(&mut optimizer, index);
        match index {
            1 => {
                // It is dropped.
                let mut encoder = gpu().device.create_command_encoder(&Default::default());
                optimizer.step(&mut encoder).unwrap();
            }
            2 => optimizer.set_lr(group, 0.02).unwrap(),
            3 => {
                optimizer.set_frozen(group, true).unwrap();
                step(&mut optimizer);
                optimizer.set_frozen(group, false).unwrap();
            }
            4 => optimizer.set_step_count(group, 40).unwrap(),
            5 => submit(|encoder| {
                optimizer.step(encoder).unwrap();
                optimizer.step(encoder).unwrap();
            }),
            _ => {}
        }
        step(&mut optimizer);
    }
    let mut snapshot = None;
    submit(|encoder| snapshot = Some(optimizer.snapshot(encoder).unwrap()));
    let mut stats = arrived(&snapshot.unwrap());
    stats.groups.truncate(1);
    let params = |optimizer: &Optimizer| {
        let params = problem.read_params(optimizer).into_iter();
        params.map(bits).collect::<Vec<_>>()
    };
    let trained = params(&optimizer);
    let mut state = Vec::new();
    for tensor in problem.tensors() {
        for slot in slots_of(&problem.layout, tensor) {
            let values = optimizer.read_state_blocking(&gpu().queue, tensor, slot);
            state.push(bits(values.unwrap()));
        }
    }
    submit(|encoder| optimizer.evaluate(encoder).unwrap());
    Left {
        params: trained,
        evaluated: params(&optimizer),
        state,
        stats,
    }
}

/// `problem` with another group, so that its steps are two dispatches.
fn beside_another(problem: &Problem) -> wgpu_optim::Layout {
    let mut layout = problem.layout.clone();
    let other = layout.group(Sgd::default()).unwrap();
    layout.tensor(other, "other", &[3]).unwrap();
    layout
}

const STEPS: usize = 7;

fn options() -> [Options; 3] {
    let plain = Options::default();
    [
        plain.clone(),
        Options {
            zero_grad: true,
            accumulate: 2,
            ..plain.clone()
        },
        Options {
            average: Some(Average {
                decay: 0.9,
                debias: true,
            }),
            ..plain
        },
    ]
}

fn assert_alike(problem: &Problem, options: &Options, label: &str) {
    let device = &gpu().device;
    let alone = run(problem, problem.in_arena(options.clone()));
    let layout = beside_another(problem);
    let beside = Optimizer::new(device, &layout, options.clone()).unwrap();
    let beside = run(problem, beside);
    assert!(alone.stats.groups[0].step_count > 40, "{label}");
    assert_eq!(alone, beside, "{label}");
}

/// Rules that look at elements alone.
fn variants() -> impl Iterator<Item = Variant> {
    let variants = Variant::all().into_iter();
    variants.filter(|variant| variant.make().stages() == Default::default())
}

#[test]
fn in_arenas_every_variant_is_as_beside_another_group() {
    for variant in variants() {
        let problem = Problem::of_sizes(variant.make(), &[5, 64, 301], STEPS);
        assert_alike(&problem, &Options::default(), &format!("{variant:?}"));
    }
}

#[test]
fn options_and_formats_change_nothing_about_that() {
    let formats = [
        Formats::default(),
        Formats {
            params: Format::Bf16,
            grads: Format::F16,
            state: Format::Bf16,
            ..Formats::default()
        },
        Formats {
            params: Format::Bf16Plus8,
            state: Format::Int8,
            ..Formats::default()
        },
        Formats {
            copy: Some(Format::F16),
            ..Formats::default()
        },
    ];
    for variant in variants().filter(|variant| variant.settings.is_empty()) {
        // Each format is with some of the options.
        for (turn, formats) in formats.into_iter().enumerate() {
            for (_, options) in (0..).zip(options()).filter(|(index, _)| *index != turn) {
                let rule = variant.make();
                // These have an average of their own, and it takes all bits of the parameters.
                let is_refused = options.average.is_some() || formats.params.rounds();
                if rule.evaluates_elsewhere() && is_refused {
                    continue;
                }
                let sizes = [5, 64, 301];
                let problem = Problem::with_formats(rule, formats, &sizes, STEPS).unwrap();
                let label = format!("{variant:?}, {formats:?}, {options:?}");
                assert_alike(&problem, &options, &label);
            }
        }
    }
}

/// Where parameters and gradients of a caller's lie: apart, off the quads, and in one allocation.
fn places(problem: &Problem) -> [[Vec<BufferRange>; 2]; 3] {
    let bytes = problem.packed_bytes();
    let [params, grads, both] = [bytes + 16, bytes + 16, 2 * bytes + 16].map(buffer);
    let at = |buffer: &wgpu::Buffer, start| problem.packed(buffer, start);
    [
        [at(&params, 0), at(&grads, 0)],
        [at(&params, 12), at(&grads, 4)],
        [at(&both, 0), at(&both, bytes)],
    ]
}

#[test]
fn in_ranges_every_rule_is_as_beside_another_group() {
    for variant in variants().filter(|variant| variant.settings.is_empty()) {
        let problem = Problem::of_sizes(variant.make(), &[301], STEPS);
        let layout = beside_another(&problem);
        for (index, [params, grads]) in places(&problem).into_iter().enumerate() {
            let with = |ranges: &[BufferRange], more: &[BufferRange]| [ranges, more].concat();
            let over = |more: [&[BufferRange]; 2], layout| {
                let buffers = Buffers {
                    params: with(&params, more[0]),
                    grads: Some(with(&grads, more[1])),
                    ..Default::default()
                };
                Optimizer::over(&gpu().device, layout, buffers, Options::default()).unwrap()
            };
            let alone = run(&problem, over([&[], &[]], &problem.layout));
            let others = [buffer(12), buffer(12)].map(|buffer| [BufferRange::whole(&buffer)]);
            let beside = run(&problem, over([&others[0], &others[1]], &layout));
            assert_eq!(alone, beside, "{variant:?} at place {index}");
        }
    }
}
