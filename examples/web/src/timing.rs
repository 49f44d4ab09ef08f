//! Steps of rules on the visitor's GPU, against copies of as much memory. What is timed and how is the
//! example `bench`'s; the clock is a browser's.

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::json;
use wasm_bindgen::JsError;
use wasm_bindgen::prelude::wasm_bindgen;
use wgpu_optim::Gpu;

use crate::clock::Clock;
use crate::copies;
use crate::errors::thrown;
use crate::race::Course;
use crate::steps::Bench;
use crate::streams;
use crate::workload::Workload;

/// Times that a step and its copies take turns.
const MOST_ROUNDS: usize = 101;
/// More would fill many a GPU's memory.
const MOST_ELEMENTS: usize = 1 << 26;

/// What times steps.
#[wasm_bindgen]
pub struct Stopwatch {
    bench: Bench,
    about: String,
}

#[derive(Serialize)]
struct About {
    clock: &'static str,
    tick_ms: f64,
    round_trip_ms: f64,
    sample_ms: f64,
    rounds: usize,
    /// Shaders that contend to be the copy.
    copies: usize,
}

/// The rules that are bound by memory, so that a copy says something of them.
#[wasm_bindgen]
pub fn timed_rules() -> Vec<String> {
    streams::timed().map(str::to_owned).collect()
}

#[wasm_bindgen]
impl Course {
    /// What times steps in so many rounds on the GPU that the browser calls `name`.
    pub async fn stopwatch(&self, name: String, rounds: usize) -> Result<Stopwatch, JsError> {
        let gpu = self.gpu.clone();
        Stopwatch::new(gpu, name, rounds).await.map_err(thrown)
    }
}

#[wasm_bindgen]
impl Stopwatch {
    /// The clock and what was found out about it, as JSON.
    #[wasm_bindgen(getter)]
    pub fn about(&self) -> String {
        self.about.clone()
    }

    /// A line as `bench --json` writes it: of a rule in a format, such as `bf16` or `bf16+8/bf16/int8`, over a
    /// number of parameters, such as `2^20`.
    pub async fn row(&self, rule: String, format: String, size: String) -> String {
        let line = self.line(&rule, &format, &size).await;
        let line = line.unwrap_or_else(|error| {
            json!({"rule": rule, "format": format, "size": size, "error": format!("{error:#}")})
        });
        line.to_string()
    }
}

impl Stopwatch {
    async fn new(gpu: Option<Gpu>, name: String, rounds: usize) -> Result<Self> {
        let mut gpu = gpu.context("Timings are of a GPU, and there is no WebGPU here.")?;
        ensure!(
            (1..=MOST_ROUNDS).contains(&rounds),
            "{rounds} rounds cannot be timed here: expected 1 to {MOST_ROUNDS}."
        );
        gpu.info.name = name;
        let clock = Clock::measured(&gpu).await?;
        let about = serde_json::to_string(&About {
            clock: clock.name(),
            tick_ms: clock.tick_ms,
            round_trip_ms: clock.round_trip_ms,
            sample_ms: clock.sample_ms(),
            rounds,
            copies: copies::SHAPES.len(),
        })?;
        Ok(Self {
            bench: Bench::new(gpu, clock, rounds),
            about,
        })
    }

    async fn line(&self, rule: &str, format: &str, size: &str) -> Result<serde_json::Value> {
        let formats = flags::format::of_all(format).map_err(anyhow::Error::msg)?;
        let workloads = Workload::parse(size).map_err(anyhow::Error::msg)?;
        let [workload] = &workloads[..] else {
            anyhow::bail!("{size} are several sizes: expected one at a time.");
        };
        ensure!(
            workload.element_count() <= MOST_ELEMENTS,
            "{size} parameters are too many for a page: expected at most {MOST_ELEMENTS}."
        );
        let row = self.bench.row(rule, formats, workload).await?;
        Ok(serde_json::to_value(row)?)
    }
}
