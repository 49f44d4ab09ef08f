//! Says what a program waits for, where that takes long.

use std::{
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::Duration,
};

/// How long nobody wonders.
const PATIENCE: Duration = Duration::from_secs(3);

/// Does `work`. If that takes more than three seconds, standard error says what is under way.
pub fn patiently<R>(what: &str, work: impl FnOnce() -> R) -> R {
    watched(PATIENCE, || eprintln!("{what} ..."), work)
}

/// Does `work`, and calls `tell` once if that takes longer than `patience`.
fn watched<R>(patience: Duration, tell: impl FnOnce() + Send, work: impl FnOnce() -> R) -> R {
    thread::scope(|scope| {
        let (done, waits) = channel::<()>();
        scope.spawn(move || {
            if waits.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                tell();
            }
        });
        let result = work();
        drop(done);
        result
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn work_that_takes_long_is_told_of_and_work_that_does_not_is_not() {
        for (patience, takes, expected) in [(5, 200, true), (60_000, 1, false)] {
            let told = AtomicBool::new(false);
            let tell = || told.store(true, Ordering::Relaxed);
            let work = || {
                thread::sleep(Duration::from_millis(takes));
                7
            };
            assert_eq!(watched(Duration::from_millis(patience), tell, work), 7);
            assert_eq!(told.load(Ordering::Relaxed), expected);
        }
    }
}
