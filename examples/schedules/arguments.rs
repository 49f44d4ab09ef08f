//! The command line.

use std::path::PathBuf;

use clap::Parser;
use report::Output;

/// Draws all learning-rate schedules, each with the call that makes it.
#[derive(Clone, Debug, Parser)]
#[command(name = "schedules")]
pub struct Arguments {
    /// Steps to draw; the schedules are as long, or a part of it
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(20..=100_000))]
    pub steps: u64,

    /// A page, or all schedules in one picture
    #[arg(long, value_name = "FILE.html|.svg|.png")]
    pub out: Option<Output>,

    /// Writes one JSON object per schedule and step to this file, one a line
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_line_is_answered_with_what_was_expected() {
        for (line, expected) in [
            (["--steps", "3"], "3 is not in 20..=100000"),
            (
                ["--out", "a.pdf"],
                "expected FILE.html, FILE.svg or FILE.png",
            ),
        ] {
            let parsed = Arguments::try_parse_from([&["schedules"][..], &line].concat());
            let error = parsed.unwrap_err().to_string();
            assert!(error.contains(expected), "{line:?}: {error}");
        }
    }
}
