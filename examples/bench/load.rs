//! How busy other processes keep the machine while something is timed.

use std::fs::read_to_string;

/// Above this part of the processors' time, times say more about the other processes.
pub const QUIET: f64 = 0.03;

/// The processors' time so far, in ticks.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Of all processors together.
    all: u64,
    /// Of it, what any process used.
    used: u64,
    /// Of that, what this process used, and those that it started and that have ended.
    own: u64,
}

impl Load {
    /// As Linux counts it; `None` elsewhere.
    pub fn now() -> Option<Self> {
        let (all, used) = of_processors(&read_to_string("/proc/stat").ok()?)?;
        let own = of_process(&read_to_string("/proc/self/stat").ok()?)?;
        Some(Self { all, used, own })
    }

    /// The part of all processors' time from `self` to `end` that other processes used.
    pub fn others_until(self, end: Self) -> f64 {
        let others = (end.used - self.used).saturating_sub(end.own - self.own);
        others as f64 / (end.all - self.all).max(1) as f64
    }
}

/// What `work` returns, and the part of the processors' time that other processes used meanwhile.
pub fn beside<T>(work: impl FnOnce() -> T) -> (T, Option<f64>) {
    let begin = Load::now();
    let result = work();
    let others = begin.zip(Load::now());
    (result, others.map(|(begin, end)| begin.others_until(end)))
}

/// What `others` of several timings come to, as a line.
pub fn verdict(others: impl IntoIterator<Item = Option<f64>>) -> String {
    let all: Option<Vec<f64>> = others.into_iter().collect();
    let Some(all) = all else {
        return "load    unknown on this system: see to it that nothing else runs".to_owned();
    };
    let most = all.into_iter().fold(0.0, f64::max);
    let used = format!(
        "other processes used at most {} of the processors",
        percent(most)
    );
    if most <= QUIET {
        format!("load    quiet: {used}")
    } else {
        format!(
            "load    NOT QUIET: {used}, more than {}; these times say little",
            percent(QUIET)
        )
    }
}

pub fn percent(part: f64) -> String {
    format!("{:.1} %", 100.0 * part)
}

/// All and used ticks, of the text of `/proc/stat`.
fn of_processors(text: &str) -> Option<(u64, u64)> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Option<Vec<u64>> = line
        .split_whitespace()
        .map(|word| word.parse().ok())
        .collect();
    let ticks = ticks?;
    // user, nice, system, idle, iowait, irq, softirq, steal; what follows is in them already.
    let all = ticks.iter().take(8).sum();
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some((all, all - idle))
}

/// Ticks of a process and of its ended children, of the text of its `stat`.
fn of_process(text: &str) -> Option<u64> {
    // The name of the program, in brackets, may have anything in it.
    let (_, fields) = text.rsplit_once(')')?;
    let mut ticks = fields.split_whitespace().skip(11).take(4);
    ticks.try_fold(0, |sum, word| Some(sum + word.parse::<u64>().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_used_is_what_this_process_did_not() {
        let stat = |user, idle| format!("cpu  {user} 1 10 {idle} 5 0 2 3 7 0\ncpu0 1 1 1 1\n");
        let process = |user| format!("7 (a) b (c) R 1 7 7 0 -1 4 9 9 9 9 {user} 20 3 4 20 0 5 0 1");
        let load = |user, idle, own| {
            let (all, used) = of_processors(&stat(user, idle)).unwrap();
            let own = of_process(&process(own)).unwrap();
            Load { all, used, own }
        };
        let begin = load(1000, 4000, 100);
        assert_eq!((begin.all, begin.used, begin.own), (5021, 1016, 127));
        let end = load(1600, 4400, 550);
        assert_eq!(begin.others_until(end), 0.15);
        assert_eq!(begin.others_until(begin), 0.0);
        assert_eq!(of_processors("cpu0 1 2 3"), None);
        assert_eq!(of_process("nonsense"), None);
    }

    #[test]
    fn a_machine_is_quiet_or_not_or_unknown() {
        assert!(
            verdict([Some(0.001), Some(0.01)])
                .contains("quiet: other processes used at most 1.0 %")
        );
        assert!(verdict([Some(0.001), Some(0.5)]).contains("NOT QUIET"));
        assert!(verdict([Some(0.001), None]).contains("unknown"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_this_process_does_is_not_load() {
        // Enough ticks, whatever else runs.
        let (_, others) = beside(|| {
            let begin = Load::now().unwrap();
            while Load::now().unwrap().own < begin.own + 20 {}
            let end = Load::now().unwrap();
            // The two counters tick at different moments.
            assert!(end.used - begin.used >= 15, "{begin:?} {end:?}");
        });
        assert!((0.0..=1.0).contains(&others.unwrap()));
    }
}
