//! What a reader needs to know to get the same page again.

use std::env;
use std::time::{SystemTime, UNIX_EPOCH};

/// Of this workspace.
const LOCK: &str = include_str!("../../../Cargo.lock");

/// The command that runs this process, with the arguments as they were given: it can be pasted
/// into a shell.
pub fn command(example: &str) -> String {
    let arguments = env::args_os().skip(1);
    let arguments: Vec<_> = arguments
        .map(|text| text.to_string_lossy().into_owned())
        .collect();
    command_of(example, &arguments)
}

/// The command that runs `example` with `arguments`.
pub fn command_of(example: &str, arguments: &[String]) -> String {
    let mut command = format!("cargo run --release --example {example}");
    if !arguments.is_empty() {
        command.push_str(" --");
    }
    for argument in arguments {
        command.push(' ');
        command.push_str(&quoted(argument));
    }
    command
}

/// As a shell reads it back.
fn quoted(argument: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=:,./+@%^".contains(c);
    match !argument.is_empty() && argument.chars().all(is_plain) {
        true => argument.to_owned(),
        false => format!("'{}'", argument.replace('\'', r"'\''")),
    }
}

/// Device, driver, date and versions.
pub fn usual(device: &str, driver: Option<&str>) -> Vec<(String, String)> {
    let mut facts = vec![("device", device.to_owned())];
    facts.extend(driver.map(|driver| ("driver", driver.to_owned())));
    facts.push(("date", date()));
    facts.extend(
        ["wgpu-optim", "wgpu"]
            .into_iter()
            .filter_map(|name| Some((name, version(name)?.to_owned()))),
    );
    facts
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// The version of a package that this workspace is built with.
fn version(name: &str) -> Option<&'static str> {
    let package = format!("name = \"{name}\"");
    let mut lines = LOCK.lines().skip_while(|line| *line != package).skip(1);
    lines
        .next()?
        .strip_prefix("version = \"")?
        .strip_suffix('"')
}

/// Today in UTC, or the day of `SOURCE_DATE_EPOCH` for pages that are to be the same again.
fn date() -> String {
    let wanted = env::var("SOURCE_DATE_EPOCH").ok();
    let wanted = wanted.and_then(|text| text.trim().parse().ok());
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_secs())
    };
    date_of(wanted.unwrap_or_else(now))
}

/// The day of a time in seconds since 1970-01-01.
fn date_of(seconds: u64) -> String {
    // Years that begin in March have their odd day at the end; 400 of them are a cycle.
    let days = seconds / 86_400 + 719_468;
    let (cycle, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    format!("{:04}-{month:02}-{date:02}", 400 * cycle + year + next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_pasted_into_a_shell() {
        let arguments = [
            "--rules",
            "adam:lr=1e-3,sgd",
            "--start=1.5,-2",
            "a b",
            "it's",
            "",
            "$HOME",
        ];
        let arguments = arguments.map(str::to_owned);
        assert_eq!(
            command_of("landscape", &arguments),
            r"cargo run --release --example landscape -- --rules adam:lr=1e-3,sgd --start=1.5,-2 'a b' 'it'\''s' '' '$HOME'"
        );
        assert_eq!(
            command_of("bench", &[]),
            "cargo run --release --example bench"
        );
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, date) in [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_767_225_599, "2025-12-31"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(date_of(seconds), date);
        }
    }

    #[test]
    fn versions_are_those_of_the_build() {
        let facts = usual("llvmpipe", Some("Mesa"));
        let names: Vec<_> = facts.iter().map(|fact| fact.0.as_str()).collect();
        assert_eq!(names, ["device", "driver", "date", "wgpu-optim", "wgpu"]);
        assert!(facts[4].1.starts_with("30."), "{facts:?}");
    }
}
