//! Every variant of every rule on the visitor's GPU, held against its twin in f64. Problems, variants,
//! errors and budgets are those of the example `verify`.

use anyhow::{Context, Result};
use serde::Serialize;
use wasm_bindgen::JsError;
use wasm_bindgen::prelude::wasm_bindgen;
use wgpu_optim::{Optimizer, Options, cpu, rules};

use crate::accuracy::Truth;
use crate::budget::{Allowance, TURNED_PER_MILLION, TWIN_BUDGET};
use crate::errors::thrown;
use crate::problem::Problem;
use crate::race::Course;
use crate::variant::Variant;

/// A few tensors, so that a browser's page has its turn between variants.
const SIZES: [usize; 3] = [256, 5, 1025];
const STEPS: usize = 20;

/// What came of a variant. Errors are parts of the largest movement of any parameter.
#[derive(Serialize)]
struct Row {
    rule: &'static str,
    variant: String,
    elements: usize,
    steps: usize,
    f32_error: f64,
    /// None without a GPU.
    gpu_error: Option<f64>,
    of_budget: Option<f64>,
    failures: Vec<String>,
}

/// How many variants of a rule there are; the first is its defaults.
#[wasm_bindgen]
pub fn variant_count(rule: &str) -> Result<usize, JsError> {
    Ok(variants(rule).map_err(thrown)?.len())
}

#[wasm_bindgen]
impl Course {
    /// What came of one variant of a rule, as JSON.
    pub async fn check(&self, rule: String, index: usize) -> Result<String, JsError> {
        let row = self.row(&rule, index).await;
        let row = row.and_then(|row| Ok(serde_json::to_string(&row)?));
        row.map_err(thrown)
    }
}

impl Course {
    async fn row(&self, rule: &str, index: usize) -> Result<Row> {
        let variants = variants(rule)?;
        let variant = variants.get(index).context("There is no such variant.")?;
        let problem = Problem::with_sizes(variant.build()?, &SIZES, STEPS)?;
        let marks = problem.end(false)?;
        let in_f64 = problem.observe(&mut cpu::Optimizer::<f64>::new(&problem.layout)?, &marks)?;
        let in_f32 = problem.observe(&mut cpu::Optimizer::<f32>::new(&problem.layout)?, &marks)?;
        let truth = Truth::new(&problem, &marks, in_f64);
        let rule = variant.build()?;
        let turn = match rule.is_sign_based() {
            true => STEPS as f64 * truth.ulp(),
            false => f64::INFINITY,
        };
        let twin = truth.deviation(&in_f32, turn);
        let elements = problem.layout.parameter_count();
        let mut row = Row {
            rule: variant.rule,
            variant: variant.label(),
            elements,
            steps: STEPS,
            f32_error: truth.relative(twin.largest),
            gpu_error: None,
            of_budget: None,
            failures: Vec::new(),
        };
        if row.f32_error > TWIN_BUDGET {
            row.failures.push("the f32 twin is off".into());
        }
        let mut turned = twin.turned;
        if let Some(gpu) = &self.gpu {
            let options = Options::default();
            let layout = &problem.layout;
            let mut optimizer = Optimizer::new_async(&gpu.device, layout, options).await?;
            let on_gpu = problem.observe_end(gpu, &mut optimizer, &marks).await?;
            let found = truth.deviation(&on_gpu, turn);
            let budget = Allowance::of(&gpu.info).budget(
                &problem,
                &Options::default(),
                &*rule,
                &truth,
                twin.largest,
            )?;
            row.gpu_error = Some(truth.relative(found.largest));
            row.of_budget = Some(found.largest / budget);
            turned = found.turned;
            if let (true, Some(place)) = (found.largest > budget, found.place) {
                row.failures.push(format!(
                    "element {} of tensor {} is {:e} where {:e} is right; the budget is {budget:.1e}",
                    place.element, marks[place.mark].tensor, place.found, place.right
                ));
            }
        }
        if turned * 1_000_000 > TURNED_PER_MILLION * elements {
            row.failures.push(format!(
                "{turned} elements went another way than in f64; at most {TURNED_PER_MILLION} in a million may"
            ));
        }
        Ok(row)
    }
}

fn variants(rule: &str) -> Result<Vec<Variant>> {
    let name = rules::names().find(|name| *name == rule);
    Variant::of_rule(name.with_context(|| format!("There is no rule {rule:?}."))?)
}
