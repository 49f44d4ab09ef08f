//! The flags for what surrounds an optimizer's step: clipping, loss scaling, accumulation, averaging,
//! and gradients that are spoilt on purpose.

use std::str::FromStr;

use anyhow::{Result, ensure};
use wgpu_optim::{Average, Clip, LossScale, Options};

use crate::number::{BelowOne, PositiveNumber};
use crate::rule::{Rules, inputs};

#[derive(Clone, Debug, clap::Args)]
pub struct Around {
    /// Scales all gradients down together to this norm
    #[arg(long, value_name = "MAX", group = "clip")]
    pub clip_norm: Option<PositiveNumber>,

    /// Scales each tensor's gradient down to this norm
    #[arg(long, value_name = "MAX", group = "clip")]
    pub clip_tensor_norm: Option<PositiveNumber>,

    /// Clamps each element of the gradients to plus or minus this
    #[arg(long, value_name = "MAX", group = "clip")]
    pub clip_value: Option<PositiveNumber>,

    /// Multiplies the loss before its backward pass and divides the gradients by the same: a number,
    /// or `dynamic`, which grows while gradients stay finite and halves when they do not
    #[arg(long, value_name = "SCALE")]
    pub loss_scale: Option<Scale>,

    /// Batches whose gradients add up to one step
    #[arg(long, value_name = "BATCHES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub accumulate: u32,

    /// Tests with an exponential moving average of the weights, which keeps this part of itself at
    /// each step, such as 0.99
    #[arg(long, value_name = "DECAY")]
    pub ema: Option<BelowOne>,

    /// Puts a NaN into the gradients of every Nth step, which is then skipped
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub poison: Option<u32>,
}

impl Around {
    /// What the library is to do around each step of `rules`.
    pub fn options(&self, rules: &Rules) -> Result<Options> {
        self.check(rules)?;
        let clips = [
            self.clip_norm.map(|most| Clip::GlobalNorm(most.0)),
            self.clip_tensor_norm.map(|most| Clip::TensorNorm(most.0)),
            self.clip_value.map(|most| Clip::Value(most.0)),
        ];
        Ok(Options {
            clip: clips.into_iter().flatten().next().unwrap_or_default(),
            loss_scale: self.loss_scale.map(Scale::options),
            // One NaN would stay in the weights for good.
            skip_non_finite: self.poison.is_some(),
            accumulate: self.accumulate,
            zero_grad: self.accumulate > 1,
            average: self.ema.map(|BelowOne(decay)| Average {
                decay,
                debias: true,
            }),
            limits: None,
            pipeline_cache: None,
        })
    }

    /// Fails for what a rule does not go with.
    fn check(&self, rules: &Rules) -> Result<()> {
        // A curvature is estimated from one batch's gradient as it is.
        let changes = [
            ("--loss-scale", self.loss_scale.is_some()),
            ("--accumulate", self.accumulate > 1),
            ("--poison", self.poison.is_some()),
        ];
        for (chosen_by, rule) in rules.by_flag() {
            let name = rule.name();
            for (flag, given) in changes {
                ensure!(
                    !given || inputs(rule).is_empty(),
                    "{flag} does not go with {chosen_by} {name}, whose curvature is estimated from the \
                     gradient: expected a rule that takes nothing but the gradient."
                );
            }
            ensure!(
                self.ema.is_none() || !rule.evaluates_elsewhere(),
                "--ema does not go with {chosen_by} {name}, which averages by itself: expected a rule that \
                 does not."
            );
        }
        Ok(())
    }

