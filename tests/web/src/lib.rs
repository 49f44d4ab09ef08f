//! The library in a browser: what it leaves behind, its rules against the twin, and its errors there.
//!
//! Variants, random problems, errors and budgets are those of the example `verify`.

mod losses;
mod memory;
mod rules;
mod variants;

#[path = "../../../examples/verify/accuracy.rs"]
#[allow(dead_code)] // State in fewer bits uses more of it.
mod accuracy;
#[path = "../../../examples/verify/budget.rs"]
#[allow(dead_code)] // Reports use more of it.
mod budget;
#[path = "../../../examples/verify/place.rs"]
mod place;
#[path = "../../../examples/verify/problem.rs"]
#[allow(dead_code)] // Tests use more of it.
mod problem;
#[path = "../../../examples/verify/subject.rs"]
mod subject;
#[path = "../../../examples/verify/variant.rs"]
mod variant;

use wasm_bindgen::prelude::*;
use wgpu_optim::{Gpu, GpuOptions};

/// What a test gives: a line that says what was seen, or what is wrong.
type Outcome = Result<String, Box<dyn std::error::Error>>;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console)]
    fn error(text: &str);
    /// Tells whoever waits what comes now.
    fn progress(text: &str);
}

/// Runs every test. The text has a line for each, and begins with `FAILED` if one failed.
#[wasm_bindgen]
pub async fn run() -> String {
    std::panic::set_hook(Box::new(|panic| error(&panic.to_string())));
    let gpu = match Gpu::open(&GpuOptions::default()).await {
        Err(refused) => return format!("FAILED: opening a device: {refused}\n"),
        Ok(gpu) => gpu,
    };
    let gpu = &gpu;
    let mut report = Report::default();
    report.add("reads leave nothing", memory::reads(gpu)).await;
    report
        .add("optimizers leave nothing", memory::optimizers(gpu))
        .await;
    report
        .add("rebinding leaves nothing", memory::rebinding(gpu))
        .await;
    report
        .add("steps need not yield", memory::unyielding(gpu))
        .await;
    report
        .add("what is recorded runs", memory::recorded(gpu))
        .await;
    report
        .add("every variant is its twin", variants::everywhere(gpu))
        .await;
    report
        .add("options are the twin's", rules::options(gpu))
        .await;
    report.add("so are formats", rules::formats(gpu)).await;
    report
        .add("layouts may be large", async { memory::large_layouts() })
        .await;
    report.add("a name fits no adapter", losses::names()).await;
    report
        .add("a lost device is an error", losses::lost_device())
        .await;
    match report.failed {
        true => format!("FAILED\n{}", report.text),
        false => report.text,
    }
}

/// What came of the tests so far.
#[derive(Default)]
struct Report {
    text: String,
    failed: bool,
}

impl Report {
    async fn add(&mut self, name: &str, test: impl Future<Output = Outcome>) {
        progress(name);
        let line = match test.await {
            Ok(seen) => format!("ok: {name}: {seen}\n"),
            Err(wrong) => {
                self.failed = true;
                format!("FAILED: {name}: {wrong}\n")
            }
        };
        self.text += &line;
    }
}

/// Fails with `problem` unless `holds`.
fn ensure(holds: bool, problem: impl FnOnce() -> String) -> Result<(), Box<dyn std::error::Error>> {
    match holds {
        true => Ok(()),
        false => Err(problem().into()),
    }
}
