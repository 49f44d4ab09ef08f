//! What the user gets to see: a table, or JSON lines.

use std::io::{Write, stdout};
use std::path::Path;

use anyhow::Result;
use serde::{Serialize, Serializer};
use serde_json::json;

use crate::compare;
use crate::load::{self, percent};
use crate::statistics::Quartiles;
use crate::workload::Workload;

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

fn quartiles(Quartiles { low, median, high }: Quartiles) -> String {
    format!("{median:.2} ({low:.2} … {high:.2})")
}

/// Prints rows as they come.
pub struct Report {
    pub json: bool,
}

impl Report {
    /// What the rows to come are of.
    pub fn heading(&self, device: &str, clock: &str, copies: &str, rounds: usize) -> Result<()> {
        self.text(&format!(
            "device  {device}
clock   {clock}; {rounds} rounds
copy    {copies}, run in turns with the step: a ratio of 1 is as fast
        as memory allows; medians, with the quartiles

{:<24}  {:>10}  {:>7}  {:>9}  {:>8}  {:<19}  {:<19}  {:>7}  {:>6}  copied by",
            "rule",
            "size",
            "tensors",
            "ms/step",
            "GB/s",
            "copy/step",
            "step/one tensor",
            "record",
            "others"
        ))
    }

    pub fn row(&self, row: &Row) -> Result<()> {
        if self.json {
            return self.json(&serde_json::to_value(row)?);
        }
        self.text(&format!(
            "{:<24}  {:>10}  {:>7}  {:>9.3}  {:>8.2}  {:<19}  {:<19}  {:>7}  {:>6}  {}",
            row.label(),
            row.size,
            row.tensors,
            row.ms,
            row.gb_per_s,
            quartiles(row.copy_ratio),
            row.one_tensor_ratio.map_or_else(String::new, quartiles),
            row.record_us
                .map_or_else(String::new, |us| format!("{us:.0} µs")),
            row.others_cpu.map_or_else(String::new, percent),
            row.copy,
        ))
    }

    /// What the comparisons to come are of.
    pub fn comparison(&self, device: &str, other: &Path, turns: usize) -> Result<()> {
        self.text(&format!(
            "device   {device}
other    {}
speedup  the other build's time over this one's, of {turns} turns each: above 1, this one is
         faster; the median, with the quartiles

{:<18}  {:>12}  {:>9}  {:>9}  {:<22}  {:>6}",
            other.display(),
            "rule",
            "size",
            "ms/step",
            "other",
            "speedup",
            "others"
        ))
    }

    pub fn compared(&self, row: &compare::Row) -> Result<()> {
        if self.json {
            return self.json(&serde_json::to_value(row)?);
        }
        let Quartiles { low, median, high } = row.speedup;
        self.text(&format!(
            "{:<18}  {:>12}  {:>9.3}  {:>9.3}  {:<22}  {:>6}",
            row.rule,
            row.size,
            row.ms,
            row.other_ms,
            format!("{median:.3} ({low:.3} … {high:.3})"),
            row.others_cpu.map_or_else(String::new, percent),
        ))
    }

    /// Whether the machine was quiet.
    pub fn load(&self, others_cpu: impl IntoIterator<Item = Option<f64>>) -> Result<()> {
        self.text(&format!("\n{}", load::verdict(others_cpu)))
    }

    /// Where a workload does not fit or a device gives up, and why.
    pub fn failed(&self, rule: &str, workload: &Workload, error: &anyhow::Error) -> Result<()> {
        if self.json {
            let size = workload.to_string();
            return self.json(&json!({"rule": rule, "size": size, "error": format!("{error:#}")}));
        }
        self.text(&format!(
            "{rule:<18}  {:>12}  not timed: {error:#}",
            workload.to_string()
        ))
    }

    fn text(&self, text: &str) -> Result<()> {
        if !self.json {
            writeln!(stdout(), "{text}")?;
        }
        Ok(())
    }

    fn json(&self, value: &serde_json::Value) -> Result<()> {
        Ok(writeln!(stdout(), "{value}")?)
    }
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
