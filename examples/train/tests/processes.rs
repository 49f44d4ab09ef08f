//! Runs in processes of their own, which are killed and interrupted.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;

use clap::Parser;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::resumption::Folder;
use super::*;

/// Has the command line of a run where this process is the one that runs it.
const LINE: &str = "WGPU_OPTIM_TRAIN";
/// The test that does what [`LINE`] says.
const ENTRY: &str =
    "tests::processes::a_run_that_is_killed_at_any_time_and_resumed_ends_as_if_it_was_not";
const KILLS: usize = 4;

/// A run with a checkpoint after each of its 10 epochs.
fn line(device: &str) -> Vec<String> {
    let name = std::env::var("WGPU_ADAPTER_NAME");
    let (device, batch_size) = match device {
        "cpu" => ("cpu".to_owned(), "1"),
        _ => (name.unwrap_or("gpu".to_owned()), "20"),
    };
    let line = [
        "--data",
        "linear-regression",
        "--hidden",
        "8",
        "--epochs",
        "10",
    ];
    let more = ["--save-every", "1", "--batch-size", batch_size, "--quiet"];
    let line = line.into_iter().chain(more).map(str::to_owned);
    line.chain(["--device".to_owned(), device]).collect()
}

/// A process that runs [`line`] with the file `path`, from where it is.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(line: &[String], path: &str) -> Self {
        let mut line = [line, &["--save".to_owned(), path.to_owned()]].concat();
        if std::fs::exists(path).unwrap() {
            line.extend(["--resume".to_owned(), path.to_owned()]);
        }
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", ENTRY, "--no-capture"])
            .env(LINE, line.join("\n"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Waits until so many epochs are complete, or the process has ended.
    fn wait_for(&mut self, epochs: usize) {
        let lines = self.lines.by_ref().map(Result::unwrap);
        let heading = lines.skip_while(|line| !line.starts_with("epoch"));
        let _ = heading.take(1 + epochs).count();
    }

    /// Its exit status, and the rest of its lines.
    fn end(mut self) -> (Option<i32>, String) {
        let rest: Vec<_> = self.lines.by_ref().map(Result::unwrap).collect();
        (self.child.wait().unwrap().code(), rest.join("\n"))
    }
}

/// What `main` does.
fn child(line: &str) -> ! {
    let line = std::iter::once("train").chain(line.split('\n'));
    let code = crate::program(&Arguments::parse_from(line), Instant::now());
    if let Err(error) = &code {
        eprintln!("error: {error:#}");
    }
    let is =
        |status: u8| format!("{code:?}") == format!("{:?}", anyhow::Ok(ExitCode::from(status)));
    let codes = [0, 130].into_iter();
    let code = codes.filter(|code| is(*code)).map(i32::from).next();
    std::process::exit(code.unwrap_or(1))
}

#[test]
fn a_run_that_is_killed_at_any_time_and_resumed_ends_as_if_it_was_not() {
    if let Ok(line) = std::env::var(LINE) {
        child(&line);
    }
    let mut random = ChaCha8Rng::seed_from_u64(std::process::id().into());
    for device in ["cpu", "gpu"] {
        let folder = Folder::new(&format!("killed-{device}"));
        let [whole, killed] = ["whole", "killed"].map(|name| folder.file(name));
        let line = line(device);
        let mut run = Running::start(&line, &whole);
        run.wait_for(0);
        let start = Instant::now();
        assert_eq!(run.end().0, Some(0));
        let two_epochs = start.elapsed() / 5;
        let mut moments = Vec::new();
        for _ in 0..KILLS {
            let mut run = Running::start(&line, &killed);
            let epochs = random.random_range(0..=2);
            let wait = two_epochs.mul_f64(random.random_range(0.0..1.0));
            run.wait_for(epochs);
            std::thread::sleep(wait);
            run.child.kill().unwrap();
            moments.push((epochs, wait, run.end().0));
        }
        let (code, _) = Running::start(&line, &killed).end();
        assert_eq!(code, Some(0), "{device}: {moments:?}");
        let is_killed = |moment: &&(usize, Duration, Option<i32>)| moment.2.is_none();
        assert!(moments.iter().filter(is_killed).count() > 1, "{moments:?}");
        let files = std::fs::read_dir(&folder.0).unwrap();
        assert_eq!(files.count(), 2, "{device}: {moments:?}");
        let [whole, killed] = [whole, killed].map(|path| std::fs::read(path).unwrap());
        assert!(whole == killed, "{device}: {moments:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_run_that_is_interrupted_saves_and_says_so_and_goes_on_from_there() {
    for device in ["cpu", "gpu"] {
        let folder = Folder::new(&format!("interrupted-{device}"));
        let [whole, stopped] = ["whole", "stopped"].map(|name| folder.file(name));
        let line = line(device);
        assert_eq!(Running::start(&line, &whole).end().0, Some(0));
        for signal in ["-TERM", "-INT"] {
            let mut run = Running::start(&line, &stopped);
            run.wait_for(1);
            let id = run.child.id().to_string();
            let kill = Command::new("kill").args([signal, &id]).status();
            assert!(kill.unwrap().success());
            let (code, rest) = run.end();
            assert_eq!(code, Some(130), "{device}, {signal}: {rest}");
            let says = format!("batches, and saved: go on with --resume {stopped}");
            assert!(
                rest.contains("interrupted after "),
                "{device}, {signal}: {rest}"
            );
            assert!(rest.contains(&says), "{device}, {signal}: {rest}");
        }
        assert_eq!(Running::start(&line, &stopped).end().0, Some(0));
        let [whole, stopped] = [whole, stopped].map(|path| std::fs::read(path).unwrap());
        assert!(whole == stopped, "{device}");
    }
}
