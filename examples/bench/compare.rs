//! This build and another, in turns on one machine: what a change is worth, as a ratio.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};
use serde::Serialize;
use serde_json::Value;

use crate::arguments::Arguments;
use crate::load;
use crate::statistics::Quartiles;

/// Rounds of a turn: enough for a median.
const ROUNDS_PER_TURN: usize = 5;

/// One rule over one workload in both builds; serialized, a line of `--json`.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub rule: String,
    pub size: String,
    /// The medians of a step, in milliseconds.
    pub ms: f64,
    pub other_ms: f64,
    /// The other build's time over this one's, turn by turn.
    pub speedup: Quartiles,
    /// The part of the processors' time that other processes used.
    pub others_cpu: Option<f64>,
}

/// Turns of `other`, an executable of this program, and of this build.
pub fn row(other: &Path, arguments: &Arguments, rule: &str, size: &str) -> Result<Row> {
    let this = std::env::current_exe().context("where this program lies is unknown")?;
    let turns = usize::from(arguments.rounds);
    let (times, others_cpu) = load::beside(|| -> Result<Vec<[f64; 2]>> {
        let time = |program: &Path| time(program, &arguments.device, rule, size);
        let turn = |turn: usize| match turn % 2 {
            0 => Ok([time(&this)?, time(other)?]),
            _ => {
                let other = time(other)?;
                Ok([time(&this)?, other])
            }
        };
        (0..turns).map(turn).collect()
    });
    let times = times?;
    let median =
        |build: usize| Quartiles::of(times.iter().map(|turn| turn[build]).collect()).median;
    Ok(Row {
        rule: rule.to_owned(),
        size: size.to_owned(),
        ms: median(0),
        other_ms: median(1),
        speedup: Quartiles::of(times.iter().map(|[ms, other]| other / ms).collect()),
        others_cpu,
    })
}

/// Milliseconds of a step, as `program` prints them.
fn time(program: &Path, device: &str, rule: &str, size: &str) -> Result<f64> {
    let rounds = ROUNDS_PER_TURN.to_string();
    let mut command = Command::new(program);
    command.args(["--json", "--device", device, "--rules", rule]);
    command.args(["--sizes", size, "--rounds", &rounds]);
    let name = program.display();
    let output = command
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    milliseconds(&said).with_context(|| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        format!("{name} timed nothing: {}", complaint.trim())
    })
}

/// The `ms` of the first line.
fn milliseconds(lines: &str) -> Result<f64> {
    let line = lines.lines().next().context("it printed nothing")?;
    let row: Value = serde_json::from_str(line).with_context(|| format!("it printed {line:?}"))?;
    if let Some(error) = row["error"].as_str() {
        return Err(anyhow!("{error}"));
    }
    let ms = row["ms"].as_f64();
    let ms = ms.with_context(|| format!("it printed {line:?}, which has no \"ms\""))?;
    ensure!(ms > 0.0, "it printed {line:?}: no time is {ms}");
    Ok(ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_read_from_a_line_of_json() {
        assert_eq!(
            milliseconds("{\"rule\":\"adam\",\"ms\":1.5}\n").unwrap(),
            1.5
        );
        for (lines, expected) in [
            ("", "printed nothing"),
            ("device  none", "it printed \"device  none\""),
            ("{\"error\":\"too large\"}", "too large"),
            ("{\"rule\":\"adam\"}", "has no \"ms\""),
            ("{\"ms\":0.0}", "no time is 0"),
        ] {
            let error = format!("{:#}", milliseconds(lines).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_build_that_takes_twice_as_long_is_half_as_fast_and_one_that_fails_is_named() {
        let says = |text: &str| {
            let path =
                std::env::temp_dir().join(format!("bench-{}-{}", std::process::id(), text.len()));
            std::fs::write(&path, format!("#!/bin/sh\necho '{text}'\n")).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&path, mode).unwrap();
            path
        };
        let (good, bad) = (says("{\"ms\":2.5}"), says("no"));
        assert_eq!(time(&good, "gpu", "adam", "2^10").unwrap(), 2.5);
        let error = format!("{:#}", time(&bad, "gpu", "adam", "2^10").unwrap_err());
        assert!(
            error.contains("timed nothing") && error.contains("\"no\""),
            "{error}"
        );
        let missing = time(Path::new("/nowhere/bench"), "gpu", "adam", "2^10").unwrap_err();
        assert!(
            format!("{missing:#}").contains("cannot run /nowhere/bench"),
            "{missing:#}"
        );
        for path in [good, bad] {
            std::fs::remove_file(path).unwrap();
        }
    }
}
