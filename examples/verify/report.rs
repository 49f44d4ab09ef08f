//! What the user gets to see: tables, or JSON lines, and a progress bar on a terminal.

use std::io::{Write, stdout};

use anyhow::{Error, Result};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;
use wgpu_optim::wgpu::AdapterInfo;

use crate::budget::Allowance;
use crate::check::{self, Check};
use crate::device;
use crate::trace;

/// The report on one device.
pub struct Report {
    json: bool,
    adapter: Option<AdapterInfo>,
    bar: ProgressBar,
    rows: usize,
    failed: usize,
    /// The largest part of a budget that was used, and by what.
    tightest: Option<(f64, String)>,
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
         of any parameter, and in ulp of the largest parameter
";

const TRACE_ERRORS: &str = "\
error    the largest distance of a parameter from what the file expects, as a part of the largest
         movement of any parameter: of the GPU, the twins, and the framework itself in f32
";

const TWIN_BUDGET: &str = "\
budget   the f32 twin's error: 1e-2, which no rounding reaches and another formula would exceed
";

const TRACE_TWIN_BUDGETS: &str = "\
budgets  the f64 twin's error: 1e-10; the f32 twin's: 1.1 × the framework's own + 2 ulp
";

impl Report {
    /// A report on `rows` rows from `adapter`, or from the CPU alone.
    pub fn new(json: bool, adapter: Option<AdapterInfo>, rows: usize) -> Result<Self> {
        let bar = ProgressBar::new(rows as u64);
        bar.set_style(ProgressStyle::with_template(
            "{wide_bar} {pos} of {len}  {eta} left",
        )?);
        Ok(Self {
            json,
            adapter,
            bar,
            rows: 0,
            failed: 0,
            tightest: None,
        })
    }

    /// What the table of rules is about.
    pub fn rules_heading(&self) -> Result<()> {
        self.heading(ERRORS, TWIN_BUDGET)?;
        self.text(&format!(
            "{:<18}  {:>8}  {:>5}  {:>9}  {:>6}  {:>9}  {:>6}  {:>6}  {:<7}  variant",
            "rule",
            "elements",
            "steps",
            "GPU error",
            "ulp",
            "f32 error",
            "ulp",
            "budget",
            "verdict"
        ))
    }

    /// What the table of traces is about.
    pub fn traces_heading(&self) -> Result<()> {
        self.heading(TRACE_ERRORS, TRACE_TWIN_BUDGETS)?;
        self.text(&format!(
            "{:<18}  {:>5}  {:>9}  {:>9}  {:>9}  {:>9}  {:>6}  {:<7}  file",
            "rule",
            "steps",
            "GPU error",
            "f32 error",
            "f64 error",
            "framework",
            "budget",
            "verdict"
        ))
    }

    fn heading(&self, errors: &str, twin_budgets: &str) -> Result<()> {
        let Some(info) = &self.adapter else {
            let device = "device   none: the twins on the CPU alone\n";
            return self.text(&format!("{device}{errors}{twin_budgets}"));
        };
        let device = device::describe(info);
        let budget = Allowance::of(info).describe().replace('\n', "\n         ");
        self.text(&format!(
            "device   {device}\n{errors}{twin_budgets}         the GPU's error: {budget}\n"
        ))
    }

    pub fn checked(&mut self, row: &check::Row) -> Result<()> {
        let verdict = verdict(row.ok);
        let turned = match row.turned {
            0 => String::new(),
            count => format!(" ({count} turned)"),
        };
        self.row(
            row.ok,
            row.of_budget,
            &format!("{} {}", row.rule, row.variant),
            row,
            &format!(
                "{:<18}  {:>8}  {:>5}  {:>9}  {:>6}  {:>9.1e}  {:>6.1}  {:>6}  {verdict:<7}  {}{turned}",
                row.rule,
                row.elements,
                row.steps,
                error(row.gpu_error),
                row.gpu_ulp.map_or("–".into(), |ulp| format!("{ulp:.1}")),
                row.f32_error,
                row.f32_ulp,
                percent(row.of_budget),
                row.variant,
            ),
            &row.failures,
        )
    }

    pub fn replayed(&mut self, row: &trace::Row) -> Result<()> {
        self.row(
            row.ok,
            row.of_budget,
            &row.file,
            row,
            &format!(
                "{:<18}  {:>5}  {:>9}  {:>9.1e}  {:>9.1e}  {:>9}  {:>6}  {:<7}  {}",
                row.rule,
                row.steps,
                error(row.gpu_error),
                row.f32_error,
                row.f64_error,
                error(row.source_f32_error),
                percent(row.of_budget),
                verdict(row.ok),
                row.file,
            ),
            &row.failures,
        )
    }

    /// A variant that could not be run.
    pub fn not_checked(&mut self, check: &Check, error: &Error) -> Result<()> {
        let (rule, variant) = (check.rule(), check.label());
        let row = json!({
            "rule": rule,
            "variant": variant,
            "elements": null,
            "steps": null,
            "gpu_error": null,
            "f32_error": null,
            "ok": false,
            "failures": [format!("{error:#}")],
        });
        let name = format!("{rule} {variant}");
        self.row(false, None, &name, &row, &name, &[format!("{error:#}")])
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
        self.row(false, None, file, &row, file, &[format!("{error:#}")])
    }

    fn row(
        &mut self,
        ok: bool,
        of_budget: Option<f64>,
        name: &str,
        row: &impl Serialize,
        text: &str,
        failures: &[String],
    ) -> Result<()> {
        self.rows += 1;
        self.failed += usize::from(!ok);
        if let Some(part) = of_budget
            && self.tightest.as_ref().is_none_or(|(most, _)| part > *most)
        {
            self.tightest = Some((part, name.to_owned()));
        }
        if self.json {
            let adapter = self.adapter.as_ref().map(|info| info.name.as_str());
            let backend = self.adapter.as_ref().map(|info| info.backend.to_string());
            let line = serde_json::to_string(&Line {
                adapter,
                backend,
                row,
            })?;
            self.line(&line)?;
        } else {
            self.line(text)?;
            for failure in failures {
                self.line(&format!("  FAILED: {failure}"))?;
            }
        }
        self.bar.inc(1);
        Ok(())
    }

    /// Ends the report; whether all was well.
    pub fn summary(&self) -> Result<bool> {
        self.bar.finish_and_clear();
        let right = self.rows - self.failed;
        let outcome = format!("\n{right} of {} are right", self.rows);
        let failed = match self.failed {
            0 => String::new(),
            failed => format!(", {failed} FAILED"),
        };
        let tightest = self.tightest.as_ref().map(|(part, name)| {
            let part = percent(Some(*part));
            format!("; at most {part} of a budget is used, by {name}")
        });
        let tightest = tightest.unwrap_or_default();
        self.text(&format!("{outcome}{failed}{tightest}.\n"))?;
        Ok(self.failed == 0)
    }

    fn text(&self, text: &str) -> Result<()> {
        match self.json {
            true => Ok(()),
            false => self.line(text),
        }
    }

    fn line(&self, text: &str) -> Result<()> {
        self.bar.suspend(|| writeln!(stdout(), "{text}"))?;
        Ok(())
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

fn percent(part: Option<f64>) -> String {
    part.map_or("–".into(), |part| format!("{:.0} %", 100.0 * part))
}
