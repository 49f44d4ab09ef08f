//! The command line.

use std::path::PathBuf;

use ::report::Output;
use clap::Parser;
use wgpu_optim::{Formats, GpuOptions};

use crate::streams::timed;
use crate::workload::Workload;

/// Times optimizer steps against a copy of as much memory.
#[derive(Clone, Debug, Parser)]
#[command(name = "bench")]
pub struct Arguments {
    /// gpu (the best adapter), cpu (the f32 twin alone), or part of an adapter's name
    #[arg(long, default_value = "gpu", value_parser = device)]
    pub device: String,

    /// Rules by name, or all but those that multiply matrices
    #[arg(long, value_delimiter = ',', default_value = "sgd,adam,adamw,lion", value_parser = rule)]
    pub rules: Vec<String>,

    /// Formats, each for every rule: of the state alone (f32, bf16, int8), or of parameters, gradients
    /// and state, such as bf16+8/bf16/int8; f32+bf16 and f32+f16 are parameters of f32 with a copy
    #[arg(long, value_delimiter = ',', default_value = "f32", value_parser = flags::format::of_all)]
    pub formats: Vec<Formats>,

    /// Elements (2^24), ranges of them (2^10..2^26), tensors x elements (5000x64), vit-tiny
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "2^24,1000x16384,5000x64,vit-tiny",
        value_parser = Workload::parse
    )]
    pub sizes: Vec<Vec<Workload>>,

    /// How many times each step and its copy take turns
    #[arg(long, default_value_t = 21, value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: u16,

    /// The f32 twin on the CPU too
    #[arg(long)]
    pub twin: bool,

    /// Prints one JSON object per line in place of the table
    #[arg(long)]
    pub json: bool,

    /// Times this build and another build of this program in turns, --rounds of them, and prints how
    /// many times as fast this one is
    #[arg(long, value_name = "OTHER_BINARY", conflicts_with_all = ["twin", "out", "formats"])]
    pub compare: Option<PathBuf>,

    /// A page of what was timed, or its pictures: GB/s over the number of elements, of one tensor
    #[arg(long, value_name = "FILE.html|.svg|.png")]
    pub out: Option<Output>,
}

impl Arguments {
    /// The adapter to look for; `None` for the CPU alone.
    pub fn adapter(&self) -> Option<GpuOptions> {
        match self.device.as_str() {
            "cpu" => None,
            "gpu" => Some(GpuOptions::default()),
            name => Some(GpuOptions {
                name: Some(name.to_owned()),
                ..GpuOptions::default()
            }),
        }
    }

    /// The rules to time.
    pub fn rules(&self) -> Vec<&str> {
        match self.rules.iter().any(|rule| rule == "all") {
            true => timed().collect(),
            false => self.rules.iter().map(String::as_str).collect(),
        }
    }

    /// Each rule in each format.
    pub fn rules_in_formats(&self) -> impl Iterator<Item = (&str, Formats)> {
        let formats = |rule| self.formats.iter().map(move |format| (rule, *format));
        self.rules().into_iter().flat_map(formats)
    }

    pub fn workloads(&self) -> impl Iterator<Item = &Workload> {
        self.sizes.iter().flatten()
    }
}

fn device(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("expected gpu, cpu or part of an adapter's name".to_owned()),
        name => Ok(name.to_owned()),
    }
}

fn rule(text: &str) -> Result<String, String> {
    match text == "all" || timed().any(|name| name == text) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "expected all or some of: {}",
            timed().collect::<Vec<_>>().join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[&str]) -> Result<Arguments, String> {
        Arguments::try_parse_from([&["bench"], line].concat()).map_err(|error| error.to_string())
    }

    #[test]
    fn lists_are_taken_apart() {
        let arguments = parse(&["--rules", "adam,lion", "--sizes", "2^10..2^12,7x5"]).unwrap();
        assert_eq!(arguments.rules(), ["adam", "lion"]);
        assert_eq!(arguments.workloads().count(), 4);
        let all = parse(&["--rules", "all"]).unwrap();
        assert!(all.rules().contains(&"lamb") && !all.rules().contains(&"muon"));
    }

    #[test]
    fn a_wrong_line_is_answered_with_what_was_expected() {
        for (line, expected) in [
            (&["--rules", "addam"][..], "expected all or some of: sgd, "),
            (&["--rules", "muon"], "expected all or some of: sgd, "),
            (&["--sizes", "big"], "expected elements"),
            (&["--device", " "], "part of an adapter's name"),
            (&["--formats", "f16"], "expected one of: f32, bf16, int8"),
            (&["--formats", "bf16/f16"], "gradients and state"),
            (&["--formats", "f32+int8"], "expected one of: f16, bf16"),
            (&["--rounds", "0"], "0 is not in 1.."),
            (
                &["--out", "a.pdf"],
                "expected FILE.html, FILE.svg or FILE.png",
            ),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(expected), "{line:?}: {error}");
        }
    }
}
