//! What the user gets to see: tables, or JSON lines, and a progress bar on a terminal.

use ::report::Progress;
use anyhow::{Error, Result};
use flags::device::describe;
use serde::Serialize;
use serde_json::json;
use wgpu_optim::{Format, wgpu::AdapterInfo};

use crate::arguments::Arguments;
use crate::budget::Allowance;
use crate::check::{self, Check};
use crate::copied;
use crate::formats;
use crate::page::{Entry, Kind};
use crate::stored;
use crate::trace;

/// The report on one device.
pub struct Report {
    json: bool,
    pub adapter: Option<AdapterInfo>,
    pub kind: Kind,
    progress: Progress,
    pub entries: Vec<Entry>,
}

/// A line of `--json`.
#[derive(Serialize)]
struct Line<'a, R> {
    adapter: Option<&'a str>,
    backend: Option<String>,
    #[serde(flatten)]
    row: R,
}

const ERRORS: &str = "\
error    the largest distance of a parameter from the f64 twin, as a part of the largest movement
         of any parameter, and in ulp of the largest parameter; in fewer bits than f32, the RMS
         of all parameters' distances, as a part of the RMS of their movements
";

const TRACE_ERRORS: &str = "\
error    the largest distance of a parameter from what the file expects, as a part of the largest
         movement of any parameter: of the GPU, the twins, and the framework itself in f32
";

const TWIN_BUDGET: &str = "\
budget   the f32 twin's error: 1e-2, which no rounding reaches and another formula would exceed;
         with state in bf16 5e-2, in int8 2e-1, and more where parameters are rounded, by what that
         adds at most
";

const TRACE_TWIN_BUDGETS: &str = "\
budgets  the f64 twin's error: 1e-10; the f32 twin's: 1.1 × the framework's own + 2 ulp
";

impl Report {
    /// A report on `rows` rows from `adapter`, or from the CPU alone.
    pub fn new(
        arguments: &Arguments,
        kind: Kind,
        adapter: Option<AdapterInfo>,
        rows: usize,
    ) -> Result<Self> {
        let what = match kind {
            Kind::Rules => "variants",
            Kind::Traces => "traces",
            Kind::Formats => "steps",
        };
        Ok(Self {
            json: arguments.json,
            adapter,
            kind,
            progress: Progress::new(rows as u64, what, arguments.quiet)?,
            entries: Vec::new(),
        })
    }

    /// What the table of rules is about.
    pub fn rules_heading(&mut self) -> Result<()> {
        let more = format!("\n{}\n{}", stored::describe(), copied::DESCRIPTION);
        self.heading(ERRORS, TWIN_BUDGET, &more)?;
        let names = [
            "rule",
            "format",
            "elements",
            "steps",
            "GPU error",
            "ulp",
            "f32 error",
            "ulp",
            "budget",
            "verdict",
            "variant",
        ];
        self.text(&in_columns(&names, &RULE_WIDTHS))
    }

    /// What the table of traces is about.
    pub fn traces_heading(&mut self) -> Result<()> {
        self.heading(TRACE_ERRORS, TRACE_TWIN_BUDGETS, "")?;
        let names = [
            "rule",
            "steps",
            "GPU error",
            "f32 error",
            "f64 error",
            "framework",
            "budget",
            "verdict",
            "file",
        ];
        self.text(&in_columns(&names, &TRACE_WIDTHS))
    }

    /// What the table of formats is about.
    pub fn formats_heading(&mut self) -> Result<()> {
        let device = self.device();
        self.text(&format!("device: {device}\n\n{}\n", formats::DESCRIPTION))?;
        let names = [
            "rule",
            "format",
            "gradients",
            "steps",
            "RMS error",
            "bias",
            "gain",
            "limit",
            "verdict",
            "elements",
        ];
        self.text(&in_columns(&names, &FORMAT_WIDTHS))
    }

    fn heading(&mut self, errors: &str, twin_budgets: &str, more: &str) -> Result<()> {
        let device = self.device();
        let Some(budget) = self.gpu_budget() else {
            return self.text(&format!("device   {device}\n{errors}{twin_budgets}"));
        };
        let budget = format!("{budget}{more}").replace('\n', "\n         ");
        self.text(&format!(
            "device   {device}\n{errors}{twin_budgets}         the GPU's error: {budget}\n"
        ))
    }

