//! Rules from outside the crate, with WGSL and twin: over elements, and over whole tensors.

mod support;

use support::*;
use wgpu_optim::{
    Buffers, Clip, Declaration, Error, Layout, LossScale, Optimizer, Options, Over, Rule,
    ShaderLocation, Slot, Stages, Sum, cpu, rule,
};

/// Plain descent whose shader is the user's business.
#[derive(Debug)]
struct Own(&'static str);

impl Rule for Own {}

impl Declaration for Own {
    fn name(&self) -> &str {
        "own"
    }
    fn lr(&self) -> f64 {
        0.5
    }
    fn slots(&self) -> Vec<Slot> {
        vec![Slot::element("last").starting_at(2.0)]
    }
    fn constants(&self) -> Vec<(&'static str, f64)> {
        vec![("three", 3.0)]
    }
    fn wgsl(&self) -> &str {
        self.0
    }
}

impl<T: cpu::Real> cpu::Twin<T> for Own {
    fn update(&self, block: cpu::Block<'_, T>, now: cpu::Step<T>) {
        block.each(move |p, g, [last]| {
            let before = *last;
            *last = g;
            p - now.lr * (g + T::from_f64(3.0) * before)
        });
    }
}

const OWN: &str = "
fn update(p: vec4<f32>, g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    let before = (*s).last;
    (*s).last = g;
    return p - now.lr * (g + h.three * before);
}";

#[test]
fn a_rule_from_outside_the_crate_gets_all_that_ours_get() {
    let problem = Problem::of_sizes(Own(OWN), &[5, 1030], 4);
    let in_arena = problem.run(&mut problem.in_arena(Options::default()));
    assert_within_budget(&problem, &in_arena, "own");
    let (params, grads) = (
        buffer(problem.packed_bytes()),
        buffer(problem.packed_bytes()),
    );
    let buffers = Buffers {
        params: problem.packed(&params, 0),
        grads: Some(problem.packed(&grads, 0)),
        ..Default::default()
    };
    let in_ranges = problem.run(&mut problem.over(buffers, Options::default()));
    assert!(in_ranges == in_arena);
}

rule! {
    /// Descent by signs: nothing is kept, and there are no numbers but the learning rate.
    struct Bare("bare") {
        pub lr: f64 in NON_NEGATIVE = 0.1,
    }
    wgsl: "
fn update(p: vec4<f32>, g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    return p - now.lr * sign(g);
}";
}

impl Rule for Bare {}

impl<T: cpu::Real> cpu::Twin<T> for Bare {
    fn update(&self, block: cpu::Block<'_, T>, now: cpu::Step<T>) {
        block.each(move |p, g, []| p - now.lr * cpu::Real::sign(g));
    }
}

#[test]
fn a_rule_needs_neither_constants_nor_slots() {
    let problem = Problem::of_sizes(Bare::default(), &[5, 1030], 4);
    let in_arena = problem.run(&mut problem.in_arena(Options::default()));
    assert_within_budget(&problem, &in_arena, "bare");
    let (params, grads) = (
        buffer(problem.packed_bytes()),
        buffer(problem.packed_bytes()),
    );
    let buffers = Buffers {
        params: problem.packed(&params, 0),
        grads: Some(problem.packed(&grads, 0)),
        ..Default::default()
    };
    let in_ranges = problem.run(&mut problem.over(buffers, Options::default()));
    assert!(in_ranges == in_arena);
}

/// Descent by the length of each tensor's gradient, whose shader is the user's business.
#[derive(Debug)]
struct OwnOfTensors(&'static str);

impl Rule for OwnOfTensors {}

impl Declaration for OwnOfTensors {
    fn name(&self) -> &str {
        "own_of_tensors"
    }
    fn lr(&self) -> f64 {
        0.5
    }
    fn slots(&self) -> Vec<Slot> {
        vec![Slot::element("last"), Slot::tensor("norm")]
    }
    fn stages(&self) -> Stages {
        Stages::sum(Sum {
            names: &["squares"],
            over: Over::Tensor,
            reads: &[],
        })
    }
    fn constants(&self) -> Vec<(&'static str, f64)> {
        vec![("eps", 1e-6)]
    }
    fn wgsl(&self) -> &str {
        self.0
    }
}

impl<T: cpu::Real> cpu::Twin<T> for OwnOfTensors {
    fn update(&self, block: cpu::Block<'_, T>, now: cpu::Step<T>) {
        let [norm] = block.of_tensor();
        block.each(move |p, g, [last]| {
            let before = *last;
            *last = g / (norm + T::from_f64(1e-6));
            p - now.lr * (*last + before)
        });
    }
    fn measure(&self, block: cpu::Block<'_, T>, _now: cpu::Step<T>) -> cpu::Sums {
        block.sum(|_, g, [_]| [g * g])
    }
    fn conclude(&self, sums: [T; 4], tensor: &mut [T], _shape: cpu::Shape<T>, _now: cpu::Step<T>) {
        tensor[0] = sums[0].sqrt();
    }
}

const OWN_OF_TENSORS: &str = "
fn measure(p: vec4<f32>, g: vec4<f32>, s: State, h: Hyper, now: Step, tensor: OfTensor) -> Sums {
    return Sums(g * g);
}
fn conclude(sums: Totals, tensor: ptr<function, OfTensor>, shape: Shape, h: Hyper, now: Step) {
    (*tensor).norm = sqrt(sums.squares);
}
fn update(p: vec4<f32>, g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step, tensor: OfTensor) -> vec4<f32> {
    let before = (*s).last;
    (*s).last = g / (tensor.norm + h.eps);
    return p - now.lr * ((*s).last + before);
}";

/// Two groups of the rule at different rates; a tensor of each size in turn.
fn two_groups(sizes: &[usize]) -> Layout {
    let mut layout = Layout::new();
    let groups = [(); 2].map(|()| layout.group(OwnOfTensors(OWN_OF_TENSORS)).unwrap());
    for (index, &size) in sizes.iter().enumerate() {
        let group = groups[index % 2];
        layout.tensor(group, &format!("x{index}"), &[size]).unwrap();
    }
    layout
}

#[test]
fn a_rule_of_whole_tensors_from_outside_the_crate_gets_groups_and_a_callers_buffers() {
    let problem = Problem::random(two_groups(&[5, 1030, 64, 3000]), 4, 7);
    let in_arena = problem.run(&mut problem.in_arena(Options::default()));
    assert_within_budget(&problem, &in_arena, "own_of_tensors");
    let bytes = problem.packed_bytes();
    let (params, grads) = (buffer(bytes), buffer(bytes));
    let buffers = Buffers {
        params: problem.packed(&params, 0),
        grads: Some(problem.packed(&grads, 0)),
        ..Default::default()
    };
    let in_ranges = problem.run(&mut problem.over(buffers, Options::default()));
    for (found, expected) in in_ranges.iter().zip(&in_arena) {
        let expected: Vec<_> = expected.iter().map(|&p| f64::from(p)).collect();
        assert!(error(found, &expected) < 1e-6);
    }
}

#[test]
fn a_rule_of_whole_tensors_from_outside_the_crate_is_clipped_scaled_and_skipped() {
    let layout = two_groups(&[5, 1030]);
    let options = Options {
        clip: Clip::Value(0.25),
        loss_scale: Some(LossScale::fixed(8.0)),
        ..Default::default()
    };
    let mut on_gpu = Optimizer::new(&gpu().device, &layout, options.clone()).unwrap();
    let mut twin = cpu::Optimizer::<f64>::with_options(&layout, options).unwrap();
    for step in 0..4 {
        for tensor in layout.tensors() {
            let count = layout.element_count(tensor).unwrap();
            let mut grads: Vec<_> = (0..count).map(|i| 4.0 * (i as f32 + 1.0).sin()).collect();
            if step == 2 {
                grads[3] = f32::NAN;
            }
            on_gpu.write_grad(&gpu().queue, tensor, &grads).unwrap();
            let twins = twin.grad_mut(tensor).unwrap();
            for (to, from) in twins.iter_mut().zip(grads) {
                *to = f64::from(from);
            }
        }
        submit(|encoder| on_gpu.step(encoder).unwrap());
        twin.step().unwrap();
    }
    let stats = twin.stats();
    assert_eq!((stats.performed, stats.skipped), (3, 1));
    for tensor in layout.tensors() {
        let found = on_gpu.read_param_blocking(&gpu().queue, tensor).unwrap();
        assert!(error(&found, twin.param(tensor).unwrap()) < 1e-5);
        // A norm of the clipped gradients: those of the skipped step are no number.
        let norm = twin.state(tensor, "norm").unwrap()[0];
        let count = layout.element_count(tensor).unwrap();
        assert!(0.0 < norm && norm <= 0.25 * (count as f64).sqrt(), "{norm}");
        let on_gpu = on_gpu.read_state_blocking(&gpu().queue, tensor, "norm");
        assert!(error(&on_gpu.unwrap(), &[norm]) < 1e-5);
    }
}

/// What comes of a rule whose text has a mistake.
fn error_of(rule: impl Rule + 'static) -> Error {
    let mut layout = Layout::new();
    let group = layout.group(rule).unwrap();
    layout.tensor(group, "x", &[3]).unwrap();
    Optimizer::new(&gpu().device, &layout, Options::default()).unwrap_err()
}

/// Fails unless the error is one of the rule at that place.
fn assert_is_at(error: Error, rule: &str, line: usize, column: usize) {
    let message = error.to_string();
    let Error::Shader { location, .. } = error else {
        panic!("{message}");
    };
    assert_eq!(location, Some(ShaderLocation { line, column }), "{message}");
    assert!(message.contains(&format!("rule {rule}")), "{message}");
    let place = format!("line {line}, column {column}");
    assert!(message.contains(&place), "{message}");
}

#[test]
fn a_mistake_in_a_shader_is_an_error_with_its_line_and_column() {
    for (from, to, line, column) in [
        // Syntax, an unknown member, a wrong type, a name that is none; after more than ASCII too.
        ("let before", "let let", 3, 9),
        ("h.three", "h.four", 5, 32),
        (
            "let before = (*s).last;",
            "let before: f32 = (*s).last;",
            3,
            9,
        ),
        ("now.lr *", "/* m\u{302}, v\u{302} */ rate *", 5, 29),
    ] {
        assert!(OWN.contains(from));
        let error = error_of(Own(OWN.replace(from, to).leak()));
        assert_is_at(error, "own", line, column);
    }
}

#[test]
fn a_mistake_in_what_a_shader_makes_of_tensors_is_an_error_with_its_line_and_column() {
    for (from, to, line, column) in [
        // In measure, in conclude, and in update what only tensors have.
        ("Sums(g * g)", "Sums(g * q)", 3, 21),
        ("return Sums", "return sums", 3, 12),
        ("sums.squares", "sums.cubes", 6, 32),
        ("sqrt(sums.squares)", "g", 6, 22),
        ("tensor.norm + h", "tensor.length + h", 10, 29),
    ] {
        assert!(OWN_OF_TENSORS.contains(from));
        let text = OWN_OF_TENSORS.replacen(from, to, 1).leak();
        assert_is_at(error_of(OwnOfTensors(text)), "own_of_tensors", line, column);
    }
}

#[test]
fn a_shader_that_declares_what_is_declared_for_it_is_an_error_that_names_it() {
    let text = format!("struct Hyper {{ three: f32 }}\n{OWN}");
    let message = error_of(Own(text.leak())).to_string();
    assert!(message.contains("`Hyper`"), "{message}");
}

#[test]
fn a_shader_that_lacks_a_part_says_what_is_missing() {
    for (from, to, missing) in [
        ("fn update", "fn step_it", "update"),
        ("(*s).last = g", "(*s).first = g", "first"),
        ("h.three", "h.two", "two"),
    ] {
        assert!(OWN.contains(from));
        let message = error_of(Own(OWN.replace(from, to).leak())).to_string();
        assert!(message.contains(missing), "{message}");
    }
    for (from, to, missing) in [
        ("fn measure", "fn measured", "measure"),
        ("fn conclude", "fn concluded", "conclude"),
        ("(*tensor).norm", "(*tensor).length", "length"),
        ("Totals", "Total", "Total"),
    ] {
        assert!(OWN_OF_TENSORS.contains(from));
        let text = OWN_OF_TENSORS.replace(from, to).leak();
        let message = error_of(OwnOfTensors(text)).to_string();
        assert!(message.contains(missing), "{message}");
    }
}

/// A rule whose twin asks for more than `Own` and `OwnOfTensors` declare.
#[derive(Debug)]
struct Greedy(Wants);

#[derive(Debug, Clone, Copy)]
enum Wants {
    Constant,
    ConstantToConclude,
    Member,
    MemberToMeasure,
    OfTensor,
}

impl Rule for Greedy {}

impl Declaration for Greedy {
    fn name(&self) -> &str {
        "greedy"
    }
    fn lr(&self) -> f64 {
        0.5
    }
    fn slots(&self) -> Vec<Slot> {
        vec![Slot::element("last"), Slot::tensor("norm")]
    }
    fn stages(&self) -> Stages {
        OwnOfTensors("").stages()
    }
    fn constants(&self) -> Vec<(&'static str, f64)> {
        vec![("eps", 1e-6)]
    }
    fn wgsl(&self) -> &str {
        OWN_OF_TENSORS
    }
}

impl<T: cpu::Real> cpu::Twin<T> for Greedy {
    fn update(&self, block: cpu::Block<'_, T>, now: cpu::Step<T>) {
        match self.0 {
            Wants::Constant => {
                let [eps, more] = self.constants_as::<T, _>();
                block.each(move |p, g, []| p - now.lr * g * (eps + more));
            }
            Wants::Member => block.each(move |p, _, [last, more]| p + *last + *more),
            Wants::OfTensor => {
                let [norm, more] = block.of_tensor();
                block.each(move |p, _, []| p + norm + more);
            }
            _ => {}
        }
    }
    fn measure(&self, block: cpu::Block<'_, T>, _now: cpu::Step<T>) -> cpu::Sums {
        match self.0 {
            Wants::MemberToMeasure => block.sum(|_, _, [last, _, more]| [last + more]),
            _ => block.sum(|_, g, []| [g * g]),
        }
    }
    fn conclude(&self, _sums: [T; 4], tensor: &mut [T], _shape: cpu::Shape<T>, _now: cpu::Step<T>) {
        if let Wants::ConstantToConclude = self.0 {
            let [_, _, more] = self.constants_as::<T, _>();
            tensor[0] = more;
        }
    }
}

#[test]
fn a_twin_that_asks_for_more_than_its_rule_declares_is_refused_before_a_step() {
    for (wants, problem) in [
        (
            Wants::Constant,
            "takes 2 constants; expected at most the 1 declared (eps)",
        ),
        (
            Wants::ConstantToConclude,
            "takes 3 constants; expected at most the 1 declared (eps)",
        ),
        (
            Wants::Member,
            "takes 2 slots of Element; expected at most the 1 declared (last)",
        ),
        (
            Wants::MemberToMeasure,
            "takes 3 slots of Element; expected at most the 1 declared (last)",
        ),
        (
            Wants::OfTensor,
            "takes 2 slots of Tensor; expected at most the 1 declared (norm)",
        ),
    ] {
        let error = Layout::new().group(Greedy(wants)).unwrap_err();
        assert!(matches!(error, Error::Rule { .. }), "{error}");
        assert!(error.to_string().contains(problem), "{error}");
    }
}

#[test]
fn a_text_with_bindings_or_structs_of_its_own_is_refused_before_a_step() {
    for binding in [
        "@group(1) @binding(0) var<storage> other: array<f32>;",
        "@group(0) @binding(99) var<uniform> other: vec4<f32>;",
    ] {
        let text = format!("{binding}\n{OWN}").leak();
        let error = Layout::new().group(Own(text)).unwrap_err();
        assert!(matches!(error, Error::Rule { .. }), "{error}");
        assert!(
            error.to_string().contains("expected functions alone"),
            "{error}"
        );
    }
    for own in [
        "struct Hyper { three: f32, four: f32 }",
        "struct State { last: vec4<f32>, more: vec4<f32> }",
    ] {
        let text = format!("{own}\n{OWN}").leak();
        let mut layout = Layout::new();
        let group = layout.group(Own(text)).unwrap();
        layout.tensor(group, "w", &[4]).unwrap();
        let made = Optimizer::new(&gpu().device, &layout, Options::default());
        let error = made.unwrap_err();
        assert!(matches!(error, Error::Shader { .. }), "{error}");
    }
}
