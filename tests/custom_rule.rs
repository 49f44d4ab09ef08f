//! A rule from outside the crate: one WGSL function and its twin.

mod support;

use support::*;
use wgpu_optim::{
    Buffers, Error, Layout, Optimizer, Options, Rule, ShaderLocation, Slot, cpu,
    hyperparameter::Hyperparameter,
};

/// Plain descent whose shader is the user's business.
#[derive(Debug)]
struct Own(&'static str);

impl Rule for Own {
    fn name(&self) -> &str {
        "own"
    }
    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![]
    }
    fn lr(&self) -> f64 {
        0.5
    }
    fn slots(&self) -> Vec<Slot> {
        vec![Slot::element("last").starting_at(2.0)]
    }
    fn constants(&self) -> Vec<f64> {
        vec![3.0]
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
struct Hyper { three: f32 }
struct State { last: vec4<f32> }
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
    };
    let in_ranges = problem.run(&mut problem.over(buffers, Options::default()));
    assert!(in_ranges == in_arena);
}

/// What comes of a rule with that text.
fn error_of(text: String) -> Error {
    let mut layout = Layout::new();
    let group = layout.group(Own(text.leak())).unwrap();
    layout.tensor(group, "x", &[3]).unwrap();
    Optimizer::new(&gpu().device, &layout, Options::default()).unwrap_err()
}

#[test]
fn a_mistake_in_a_shader_is_an_error_with_its_line_and_column() {
    for (from, to, line, column) in [
        // Syntax, an unknown member, a wrong type, a name that is none; after more than ASCII too.
        ("let before", "let let", 5, 9),
        ("h.three", "h.four", 7, 32),
        (
            "let before = (*s).last;",
            "let before: f32 = (*s).last;",
            5,
            9,
        ),
        ("now.lr *", "/* m\u{302}, v\u{302} */ rate *", 7, 29),
    ] {
        assert!(OWN.contains(from));
        let error = error_of(OWN.replace(from, to));
        let message = error.to_string();
        let Error::Shader { location, .. } = error else {
            panic!("{message}");
        };
        assert_eq!(location, Some(ShaderLocation { line, column }), "{message}");
        assert!(message.contains("rule own"), "{message}");
        let place = format!("line {line}, column {column}");
        assert!(message.contains(&place), "{message}");
    }
}

#[test]
fn a_shader_that_lacks_a_part_says_what_is_missing() {
    for (from, to, missing) in [
        ("fn update", "fn step_it", "update"),
        ("last: vec4<f32>", "first: vec4<f32>", "last"),
        ("struct Hyper { three: f32 }", "", "Hyper"),
    ] {
        assert!(OWN.contains(from));
        let message = error_of(OWN.replace(from, to)).to_string();
        assert!(message.contains(missing), "{message}");
    }
}
