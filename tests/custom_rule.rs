//! A rule from outside the crate: one WGSL function and its twin.

mod support;

use support::*;
use wgpu_optim::{
    Buffers, Error, Layout, Optimizer, Options, Rule, Slot, cpu, hyperparameter::Hyperparameter,
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

#[test]
fn a_shader_that_does_not_compile_is_an_error_with_the_line() {
    for (from, to, line) in [
        ("let before", "let let", ":5:"),
        ("h.three", "h.four", ":7:"),
    ] {
        let text: &'static str = OWN.replace(from, to).leak();
        let mut layout = Layout::new();
        let group = layout.group(Own(text)).unwrap();
        layout.tensor(group, "x", &[3]).unwrap();
        let error = Optimizer::new(&gpu().device, &layout, Options::default()).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, Error::Shader { .. }), "{message}");
        assert!(message.contains("rule own"), "{message}");
        assert!(message.contains(line), "{message}");
    }
}
