//! A function's shape, for the map to draw.

use wasm_bindgen::JsError;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::errors::thrown;
use crate::functions::Function;
use crate::levels::Levels;
use crate::setting;

/// What lies on a minimum is below all levels by no end.
const LOWEST_LEVEL: f64 = -4.0;

/// Values of a function at points that are spread evenly over its domain, ends included.
#[wasm_bindgen]
pub struct Relief {
    formula: String,
    values: Vec<f64>,
    low: f64,
    high: f64,
}

#[wasm_bindgen]
impl Relief {
    /// `across` points along each variable; rows from the least y to the largest.
    #[wasm_bindgen(constructor)]
    pub fn new(name: &str, condition: Option<f64>, across: usize) -> Result<Self, JsError> {
        let function = setting::function(name, condition).map_err(thrown)?;
        let values = values(&*function, across);
        let low = values.iter().copied().fold(f64::MAX, f64::min);
        let high = values.iter().copied().fold(f64::MIN, f64::max);
        Ok(Self {
            formula: function.formula(),
            values,
            low,
            high,
        })
    }

    /// As people write the function.
    #[wasm_bindgen(getter)]
    pub fn formula(&self) -> String {
        self.formula.clone()
    }

    #[wasm_bindgen(getter)]
    pub fn values(&self) -> Vec<f64> {
        self.values.clone()
    }

    #[wasm_bindgen(getter)]
    pub fn low(&self) -> f64 {
        self.low
    }

    #[wasm_bindgen(getter)]
    pub fn high(&self) -> f64 {
        self.high
    }

    /// How many limits of levels each value is above, and its part of the way to the next one.
    pub fn levels(&self) -> Result<Vec<f32>, JsError> {
        let levels = Levels::of(&self.values).map_err(thrown)?;
        let (first, ratio) = (levels.limits[0], levels.limits[1] / levels.limits[0]);
        let level = |value: &f64| {
            let height = (value - levels.lowest) / first;
            (1.0 + height.ln() / ratio.ln()).max(LOWEST_LEVEL) as f32
        };
        Ok(self.values.iter().map(level).collect())
    }

    /// What the contours are.
    pub fn remark(&self) -> Result<String, JsError> {
        Ok(Levels::of(&self.values).map_err(thrown)?.remark())
    }
}

fn values(function: &dyn Function, across: usize) -> Vec<f64> {
    let cells = across.saturating_sub(1).max(1) as f64;
    let along = |range: Option<&[f64; 2]>| {
        let [least, most] = range.copied().unwrap_or_default();
        let count = if range.is_some() { across } else { 1 };
        (0..count).map(move |i| least + (most - least) * i as f64 / cells)
    };
    let domain = function.domain();
    let values = along(domain.get(1))
        .flat_map(|y| along(domain.first()).map(move |x| function.derivatives([x, y]).value));
    values.collect()
}
