//! What the user gets to see: a table, or JSON lines.

use std::io::{Write, stdout};
use std::path::Path;

use anyhow::Result;
use serde_json::json;

use crate::compare;
use crate::load::{self, percent};
use crate::row::Row;
use crate::statistics::Quartiles;
use crate::workload::Workload;

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
