//! The command line.

use std::path::PathBuf;

use ::report::{FileType, Output};
use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use wgpu_optim::rules;

use crate::device::Choice;

/// Holds every optimizer rule on a device against its f64 twin on the CPU.
///
/// The exit status is 0 if all is well, else 1.
#[derive(Clone, Debug, Parser)]
#[command(name = "verify")]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Option<Command>,

    /// gpu (the best adapter), cpu (the twins alone), or part of an adapter's name
    #[arg(long, default_value = "gpu", global = true)]
    pub device: Choice,

    /// Every adapter of every backend, one after the other
    #[arg(long, conflicts_with = "device", global = true)]
    pub all_adapters: bool,

    /// Prints one JSON object per line in place of the table
    #[arg(long, global = true)]
    pub json: bool,

    /// A page with the verdict, a picture and the table, or the picture alone: how much of its budget each rule
    /// uses
    #[arg(long, value_name = "FILE.html|.svg|.png", global = true)]
    pub out: Option<Output>,

    /// Lines in place of a progress bar
    #[arg(long, global = true)]
    pub quiet: bool,

    /// Only this rule
    #[arg(long, value_name = "NAME", value_parser = known_rule)]
    pub rule: Option<&'static str>,
}

#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Replays traces of a framework: .safetensors files as README.md beside this program says
    Trace {
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// What storing state in bf16 or int8 does to updates over 3 000 steps
    Formats,
}

impl Arguments {
    /// Refuses what has no meaning together, and an output that cannot be written.
    pub fn check(&self) -> Result<()> {
        ensure!(
            self.command.is_none() || self.rule.is_none(),
            "--rule has no meaning with trace or formats: a trace names its rule, and formats has three."
        );
        let Some(output) = &self.out else {
            return Ok(());
        };
        ensure!(
            output.file_type() == FileType::Html || self.device != Choice::Cpu,
            "--out: there is no picture of the CPU alone, since the budgets are the GPU's: expected FILE.html"
        );
        output.check()
    }

    /// The rules to put to the test.
    pub fn rules(&self) -> Vec<&'static str> {
        let wanted = |name: &&str| self.rule.is_none_or(|rule| rule == *name);
        rules::names().filter(wanted).collect()
    }
}

fn known_rule(text: &str) -> Result<&'static str, String> {
    let known: Vec<_> = rules::names().collect();
    let found = known.iter().find(|name| **name == text);
    found
        .copied()
        .ok_or_else(|| format!("expected one of: {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[&str]) -> Result<Arguments, String> {
        Arguments::try_parse_from([&["verify"], line].concat()).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_may_stand_before_or_after_the_word_trace() {
        for line in [
            ["--json", "--device", "cpu", "trace", "x"],
            ["trace", "--device", "cpu", "x", "--json"],
        ] {
            let arguments = parse(&line).unwrap();
            assert!(arguments.json && arguments.device == Choice::Cpu);
        }
    }

    #[test]
    fn a_rule_is_of_no_use_beside_traces_and_formats() {
        for command in [&["trace", "x"][..], &["formats"]] {
            let arguments = parse(&[&["--rule", "adam"], command].concat()).unwrap();
            assert!(arguments.check().is_err());
        }
        let arguments = parse(&["--rule", "adam"]).unwrap();
        assert!(arguments.check().is_ok());
        assert_eq!(arguments.rules(), ["adam"]);
    }

    #[test]
    fn an_output_that_cannot_be_is_known_before_any_work() {
        let error = |line: &[&str]| parse(line).unwrap().check().unwrap_err().to_string();
        assert!(error(&["--device", "cpu", "--out", "a.svg"]).contains("expected FILE.html"));
        assert!(error(&["--out", "no/such/folder/a.html"]).contains("--out no/such/folder/a.html"));
    }

    #[test]
    fn a_wrong_line_is_answered_with_what_was_expected() {
        for (line, expected) in [
            (&["--rule", "addam"][..], "expected one of: sgd, "),
            (&["--device", " "], "part of an adapter's name"),
            (
                &["--all-adapters", "--device", "cpu"],
                "cannot be used with",
            ),
            (&["trace"], "FILE"),
            (
                &["--out", "a.pdf"],
                "expected FILE.html, FILE.svg or FILE.png",
            ),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(expected), "{line:?}: {error}");
        }
    }
}
