//! One rule from starts all over the domain: the minimum that each ends in.

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsError, JsValue};

use crate::descent::cpu::OnCpu;
use crate::descent::gpu::OnGpu;
use crate::descent::{Descent, Frame, Plan, couples};
use crate::errors::thrown;
use crate::fates::{self, Fates};
use crate::functions::Function;
use crate::race::{Course, next, wants_more};
use crate::setting::Setting;

/// Starts along each variable at most.
const MOST_ACROSS: usize = 256;
/// About so many moments are handed over, however many steps there are.
const MOMENTS: u64 = 150;
/// Steps between two turns of the page.
const STEPS: usize = 32;

/// What came of all starts.
#[derive(Serialize)]
struct Outcome {
    /// The parts that ended in a lowest minimum, and in another.
    shares: [f64; 2],
    /// The steps in which the fastest quarter, half, three quarters and all of those settled that did.
    quarters: Option<[u64; 4]>,
    /// How near a minimum counts as there.
    reach: f64,
}

#[wasm_bindgen]
impl Course {
    /// Descends by rule number `rule` of a setting from `across` × `across` starts, row by row from low
    /// y. Hands `observe` one chunk after another: a Float32Array with the number of a step and the
    /// positions at it, for some of the steps; and an Int32Array with the minimum that each start is at,
    /// −1 for none, and the step since which it is. `false` ends it. What came of it, as JSON.
    pub async fn descend(
        &self,
        setting: String,
        rule: usize,
        across: usize,
        observe: js_sys::Function,
    ) -> Result<String, JsError> {
        let outcome = self.outcome(&setting, rule, across, &observe).await;
        let outcome = outcome.and_then(|outcome| Ok(serde_json::to_string(&outcome)?));
        outcome.map_err(thrown)
    }
}

impl Course {
    async fn outcome(
        &self,
        setting: &str,
        rule: usize,
        across: usize,
        observe: &js_sys::Function,
    ) -> Result<Outcome> {
        ensure!(
            (2..=MOST_ACROSS).contains(&across),
            "{across} starts along each variable cannot be: expected 2 to {MOST_ACROSS}."
        );
        let setting = Setting::read(setting)?;
        let function = setting.function()?;
        let plan = plan(&setting, &*function, rule, across)?;
        let mut flock = Flock {
            fates: Fates::new(&*function, across * across),
            every: plan.steps.div_ceil(MOMENTS),
            steps: plan.steps,
            observe,
        };
        let mut goes_on = flock.tell(&[plan.first()]).await?;
        match &self.gpu {
            Some(gpu) => {
                let mut descent = OnGpu::new(&gpu.device, &gpu.queue, plan).await?;
                while goes_on && let Some(chunk) = next(&mut descent).await? {
                    goes_on = flock.tell(&chunk.frames).await?;
                }
            }
            None => {
                let mut descent = OnCpu::<f32>::new(plan)?;
                while goes_on && let Some(chunk) = descent.advance()? {
                    goes_on = flock.tell(&chunk.frames).await?;
                }
            }
        }
        Ok(Outcome {
            shares: flock.fates.shares(),
            quarters: flock.fates.quarters(),
            reach: flock.fates.reach,
        })
    }
}

fn plan<'a>(
    setting: &Setting,
    function: &'a dyn Function,
    rule: usize,
    across: usize,
) -> Result<Plan<'a>> {
    let starts = fates::starts(function, across)?;
    let rules = setting
        .rules
        .get(rule..=rule)
        .context("There is no such rule.")?;
    let plan = setting.plan_from(function, rules, &starts)?;
    ensure!(
        !plan.entrants.iter().any(|entrant| couples(&*entrant.rule)),
        "Basins do not go with {}, which estimates one distance from all points together: expected another rule.",
        rules.join(", ")
    );
    Ok(plan)
}

struct Flock<'a> {
    fates: Fates,
    /// Each how many steps a moment is handed over, beside the last.
    every: u64,
    steps: u64,
    observe: &'a js_sys::Function,
}

impl Flock<'_> {
    /// Whether the observer wants more.
    async fn tell(&mut self, frames: &[Frame]) -> Result<bool> {
        for frames in frames.chunks(STEPS) {
            if !self.tell_some(frames).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn tell_some(&mut self, frames: &[Frame]) -> Result<bool> {
        let mut moments = Vec::new();
        for frame in frames {
            self.fates.observe(frame);
            if frame.step.is_multiple_of(self.every) || frame.step == self.steps {
                moments.push(frame.step as f32);
                let numbers = frame.positions.iter().flatten();
                moments.extend(numbers.map(|&number| number as f32));
            }
        }
        let fates = self.fates.all.iter().flat_map(|fate| match fate.settled {
            Some((minimum, since)) => [minimum as i32, since as i32],
            None => [-1, -1],
        });
        let fates: Vec<i32> = fates.collect();
        let moments = js_sys::Float32Array::from(&moments[..]);
        let fates = js_sys::Int32Array::from(&fates[..]);
        wants_more(self.observe.call2(&JsValue::NULL, &moments, &fates)).await
    }
}
