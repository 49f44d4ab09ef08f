//! Writes checkpoints to a file while training goes on.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use trainer::network::Write;
use wgpu_optim::Error;

/// A thread that writes to one file. While it writes one checkpoint, the newest of the others waits,
/// and the older ones are dropped: so no more than two take memory.
pub struct Writer {
    waiting: Arc<Mutex<Option<Write>>>,
    wake: Option<Sender<()>>,
    outcomes: Receiver<Result<(), Error>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub fn to(path: &Path) -> Self {
        let waiting = Arc::new(Mutex::new(None));
        let (wake, woken) = channel();
        let (tell, outcomes) = channel();
        let (path, source) = (path.to_owned(), waiting.clone());
        let thread = std::thread::spawn(move || write_all(&path, &source, &woken, &tell));
        Self {
            waiting,
            wake: Some(wake),
            outcomes,
            thread: Some(thread),
        }
    }

    /// Hands over what is to be written next.
    pub fn write(&self, write: Write) {
        *lock(&self.waiting) = Some(write);
        if let Some(wake) = &self.wake {
            // Nobody listens once the thread has ended, which it does not before `wait`.
            let _ = wake.send(());
        }
    }

    /// How the writing went since this was called last, in turn.
    pub fn outcomes(&self) -> impl Iterator<Item = Result<(), Error>> {
        self.outcomes.try_iter()
    }

    /// Waits for what was handed over. Nothing is written after that.
    pub fn wait(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // A panic has been printed, and has left the old file as it was.
            let _ = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.wait();
    }
}

fn write_all(
    path: &Path,
    waiting: &Mutex<Option<Write>>,
    woken: &Receiver<()>,
    tell: &Sender<Result<(), Error>>,
) {
    for () in woken {
        let write = lock(waiting).take();
        if let Some(write) = write {
            // The writer keeps the other end for as long as this thread lives.
            let _ = tell.send(write(path));
        }
    }
}

fn lock(waiting: &Mutex<Option<Write>>) -> std::sync::MutexGuard<'_, Option<Write>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_waits_while_one_is_written_and_all_are_awaited_at_the_end() {
        let mut writer = Writer::to(Path::new("anywhere"));
        let (started, has_started) = channel();
        let (go, may_go) = channel::<()>();
        let (tell, told) = channel();
        let first = tell.clone();
        writer.write(Box::new(move |_| {
            started.send(()).unwrap();
            may_go.recv().unwrap();
            first.send(1).unwrap();
            Ok(())
        }));
        has_started.recv().unwrap();
        for number in 2..5 {
            let tell = tell.clone();
            writer.write(Box::new(move |path| {
                tell.send(number).unwrap();
                Err(Error::File {
                    path: path.to_owned(),
                    message: format!("failure {number}"),
                })
            }));
        }
        assert_eq!(writer.outcomes().count(), 0);
        go.send(()).unwrap();
        writer.wait();
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [1, 4]);
        let [Ok(()), Err(error)] = &writer.outcomes().collect::<Vec<_>>()[..] else {
            panic!("one success and one failure");
        };
        let error = error.to_string();
        assert!(
            error.contains("failure 4") && error.contains("anywhere"),
            "{error}"
        );
    }
}
