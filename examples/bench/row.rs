//! What is known of a rule once it was timed.

use serde::{Serialize, Serializer};

use crate::statistics::Quartiles;

/// One rule over one workload. With the numbers that `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub rule: String,
    pub format: String,
    pub size: String,
    pub elements: usize,
    pub tensors: usize,
    pub device: String,
    /// Of a step, the median.
    #[serde(serialize_with = "rounded")]
    pub ms: f64,
    pub bytes_per_element: f64,
    #[serde(serialize_with = "rounded")]
    pub gb_per_s: f64,
    /// A copy's time over the step's.
    #[serde(flatten, with = "CopyRatio")]
    pub copy_ratio: Quartiles,
    /// Which copy.
    pub copy: String,
    /// The step's time over that of a single tensor with as many elements.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_tensor_ratio: Option<Quartiles>,
    /// The host's time to record a step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record_us: Option<f64>,
    /// The part of the processors' time that other processes used meanwhile, where it is known.
    pub others_cpu: Option<f64>,
}

impl Row {
    /// The rule, and the formats if they are not all f32.
    pub fn label(&self) -> String {
        match &self.format[..] {
            "f32" => self.rule.clone(),
            format => format!("{} {format}", self.rule),
        }
    }
}

/// The median under the plain name.
#[derive(Serialize)]
#[serde(remote = "Quartiles")]
struct CopyRatio {
    #[serde(rename = "copy_ratio")]
    median: f64,
    #[serde(rename = "copy_ratio_low")]
    low: f64,
    #[serde(rename = "copy_ratio_high")]
    high: f64,
}

/// Four significant digits say all that a timing can.
fn rounded<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    let text = format!("{value:.3e}");
    serializer.serialize_f64(text.parse().unwrap_or(*value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_documented_names() {
        let ratio = Quartiles {
            low: 0.5,
            median: 0.6,
            high: 0.7,
        };
        let row = Row {
            rule: "adam".into(),
            format: "f32".into(),
            size: "2^10".into(),
            elements: 1024,
            tensors: 1,
            device: "none".into(),
            ms: 1.23456,
            bytes_per_element: 28.0,
            gb_per_s: 1.0,
            copy_ratio: ratio,
            copy: "by hand".into(),
            one_tensor_ratio: None,
            record_us: None,
            others_cpu: Some(0.25),
        };
        let value = serde_json::to_value(&row).unwrap();
        for name in "rule format elements tensors device bytes_per_element gb_per_s".split(' ') {
            assert!(!value[name].is_null(), "{name}");
        }
        assert_eq!(value["ms"], 1.235);
        assert_eq!(value["copy_ratio"], 0.6);
        assert_eq!(value["others_cpu"], 0.25);
    }
}
