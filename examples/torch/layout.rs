//! Layouts as users write them.

use std::str::FromStr;

use anyhow::{Context, Result};
use flags::rule::RuleText;
use wgpu_optim::Layout;

/// `adamw:lr=0.01 fc.weight=4x3 fc.bias=4 scale=`: a rule, and the tensors of its group with their
/// shapes. Nothing after the `=` is the shape of a scalar.
#[derive(Clone, Debug)]
pub struct GroupText {
    rule: RuleText,
    tensors: Vec<(String, Vec<usize>)>,
}

impl FromStr for GroupText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let rule = words.next().unwrap_or_default().parse()?;
        let tensor = |word: &str| {
            let (name, shape) = word.split_once('=')?;
            let dimensions = shape.split('x').filter(|_| !shape.is_empty());
            let shape = dimensions.map(str::parse).collect::<Result<_, _>>().ok()?;
            Some((name.to_owned(), shape))
        };
        let tensor =
            |word| tensor(word).ok_or(format!("expected NAME=SHAPE like w=4x3, not {word}"));
        Ok(Self {
            rule,
            tensors: words.map(tensor).collect::<Result<_, _>>()?,
        })
    }
}

/// The layout of `groups`.
pub fn layout(groups: &[GroupText]) -> Result<Layout> {
    let mut layout = Layout::new();
    for GroupText { rule, tensors } in groups {
        let group = layout.group(rule.rule(&[])?)?;
        for (name, shape) in tensors {
            let tensor = layout.tensor(group, name, shape);
            tensor.with_context(|| format!("in the group of {rule}"))?;
        }
    }
    Ok(layout)
}
