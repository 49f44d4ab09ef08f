//! The library in a browser: what it leaves behind, its rules against the twin, and its errors there.

mod losses;
mod memory;
mod rules;

use wasm_bindgen::prelude::*;
use wgpu_optim::{Gpu, GpuOptions};

/// What a test gives: a line that says what was seen, or what is wrong.
type Outcome = Result<String, Box<dyn std::error::Error>>;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console)]
    fn error(text: &str);
}

/// Runs every test. The text has a line for each, and begins with `FAILED` if one failed.
#[wasm_bindgen]
pub async fn run() -> String {
    std::panic::set_hook(Box::new(|panic| error(&panic.to_string())));
    let outcomes = match Gpu::open(&GpuOptions::default()).await {
        Err(refused) => vec![("opening a device", Err(refused.into()))],
        Ok(gpu) => vec![
            ("reads leave nothing", memory::reads(&gpu).await),
            ("optimizers leave nothing", memory::optimizers(&gpu).await),
            ("rebinding leaves nothing", memory::rebinding(&gpu).await),
            ("steps need not yield", memory::unyielding(&gpu).await),
            ("what is recorded runs", memory::recorded(&gpu).await),
            ("every rule is its twin", rules::all(&gpu).await),
            ("options are the twin's", rules::options(&gpu).await),
            ("so are a caller's ranges", rules::ranges(&gpu).await),
            ("so are formats", rules::formats(&gpu).await),
            ("layouts may be large", memory::large_layouts()),
            ("a name fits no adapter", losses::names().await),
            ("a lost device is an error", losses::lost_device().await),
        ],
    };
    let line = |(name, outcome): &(_, Outcome)| match outcome {
        Ok(seen) => format!("ok: {name}: {seen}\n"),
        Err(wrong) => format!("FAILED: {name}: {wrong}\n"),
    };
    let text: String = outcomes.iter().map(line).collect();
    match outcomes.iter().any(|(_, outcome)| outcome.is_err()) {
        true => format!("FAILED\n{text}"),
        false => text,
    }
}

/// Fails with `problem` unless `holds`.
fn ensure(holds: bool, problem: impl FnOnce() -> String) -> Result<(), Box<dyn std::error::Error>> {
    match holds {
        true => Ok(()),
        false => Err(problem().into()),
    }
}
