//! Errors as the page shows them.

use wasm_bindgen::JsError;
use wasm_bindgen::prelude::wasm_bindgen;

/// With all that led to it.
pub fn thrown(error: anyhow::Error) -> JsError {
    JsError::new(&format!("{error:#}"))
}

/// Says in the console where a panic came from; the page would see "unreachable" alone.
#[wasm_bindgen(start)]
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        web_sys::console::error_1(&panic.to_string().into());
    }));
}
