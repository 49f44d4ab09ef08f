//! The report as a page: the verdict, how much of its budget each rule uses, and the table.

use ::report::{Axis, Bar, BarChart, Figure, Page, Picture, Section, Table, facts};
use anyhow::{Error, Result};

use crate::copied;
use crate::formats;
use crate::report::{Report, percent};
use crate::stored;

/// What was put to the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Rules,
    Traces,
    Formats,
}

/// A row of the table.
#[derive(Clone, Debug)]
pub struct Entry {
    pub rule: String,
    /// The rule with its variant, or the file.
    pub name: String,
    /// One text for each of the kind's columns.
    pub cells: Vec<String>,
    /// The part of the budget that is used.
    pub of_budget: Option<f64>,
    pub is_right: bool,
    pub failures: Vec<String>,
}

impl Kind {
    fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Rules => &[
                "rule",
                "format",
                "elements",
                "steps",
                "GPU error",
                "in ulp",
                "f32 error",
                "in ulp",
                "budget used",
                "verdict",
                "variant",
            ],
            Self::Traces => &[
                "rule",
                "steps",
                "GPU error",
                "f32 error",
                "f64 error",
                "framework's error",
                "budget used",
                "verdict",
                "file",
            ],
            Self::Formats => &[
                "rule",
                "format",
                "gradients",
                "steps",
                "RMS error",
                "bias",
                "gain",
                "limit used",
                "verdict",
                "elements",
            ],
        }
    }

    fn caption(self) -> &'static str {
        match self {
            Self::Rules => "Every variant of every rule that was put to the test",
            Self::Traces => "Every trace that was replayed",
            Self::Formats => "Updates from state in each format, against those of f64",
        }
    }

    fn explanation(self) -> &'static str {
        match self {
            Self::Rules => {
                "Errors are the largest distance of a parameter from the f64 twin, as a part of the largest movement \
                 of any parameter, and in ulp of the largest parameter; in fewer bits than f32 they are the RMS of \
                 all parameters' distances, as a part of the RMS of their movements. The f32 twin's budget is 0.01, \
                 which no rounding reaches and another formula would exceed; 0.05 with state in bf16, \
                 0.2 in int8, and more where parameters are rounded, by what that adds at most."
            }
            Self::Traces => {
                "Errors are the largest distance of a parameter from what the file expects, as a part of the largest \
                 movement of any parameter: of the GPU, the twins, and the framework itself in f32. The f64 twin's \
                 budget is 1e-10, the f32 twin's 1.1 × the framework's own error + 2 ulp."
            }
            Self::Formats => formats::DESCRIPTION,
        }
    }
}

impl Entry {
    /// Of what could not be run.
    pub fn failed(kind: Kind, rule: &str, name: &str, error: &Error) -> Self {
        let columns = kind.columns();
        let mut cells = vec!["–".to_owned(); columns.len()];
        let last = columns.len() - 1;
        cells[0] = rule.to_owned();
        cells[last - 1] = "FAILED".into();
        cells[last] = name.to_owned();
        Self {
            rule: rule.to_owned(),
            name: name.to_owned(),
            cells,
            of_budget: None,
            is_right: false,
            failures: vec![format!("{error:#}")],
        }
    }
}

/// A section for each device; `unopened` could not be opened.
pub fn page(reports: &[Report], unopened: &[String]) -> Result<Page> {
    let is_right = unopened.is_empty() && reports.iter().all(Report::is_right);
    let mut lead: Vec<_> = reports.iter().map(Report::verdict).collect();
    lead.extend(unopened.iter().map(|error| format!("FAILED: {error}.")));
    let devices: Vec<_> = reports.iter().map(Report::device).collect();
    let sections = reports.iter().map(section);
    Ok(Page {
        title: match is_right {
            true => "All is well".into(),
            false => "Not all is well".into(),
        },
        lead: lead.join(" "),
        command: facts::command("verify"),
        facts: facts::usual(&devices.join("; "), None),
        sections: sections.collect::<Result<_>>()?,
    })
}

