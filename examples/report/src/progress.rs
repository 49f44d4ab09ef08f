//! How far a long work is: a bar on a terminal, lines anywhere else.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::number;

/// After this long without a line there is one, so that nobody takes the program for hung.
const SILENCE: Duration = Duration::from_secs(10);

/// How far a work of a known size is, with the time left: a bar on a terminal; with `--quiet` or
/// elsewhere a line on stderr now and then.
pub struct Progress {
    bar: ProgressBar,
    is_drawn: bool,
    what: String,
    start: Instant,
    spoken: Instant,
}

impl Progress {
    /// Of `total` parts, which are called `what`, as in `12 of 40 trials`.
    pub fn new(total: u64, what: &str, is_quiet: bool) -> Result<Self> {
        let is_drawn = !is_quiet && stdout().is_terminal() && stderr().is_terminal();
        let target = match is_drawn {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        bar.set_style(ProgressStyle::with_template(
            "{wide_bar} {percent:>3} %  {eta} left",
        )?);
        let now = Instant::now();
        Ok(Self {
            bar,
            is_drawn,
            what: what.to_owned(),
            start: now,
            spoken: now,
        })
    }

    /// `parts` more are done.
    pub fn advance(&mut self, parts: u64) {
        self.bar.inc(parts);
        if !self.is_drawn && self.spoken.elapsed() >= SILENCE {
            self.spoken = Instant::now();
            eprintln!("{}", self.status(self.start.elapsed()));
        }
    }

    /// Prints a line of the program's own above the bar.
    pub fn line(&mut self, text: &str) -> Result<()> {
        self.spoken = Instant::now();
        self.bar.suspend(|| writeln!(stdout(), "{text}"))?;
        Ok(())
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn status(&self, elapsed: Duration) -> String {
        let (done, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
        let rest = total.saturating_sub(done) as f64 / done.max(1) as f64;
        let left = number::seconds(rest * elapsed.as_secs_f64());
        format!("{done} of {total} {}, {left} left", self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_done_and_how_long_the_rest_takes() {
        let mut progress = Progress::new(40, "trials", true).unwrap();
        progress.advance(10);
        let status = progress.status(Duration::from_secs(5));
        assert_eq!(status, "10 of 40 trials, 15 s left");
    }
}