    /// What is on, in words; None if nothing is.
    pub fn description(&self) -> Option<String> {
        let parts = [
            self.clip_norm
                .map(|most| format!("clipped to norm {}", most.0)),
            self.clip_tensor_norm
                .map(|most| format!("clipped to norm {} by tensor", most.0)),
            self.clip_value
                .map(|most| format!("clipped to ±{}", most.0)),
            self.loss_scale.map(|scale| match scale {
                Scale::Fixed(scale) => format!("loss scale {scale}"),
                Scale::Dynamic => "loss scale dynamic".to_owned(),
            }),
            (self.accumulate > 1).then(|| format!("{} micro-batches a step", self.accumulate)),
            self.poison
                .map(|every| format!("a NaN in every {every}th step's")),
            self.ema
                .map(|decay| format!("tested with weights averaged at decay {}", decay.0)),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

/// What the loss is multiplied by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    Fixed(f64),
    /// Finds its own size.
    Dynamic,
}

impl Scale {
    fn options(self) -> LossScale {
        match self {
            Self::Fixed(scale) => LossScale::fixed(scale),
            Self::Dynamic => LossScale::default(),
        }
    }
}

impl FromStr for Scale {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "dynamic" => Ok(Self::Dynamic),
            Ok(PositiveNumber(scale)) => Ok(Self::Fixed(scale)),
            Err(expected) => Err(format!("{expected}, or 'dynamic'")),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use wgpu_optim::rules;

    use super::*;

    #[derive(Parser)]
    #[command(allow_negative_numbers = true)]
    struct Line {
        #[command(flatten)]
        around: Around,
    }

    fn parse(line: &[&str]) -> Result<Around, String> {
        let line = Line::try_parse_from([&["test"], line].concat());
        Ok(line.map_err(|error| error.to_string())?.around)
    }

    fn options(line: &[&str]) -> Options {
        let rule = rules::by_name("adamw").unwrap();
        parse(line).unwrap().options(&rule.into()).unwrap()
    }

    #[test]
    fn each_flag_is_the_librarys_option_of_that_name() {
        assert_eq!(options(&[]), Options::default());
        assert_eq!(options(&["--clip-norm", "2"]).clip, Clip::GlobalNorm(2.0));
        assert_eq!(
            options(&["--clip-tensor-norm", "3"]).clip,
            Clip::TensorNorm(3.0)
        );
        assert_eq!(options(&["--clip-value", "0.5"]).clip, Clip::Value(0.5));
        let scale = |text| options(&["--loss-scale", text]).loss_scale;
        assert_eq!(scale("1024"), Some(LossScale::fixed(1024.0)));
        assert_eq!(scale("dynamic"), Some(LossScale::default()));
        let accumulated = options(&["--accumulate", "4"]);
        assert_eq!((accumulated.accumulate, accumulated.zero_grad), (4, true));
        let average = Average {
            decay: 0.99,
            debias: true,
        };
        assert_eq!(options(&["--ema", "0.99"]).average, Some(average));
    }

    #[test]
    fn poison_alone_makes_steps_look_for_it() {
        assert!(!options(&[]).skips());
        assert!(options(&["--poison", "10"]).skips());
    }

    #[test]
    fn gradients_are_clipped_in_one_way_only() {
        for line in [
            ["--clip-norm", "1", "--clip-value", "1"],
            ["--clip-norm", "1", "--clip-tensor-norm", "1"],
            ["--clip-tensor-norm", "1", "--clip-value", "1"],
        ] {
            let error = parse(&line).unwrap_err();
            assert!(error.contains("cannot be used with"), "{error}");
        }
    }

    #[test]
    fn a_wrong_value_is_answered_with_what_was_expected() {
        for (line, expected) in [
            (["--clip-norm", "0"], "expected a finite number above 0"),
            (["--clip-value", "inf"], "expected a finite number above 0"),
            (
                ["--clip-tensor-norm", "-1"],
                "expected a finite number above 0",
            ),
            (["--loss-scale", "0"], "or 'dynamic'"),
            (["--loss-scale", "static"], "or 'dynamic'"),
            (["--accumulate", "0"], "--accumulate"),
            (["--ema", "1"], "from 0 up to but not 1"),
            (["--ema", "0.9999999999"], "from 0 up to but not 1"),
            (["--ema", "-0.1"], "from 0 up to but not 1"),
            (["--poison", "0"], "--poison"),
        ] {
            let error = parse(&line).unwrap_err();
            assert!(error.contains(expected), "{line:?}: {error}");
        }
    }

    #[test]
    fn rules_with_a_curvature_take_gradients_of_one_batch_as_they_are() {
        for name in ["sophia", "newton"] {
            let rule = || rules::by_name(name).unwrap();
            let mixed = Rules {
                matrices: Some(rule()),
                ..rules::by_name("adamw").unwrap().into()
            };
            for (rules, chosen_by) in [(rule().into(), "--optimizer"), (mixed, "--matrices")] {
                for line in [
                    ["--loss-scale", "8"],
                    ["--accumulate", "2"],
                    ["--poison", "10"],
                ] {
                    let error = parse(&line).unwrap().options(&rules).unwrap_err();
                    let error = error.to_string();
                    let chosen = format!("{chosen_by} {name}");
                    assert!(
                        error.contains(line[0]) && error.contains(&chosen),
                        "{error}"
                    );
                }
                let around = parse(&["--clip-norm", "1", "--ema", "0.9"]).unwrap();
                assert!(around.options(&rules).is_ok());
            }
        }
    }

    #[test]
    fn an_average_is_refused_by_flag_where_the_library_would_refuse_it() {
        let around = parse(&["--ema", "0.9"]).unwrap();
        for name in rules::names() {
            let rule = || rules::by_name(name).unwrap();
            match around.options(&rule().into()) {
                Ok(options) => {
                    let mut layout = wgpu_optim::Layout::new();
                    let group = layout.group(rule()).unwrap();
                    layout.tensor(group, "weight", &[1, 1]).unwrap();
                    let twin = wgpu_optim::cpu::Optimizer::<f32>::with_options(&layout, options);
                    assert!(twin.is_ok(), "{name}: {:?}", twin.err());
                }
                Err(error) => {
                    let error = error.to_string();
                    assert!(name.starts_with("schedulefree"), "{name}");
                    assert!(error.contains("--ema") && error.contains(name), "{error}");
                }
            }
        }
    }

    #[test]
    fn the_description_names_what_is_on_and_nothing_else() {
        let description = |line: &[&str]| parse(line).unwrap().description();
        assert_eq!(description(&[]), None);
        assert_eq!(
            description(&[
                "--clip-norm",
                "1",
                "--loss-scale",
                "dynamic",
                "--accumulate",
                "4"
            ]),
            Some("clipped to norm 1, loss scale dynamic, 4 micro-batches a step".to_owned())
        );
        assert_eq!(
            description(&["--ema", "0.99"]),
            Some("tested with weights averaged at decay 0.99".to_owned())
        );
    }
}
