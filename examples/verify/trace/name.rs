//! What the names of a trace's tensors say.

use std::fmt;

use anyhow::{Context, Result, ensure};

/// `<kind>.<step>.<parameter>`; `param.<parameter>`, the start, is of step 0. A parameter's name
/// may have dots in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name<'a> {
    pub kind: &'a str,
    pub step: usize,
    pub param: &'a str,
}

impl<'a> Name<'a> {
    pub fn start(param: &'a str) -> Self {
        let (kind, step) = ("param", 0);
        Self { kind, step, param }
    }

    pub fn parse(text: &'a str) -> Result<Self> {
        let (kind, rest) = text.split_once('.').unwrap_or((text, ""));
        let name = if kind == "param" {
            Self::start(rest)
        } else {
            let (step, param) = rest.split_once('.').unwrap_or((rest, ""));
            let is_plain = !step.starts_with(['0', '+']);
            let step = step.parse().ok().filter(|_| is_plain).with_context(|| {
                format!(
                    "tensor {text:?} is none of a trace: expected param.<name>, grad.<t>.<name>, \
                     expected.<t>.<name> and the like, t from 1"
                )
            })?;
            Self { kind, step, param }
        };
        ensure!(
            !name.param.is_empty(),
            "tensor {text:?} lacks the name of a parameter"
        );
        Ok(name)
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, step, param } = self;
        match step {
            0 => write!(f, "\"{kind}.{param}\""),
            _ => write!(f, "\"{kind}.{step}.{param}\""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameters_name_may_have_dots_and_numbers() {
        let start = Name::parse("param.layers.0.weight").unwrap();
        assert_eq!(start, Name::start("layers.0.weight"));
        let (kind, step, param) = ("grad", 12, "3.weight");
        let grad = Name::parse("grad.12.3.weight").unwrap();
        assert_eq!(grad, Name { kind, step, param });
        assert_eq!(grad.to_string(), "\"grad.12.3.weight\"");
        assert_eq!(start.to_string(), "\"param.layers.0.weight\"");
    }

    #[test]
    fn names_without_a_step_or_a_parameter_are_refused() {
        for name in [
            "", "w", "param", "param.", "grad", "grad.w", "grad.1", "grad.1.", "..",
        ] {
            assert!(Name::parse(name).is_err(), "{name}");
        }
        for step in ["0", "01", "+1", "-1", "1e3", "99999999999999999999", " 1"] {
            let error = Name::parse(&format!("grad.{step}.w")).unwrap_err();
            assert!(error.to_string().contains("is none of a trace"), "{error}");
        }
    }
}
