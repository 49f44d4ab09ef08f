//! What is around a rule's own maths.

use crate::{Clip, Options, Rule, format::Formats};

/// What an update does around the rule's own maths.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Frame {
    pub scale: Scale,
    pub zero_grad: bool,
    pub average: bool,
    pub formats: Formats,
}

/// How gradients reach the rule.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) enum Scale {
    /// As they are.
    #[default]
    None,
    /// By one number.
    Plain,
    ByNorm,
    ByValue(f32),
    ByTensor,
}

impl Frame {
    /// What `options` put around an update of `rule`.
    pub fn of(options: &Options, rule: &dyn Rule) -> Self {
        // Without a look at the gradients, nothing else takes part in `grad_scale`.
        let keeps = !options.skips() && options.accumulate == 1 && !rule.maximize();
        Self {
            scale: match options.clip {
                Clip::None if keeps => Scale::None,
                Clip::None => Scale::Plain,
                Clip::Value(most) => Scale::ByValue(most as f32),
                Clip::GlobalNorm(_) => Scale::ByNorm,
                Clip::TensorNorm(_) => Scale::ByTensor,
            },
            zero_grad: options.zero_grad,
            average: options.average.is_some(),
            formats: options.formats(),
        }
    }
}