fn section(report: &Report) -> Result<Section> {
    let mut paragraphs: Vec<String> = Vec::new();
    for entry in &report.entries {
        let failures = entry.failures.iter();
        paragraphs.extend(failures.map(|failure| format!("FAILED: {}: {failure}", entry.name)));
    }
    paragraphs.push(report.kind.explanation().replace('\n', " "));
    if let Some(budget) = report.gpu_budget() {
        paragraphs.push(format!(
            "The GPU's budget is {}.",
            budget.replace('\n', " ")
        ));
        if report.kind == Kind::Rules {
            let stored = stored::describe().replace('\n', " ");
            paragraphs.push(format!("The same {stored}; {}.", copied::DESCRIPTION));
        }
    }
    // The budgets are the GPU's.
    let name = report.adapter.as_ref().map(|info| &*info.name);
    let figures = match name.filter(|_| !report.entries.is_empty()) {
        None => Vec::new(),
        Some(name) => vec![Figure {
            picture: picture(&report.entries, name)?,
            caption: "Of each rule, the variant that uses the most of its budget.".into(),
            command: None,
        }],
    };
    let columns = report.kind.columns().iter();
    let table = Table {
        caption: report.kind.caption().into(),
        columns: columns.map(|&column| column.to_owned()).collect(),
        rows: report
            .entries
            .iter()
            .map(|entry| entry.cells.clone())
            .collect(),
    };
    Ok(Section {
        title: report.device(),
        text: paragraphs.join("\n\n"),
        figures,
        tables: vec![table],
    })
}

/// A bar for each rule: its largest part of a budget.
fn picture(entries: &[Entry], device: &str) -> Result<Picture> {
    let bars = entries.chunk_by(|a, b| a.rule == b.rule).map(|entries| {
        let parts = entries.iter().filter_map(|entry| entry.of_budget);
        let most = parts.reduce(f64::max);
        let is_wrong = entries.iter().any(|entry| !entry.is_right);
        let used = percent(most);
        Bar {
            name: entries[0].rule.clone(),
            value: most.map(|part| 100.0 * part),
            note: if is_wrong {
                format!("FAILED {used}")
            } else {
                used
            },
            is_wrong,
        }
    });
    let chart = BarChart {
        title: format!("Errors on {device}"),
        axis: Axis::linear("error / budget (%)"),
        bars: bars.collect(),
        limit: Some((100.0, "budget".into())),
    };
    chart.picture()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::arguments::Arguments;
    use crate::device::Choice;

    use super::*;

    fn entry(rule: &str, of_budget: f64, is_right: bool) -> Entry {
        Entry {
            rule: rule.into(),
            name: format!("{rule} defaults"),
            cells: vec![rule.to_owned(); Kind::Rules.columns().len()],
            of_budget: Some(of_budget),
            is_right,
            failures: if is_right {
                vec![]
            } else {
                vec!["element 3 is off".into()]
            },
        }
    }

    fn report(entries: Vec<Entry>) -> Report {
        let arguments = Arguments::parse_from(["verify", "--quiet"]);
        let gpu = Choice::Gpu.open().unwrap().unwrap();
        let info = Some(gpu.info.clone());
        let mut report = Report::new(&arguments, Kind::Rules, info, entries.len()).unwrap();
        report.entries = entries;
        report
    }

    #[test]
    fn the_verdict_is_the_first_thing_on_the_page() {
        let right = report(vec![entry("sgd", 0.3, true), entry("adam", 0.5, true)]);
        let page = page(&[right], &[]).unwrap();
        assert_eq!(page.title, "All is well");
        assert_eq!(
            page.lead,
            "2 of 2 are right; at most 50 % of a budget is used, by adam defaults."
        );
        let html = page.html().unwrap();
        assert!(html.contains(">budget<") && html.contains(">50 %<"));
    }

    #[test]
    fn a_failure_is_in_title_lead_text_and_picture() {
        let wrong = report(vec![entry("sgd", 0.3, true), entry("adam", 1.5, false)]);
        let page = page(&[wrong], &["a card: no driver".into()]).unwrap();
        assert_eq!(page.title, "Not all is well");
        assert!(page.lead.contains("1 FAILED") && page.lead.contains("FAILED: a card: no driver."));
        let html = page.html().unwrap();
        assert!(html.contains("FAILED: adam defaults: element 3 is off"));
        assert!(html.contains(">FAILED 150 %<"));
    }

    #[test]
    fn what_could_not_be_run_has_a_row() {
        for kind in [Kind::Rules, Kind::Traces, Kind::Formats] {
            let entry = Entry::failed(kind, "adam", "adam defaults", &Error::msg("too large"));
            assert_eq!(entry.cells.len(), kind.columns().len());
            assert!(entry.cells.contains(&"FAILED".to_owned()) && !entry.is_right);
        }
    }
}
