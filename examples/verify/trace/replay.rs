//! A trace on the GPU and on both twins, held against what the file says is right.

use anyhow::Result;
use serde::Serialize;
use wgpu_optim::{Gpu, Optimizer, Options, cpu};

use super::Trace;
use crate::accuracy::{Deviation, Truth};
use crate::budget::{Allowance, TWIN_BUDGET};
use crate::check::explain;
use crate::subject::OnGpu;

/// What the twin in f64 may be off by: the rule is the framework's.
const SAME_RULE: f64 = 1e-10;
/// How much worse than the framework's own f32 the twin's may be.
const WORSE_THAN_SOURCE: f64 = 1.1;
/// And so many ulp, in which one order of summing is luckier than another.
const LUCK: f64 = 2.0;

/// What came of one trace; serialized, a line of `--json`. Errors are against `expected`.
#[derive(Debug, Serialize)]
pub struct Row {
    pub file: String,
    pub rule: String,
    pub steps: usize,
    pub gpu_error: Option<f64>,
    pub f32_error: f64,
    pub f64_error: f64,
    pub source_f32_error: Option<f64>,
    pub ok: bool,
    /// The GPU's error as a part of its budget.
    pub of_budget: Option<f64>,
    pub failures: Vec<String>,
}

/// Replays `trace`, which `file` holds.
pub fn replay(file: String, trace: &Trace, gpu: Option<&Gpu>) -> Result<Row> {
    let Trace {
        rule,
        problem,
        marks,
        in_f64: said_in_f64,
        source_f32,
        ..
    } = trace;
    let in_f64 = problem.observe(&mut cpu::Optimizer::<f64>::new(&problem.layout)?, marks)?;
    let in_f32 = problem.observe(&mut cpu::Optimizer::<f32>::new(&problem.layout)?, marks)?;
    let truth = Truth::new(problem, marks, trace.expected.clone());
    let off = |found: &[Vec<f64>]| truth.deviation(found, f64::INFINITY);
    let (f64_twin, f32_twin) = (off(&in_f64), off(&in_f32));
    let mut row = Row {
        file,
        rule: rule.name().to_owned(),
        steps: problem.grads.len(),
        gpu_error: None,
        f32_error: truth.relative(f32_twin.largest),
        f64_error: truth.relative(f64_twin.largest),
        source_f32_error: None,
        ok: true,
        of_budget: None,
        failures: Vec::new(),
    };
    let explain = |deviation: &Deviation| explain(problem, marks, deviation);
    // What the file says in F64, and apart from it what it says in F32.
    let at_marks = |found: &[Vec<f64>], in_f64: bool| -> Vec<Vec<f64>> {
        let marks = found.iter().zip(said_in_f64);
        let kept = marks.map(|(values, said)| if *said == in_f64 { &values[..] } else { &[] });
        kept.map(<[f64]>::to_vec).collect()
    };
    let exact = off(&at_marks(&in_f64, true));
    if truth.relative(exact.largest) > SAME_RULE {
        row.failures.push(format!(
            "the f64 twin: {}, {:.1e} of the movement; at most {SAME_RULE:e} may be",
            explain(&exact),
            truth.relative(exact.largest)
        ));
    }
    let rounded = off(&at_marks(&in_f64, false));
    let rounding = Truth::new(problem, marks, in_f64.clone());
    let rounding = rounding
        .deviation(&at_marks(&in_f32, false), f64::INFINITY)
        .largest;
    let limit = WORSE_THAN_SOURCE * rounding + LUCK * truth.ulp();
    if rounded.largest > limit {
        row.failures.push(format!(
            "the f64 twin: {}; at most {limit:.1e} may be, by the f32 twin's rounding, since the file \
             says it in F32",
            explain(&rounded)
        ));
    }
    if row.f32_error > TWIN_BUDGET {
        row.failures.push(format!(
            "the f32 twin: {}, {:.1e} of the movement; f32 does not hold what happens here",
            explain(&f32_twin),
            row.f32_error
        ));
    }
    if source_f32.iter().any(|values| !values.is_empty()) {
        let source = off(source_f32).largest;
        row.source_f32_error = Some(truth.relative(source));
        // Only where the file has the framework's own, to compare like with like.
        let mut beside = in_f32;
        for (values, _) in beside
            .iter_mut()
            .zip(source_f32)
            .filter(|(_, source)| source.is_empty())
        {
            values.clear();
        }
        let beside = off(&beside);
        let limit = WORSE_THAN_SOURCE * source + LUCK * truth.ulp();
        if beside.largest > limit {
            row.failures.push(format!(
                "the f32 twin: {}; at most {limit:.1e} may be, by the framework's own",
                explain(&beside),
            ));
        }
    }
    if let Some(gpu) = gpu {
        let mut optimizer = Optimizer::new(&gpu.device, &problem.layout, Options::default())?;
        let optimizer = &mut optimizer;
        let on_gpu = off(&problem.observe(&mut OnGpu { gpu, optimizer }, marks)?);
        let allowance = Allowance::of(&gpu.info);
        let budget = allowance.budget(
            problem,
            &Options::default(),
            &**rule,
            &truth,
            f32_twin.largest,
        )?;
        row.gpu_error = Some(truth.relative(on_gpu.largest));
        let of_budget = on_gpu.largest / budget;
        row.of_budget = of_budget.is_finite().then_some(of_budget);
        // Infinity is within no budget.
        if !(on_gpu.largest <= budget && on_gpu.largest.is_finite()) {
            row.failures.push(format!(
                "the GPU: {}, over the budget of {budget:.1e}",
                explain(&on_gpu)
            ));
        }
    }
    row.ok = row.failures.is_empty();
    Ok(row)
}
