//! One JSON object for each step of each path, one a line.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::arguments::Task;
use crate::contenders::Contender;
use crate::descent::Frame;
use crate::functions::Point;

/// What is not finite becomes null.
#[derive(Serialize)]
struct Line<'a> {
    function: &'a str,
    rule: &'a str,
    hyper: &'a Map<String, Value>,
    schedule: &'a str,
    start: &'a [f64],
    step: u64,
    x: &'a [f32],
    value: f64,
}

/// A file that lines are written to.
pub struct Lines {
    file: BufWriter<File>,
}

impl Lines {
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("--json {}", path.display()))?;
        Ok(Self {
            file: BufWriter::new(file),
        })
    }

    /// All paths at one step: those of each contender from each start.
    pub fn write(&mut self, task: &Task, contenders: &[Contender], frame: &Frame) -> Result<()> {
        let hypers: Vec<_> = contenders.iter().map(hyper).collect();
        let mut positions = frame.positions.iter();
        for (contender, hyper) in contenders.iter().zip(&hypers) {
            for (start, &at) in task.starts.iter().zip(&mut positions) {
                self.line(task, contender, hyper, *start, frame.step, at)?;
            }
        }
        // What is here stays, whatever comes.
        self.file.flush().context("--json: cannot write")
    }

    fn line(
        &mut self,
        task: &Task,
        contender: &Contender,
        hyper: &Map<String, Value>,
        start: Point,
        step: u64,
        at: Point,
    ) -> Result<()> {
        let dimensions = task.function.dimensions();
        let line = Line {
            function: task.function.name(),
            rule: contender.name(),
            hyper,
            schedule: &contender.decay.to_string(),
            start: &start[..dimensions],
            step,
            x: &at.map(|x| x as f32)[..dimensions],
            value: task.function.derivatives(at).value,
        };
        writeln!(self.file, "{}", serde_json::to_string(&line)?).context("--json: cannot write")
    }
}

/// The learning rate, and what else differs from the library's defaults.
fn hyper(contender: &Contender) -> Map<String, Value> {
    let pairs = contender.hyper.iter().map(|hyper| {
        let value = match (hyper.value.parse::<f64>(), hyper.value.parse::<bool>()) {
            (Ok(number), _) => number.into(),
            (_, Ok(flag)) => flag.into(),
            _ => hyper.value.clone().into(),
        };
        (hyper.name.clone(), value)
    });
    pairs.collect()
}