    pub fn device(&self) -> String {
        let none = || "none: the twins on the CPU alone".to_owned();
        self.adapter.as_ref().map_or_else(none, describe)
    }

    /// What the GPU's error may be; `None` without a GPU.
    pub fn gpu_budget(&self) -> Option<&'static str> {
        let info = self
            .adapter
            .as_ref()
            .filter(|_| self.kind != Kind::Formats)?;
        Some(Allowance::of(info).describe())
    }

    pub fn checked(&mut self, row: &check::Row) -> Result<()> {
        let some = |count, what| match count {
            0 => String::new(),
            _ => format!(" ({count} {what})"),
        };
        let (turned, flipped) = (some(row.turned, "turned"), some(row.flipped, "flipped"));
        let gpu_ulp = row.gpu_ulp.map_or("–".into(), |ulp| format!("{ulp:.1}"));
        let cells = [
            row.rule.to_string(),
            row.format.clone(),
            row.elements.to_string(),
            row.steps.to_string(),
            error(row.gpu_error),
            gpu_ulp,
            error(Some(row.f32_error)),
            format!("{:.1}", row.f32_ulp),
            percent(row.of_budget),
            verdict(row.ok).to_owned(),
            format!("{}{turned}{flipped}", row.variant),
        ];
        let text = in_columns(&cells, &RULE_WIDTHS);
        let entry = Entry {
            rule: row.rule.to_string(),
            name: full_name(&row.rule, &row.variant, &row.format),
            cells: cells.to_vec(),
            of_budget: row.of_budget,
            is_right: row.ok,
            failures: row.failures.clone(),
        };
        self.row(entry, row, &text)
    }

    pub fn replayed(&mut self, row: &trace::Row) -> Result<()> {
        let cells = [
            row.rule.to_string(),
            row.steps.to_string(),
            error(row.gpu_error),
            error(Some(row.f32_error)),
            error(Some(row.f64_error)),
            error(row.source_f32_error),
            percent(row.of_budget),
            verdict(row.ok).to_owned(),
            row.file.clone(),
        ];
        let text = in_columns(&cells, &TRACE_WIDTHS);
        let entry = Entry {
            rule: row.rule.to_string(),
            name: row.file.clone(),
            cells: cells.to_vec(),
            of_budget: row.of_budget,
            is_right: row.ok,
            failures: row.failures.clone(),
        };
        self.row(entry, row, &text)
    }

    /// A step of all formats, and what came of it.
    pub fn stepped(&mut self, rows: &[formats::Row]) -> Result<()> {
        for row in rows {
            let formats::Error { rms, bias, gain } = row.error;
            let cells = [
                row.rule.to_owned(),
                row.format.to_owned(),
                row.gradients.to_owned(),
                row.steps.to_string(),
                format!("{:.4} %", 100.0 * rms),
                format!("{:+.3} %", 100.0 * bias),
                format!("{:+.3} %", 100.0 * gain),
                percent(Some(row.of_budget)),
                verdict(row.ok).to_owned(),
                row.elements.to_string(),
            ];
            let text = in_columns(&cells, &FORMAT_WIDTHS);
            let entry = Entry {
                rule: row.rule.to_owned(),
                name: format!(
                    "{} in {}, {} {}",
                    row.rule, row.format, row.gradients, row.steps
                ),
                cells: cells.to_vec(),
                of_budget: Some(row.of_budget),
                is_right: row.ok,
                failures: row.failures.clone(),
            };
            self.row(entry, row, &text)?;
        }
        self.progress.advance(1);
        Ok(())
    }

    /// A variant that could not be run.
    pub fn not_checked(&mut self, check: &Check, error: &Error) -> Result<()> {
        let (rule, variant, format) = (check.rule(), check.label(), check.format());
        let row = json!({
            "rule": rule,
            "format": format,
            "variant": variant,
            "elements": null,
            "steps": null,
            "gpu_error": null,
            "f32_error": null,
            "ok": false,
            "failures": [format!("{error:#}")],
        });
        let name = full_name(rule, &variant, &format);
        self.row(Entry::failed(self.kind, rule, &name, error), &row, &name)
    }

    /// A trace that could not be read or run.
    pub fn not_replayed(&mut self, file: &str, error: &Error) -> Result<()> {
        let row = json!({
            "file": file,
            "rule": null,
            "steps": null,
            "gpu_error": null,
            "f32_error": null,
            "f64_error": null,
            "source_f32_error": null,
            "ok": false,
            "failures": [format!("{error:#}")],
        });
        self.row(Entry::failed(self.kind, file, file, error), &row, file)
    }

    fn row(&mut self, entry: Entry, row: &impl Serialize, text: &str) -> Result<()> {
        if self.json {
            let adapter = self.adapter.as_ref().map(|info| info.name.as_str());
            let backend = self.adapter.as_ref().map(|info| info.backend.to_string());
            let line = serde_json::to_string(&Line {
                adapter,
                backend,
                row,
            })?;
            self.progress.line(&line)?;
        } else {
            self.progress.line(text)?;
            for failure in &entry.failures {
                self.progress.line(&format!("  FAILED: {failure}"))?;
            }
        }
        self.entries.push(entry);
        if self.kind != Kind::Formats {
            self.progress.advance(1);
        }
        Ok(())
    }

    /// Ends the table.
    pub fn summary(&mut self) -> Result<()> {
        self.progress.finish();
        let verdict = self.verdict();
        self.text(&format!("\n{verdict}\n"))
    }

    /// How many are right, and how much of a budget is used.
    pub fn verdict(&self) -> String {
        let failed = self.entries.iter().filter(|entry| !entry.is_right).count();
        let right = self.entries.len() - failed;
        let outcome = format!("{right} of {} are right", self.entries.len());
        let failed = match failed {
            0 => String::new(),
            failed => format!(", {failed} FAILED"),
        };
        let parts = self
            .entries
            .iter()
            .filter_map(|entry| Some((entry.of_budget?, &entry.name)));
        let tightest = parts
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(part, name)| {
                let part = percent(Some(part));
                format!("; at most {part} of a budget is used, by {name}")
            });
        let tightest = tightest.unwrap_or_default();
        format!("{outcome}{failed}{tightest}.")
    }

    /// Whether all was well.
    pub fn is_right(&self) -> bool {
        self.entries.iter().all(|entry| entry.is_right)
    }

    fn text(&mut self, text: &str) -> Result<()> {
        match self.json {
            true => Ok(()),
            false => self.progress.line(text),
        }
    }
}

