//! Traces: what a framework did with one rule, in a `.safetensors` file that any of them can write.

mod contents;
mod hyper;
mod name;
mod replay;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use safetensors::tensor::SafeTensors;
use wgpu_optim::{Layout, Rule};

use crate::problem::{Input, Mark, Problem, View, input_slots, state_slots};
use contents::Contents;
use hyper::Hyper;
use name::Name;

pub use replay::{Row, replay};

/// A trace that was read.
pub struct Trace {
    pub rule: Box<dyn Rule>,
    pub problem: Problem,
    /// Where the file says what is right.
    pub marks: Vec<Mark>,
    /// What it says, by mark.
    pub expected: Vec<Vec<f64>>,
    /// Whether it says so in F64, by mark; F32 is as right as rounding lets it be.
    pub in_f64: Vec<bool>,
    /// What the framework itself came to in f32, by mark; empty where the file does not say.
    pub source_f32: Vec<Vec<f64>>,
}

impl Trace {
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&std::fs::read(path)?)
    }

    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let incomplete = |error| anyhow!("this is no complete .safetensors file: {error}");
        let file = SafeTensors::deserialize(bytes).map_err(incomplete)?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(incomplete)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let hyper = Hyper::parse(entry(&metadata, "hyper")?)?;
        let rule = hyper.rule(entry(&metadata, "rule")?)?;

        let mut contents = Contents::of(&file, &*rule)?;
        let mut layout = Layout::new();
        let group = layout.group(hyper.rule(rule.name())?).context("hyper")?;
        let starts = contents.of_kind("param");
        ensure!(
            !starts.is_empty(),
            "there is no parameter: expected \"param.<name>\""
        );
        for start in &starts {
            layout.tensor(group, start.param, contents.shape(*start)?)?;
        }
        let tensors: Vec<&str> = starts.iter().map(|start| start.param).collect();
        let steps = contents.of_kind("grad").last().map_or(0, |last| last.step);
        ensure!(
            steps > 0,
            "there is no gradient: expected \"grad.1.{}\"",
            tensors[0]
        );
        ensure!(
            hyper.rates.is_empty() || hyper.rates.len() == steps,
            "hyper: lr lists {} values; expected {steps}, one for each step with gradients",
            hyper.rates.len()
        );
        contents.check_steps(steps)?;
        let problem = Problem {
            layout,
            params: starts
                .into_iter()
                .map(|start| contents.take_f32(start))
                .collect::<Result<_>>()?,
            grads: gradients(&mut contents, &tensors, steps)?,
            rates: hyper.rates,
            inputs: inputs(&mut contents, &tensors, steps, &*rule)?,
        };

        let mut trace = Self {
            rule,
            problem,
            marks: Vec::new(),
            expected: Vec::new(),
            in_f64: Vec::new(),
            source_f32: Vec::new(),
        };
        trace.take_expected(&mut contents, &tensors)?;
        ensure!(
            !trace.marks.is_empty(),
            "nothing says what is right: expected \"expected.{steps}.{}\"",
            tensors[0]
        );
        contents.check_empty(trace.rule.name())?;
        Ok(trace)
    }

    /// What the file says is right, and what its framework came to in f32.
    fn take_expected<'a>(
        &mut self,
        contents: &mut Contents<'a>,
        tensors: &[&'a str],
    ) -> Result<()> {
        let mut views = vec![
            ("expected".into(), Some("expected_f32"), View::Trained),
            ("evaluated".into(), Some("evaluated_f32"), View::Evaluated),
        ];
        for slot in state_slots(&*self.rule) {
            let kind = format!("expected_{}", slot.name);
            views.push((kind, None, View::State(slot.name)));
        }
        for (kind, kind_in_f32, view) in views {
            for name in contents.of_kind(&kind) {
                self.marks.push(Mark {
                    step: name.step,
                    tensor: tensors.partition_point(|tensor| *tensor < name.param),
                    view,
                });
                self.in_f64.push(contents.is_f64(name)?);
                self.expected.push(contents.take(name)?);
                let in_f32 = kind_in_f32.map(|kind| Name { kind, ..name });
                self.source_f32
                    .push(match in_f32.filter(|name| contents.has(*name)) {
                        Some(name) => contents.take(name)?,
                        None => Vec::new(),
                    });
            }
        }
        Ok(())
    }
}

fn entry<'a>(metadata: &'a HashMap<String, String>, key: &str) -> Result<&'a str> {
    let value = metadata.get(key).with_context(|| {
        format!(
            "the metadata lacks {key:?}; expected \"rule\", an optimizer's name, and \"hyper\", a \
             JSON object of its fields"
        )
    })?;
    Ok(value)
}

/// `[step][tensor]`
fn gradients<'a>(
    contents: &mut Contents<'a>,
    tensors: &[&'a str],
    steps: usize,
) -> Result<Vec<Vec<Vec<f32>>>> {
    let mut of_step = |step| -> Result<_> {
        let kind = "grad";
        let one = |param: &&'a str| contents.take_f32(Name { kind, step, param });
        tensors.iter().map(one).collect()
    };
    (1..=steps).map(&mut of_step).collect()
}

/// What the file fills the rule's inputs with, `[step]`.
fn inputs<'a>(
    contents: &mut Contents<'a>,
    tensors: &[&'a str],
    steps: usize,
    rule: &dyn Rule,
) -> Result<Vec<Vec<Input>>> {
    let mut inputs: Vec<Vec<Input>> = (0..steps).map(|_| Vec::new()).collect();
    for slot in input_slots(rule) {
        let mut filled: Vec<usize> = contents.of_kind(slot.name).iter().map(|n| n.step).collect();
        filled.dedup();
        for step in filled {
            // The rule takes the inputs of all tensors for new, or of none.
            for (tensor, param) in tensors.iter().enumerate() {
                let kind = slot.name;
                let values = contents.take_f32(Name { kind, step, param })?;
                inputs[step - 1].push(Input {
                    tensor,
                    slot: slot.name,
                    values,
                });
            }
        }
    }
    Ok(inputs)
}
