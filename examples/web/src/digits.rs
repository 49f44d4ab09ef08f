//! The digits that networks learn, for the page to show.

use std::sync::OnceLock;

use anyhow::{Context, Result};
use trainer::data::{Dataset, Embedded, Source};
use wasm_bindgen::JsError;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::errors::thrown;

/// Classes.
pub const CLASSES: usize = 10;

/// Unpacked once.
pub fn data() -> Result<&'static Dataset> {
    static DATA: OnceLock<Dataset> = OnceLock::new();
    if let Some(data) = DATA.get() {
        return Ok(data);
    }
    let data = Source::Embedded(Embedded::Digits).load(CLASSES)?;
    Ok(DATA.get_or_init(|| data))
}

/// How many digits are for tests alone.
#[wasm_bindgen]
pub fn test_digit_count() -> Result<usize, JsError> {
    Ok(data().map_err(thrown)?.test.count)
}

/// A digit of the test data: its 64 pixels from 0 to 1, row by row, and what it is.
#[wasm_bindgen]
pub fn test_digit(index: usize) -> Result<Vec<f32>, JsError> {
    digit(index).map_err(thrown)
}

fn digit(index: usize) -> Result<Vec<f32>> {
    let data = data()?;
    let rows = |numbers: &[f32], width: usize| {
        let row = numbers.chunks_exact(width).nth(index);
        row.map(<[f32]>::to_vec)
            .with_context(|| format!("There is no digit {index}."))
    };
    let mut digit = rows(&data.test.inputs, data.features)?;
    let targets = rows(&data.test.targets, data.outputs)?;
    let class = targets.iter().position(|&target| target == 1.0);
    digit.push(class.context("A digit is of no class.")? as f32);
    Ok(digit)
}