/// Of columns, flush left if negative.
const RULE_WIDTHS: [isize; 11] = [-18, -17, 8, 5, 9, 6, 9, 6, 6, -7, 0];
const FORMAT_WIDTHS: [isize; 10] = [-10, -6, -9, 5, 11, 10, 10, 6, -7, 0];
const TRACE_WIDTHS: [isize; 9] = [-18, 5, 9, 9, 9, 9, 6, -7, 0];

fn in_columns(cells: &[impl AsRef<str>], widths: &[isize]) -> String {
    let cells = cells.iter().zip(widths).map(|(cell, width)| {
        let (cell, count) = (cell.as_ref(), width.unsigned_abs());
        match *width < 0 {
            true => format!("{cell:<count$}"),
            false => format!("{cell:>count$}"),
        }
    });
    cells.collect::<Vec<_>>().join("  ")
}

/// What a row of the table of rules is about.
fn full_name(rule: &str, variant: &str, format: &str) -> String {
    match format == Format::F32.name() {
        true => format!("{rule} {variant}"),
        false => format!("{rule} in {format} {variant}"),
    }
}

fn verdict(ok: bool) -> &'static str {
    match ok {
        true => "ok",
        false => "FAILED",
    }
}

fn error(error: Option<f64>) -> String {
    error.map_or("–".into(), |error| format!("{error:.1e}"))
}

pub fn percent(part: Option<f64>) -> String {
    part.map_or("–".into(), |part| format!("{:.0} %", 100.0 * part))
}
