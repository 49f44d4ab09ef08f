//! What surrounds a rule's own maths.

use crate::{Clip, Options, Rule, format::Storage};

/// What an update does before and after the rule's own maths.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Frame {
    pub scale: Scale,
    pub zero_grad: bool,
    pub average: bool,
    pub storage: Storage,
    /// Whether every row of every matrix consists of whole quads.
    pub lines_in_quads: bool,
}

/// How gradients are scaled before the rule sees them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) enum Scale {
    /// Not at all.
    #[default]
    None,
    /// By one number.
    Plain,
    ByNorm,
    ByValue(f32),
    ByTensor,
}

impl Frame {
    /// What `options` add to an update of `rule`, whose numbers lie in `storage`.
    pub fn of(options: &Options, rule: &dyn Rule, storage: Storage) -> Self {
        // If no step inspects the gradients, nothing else contributes to `grad_scale`.
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
            storage,
            lines_in_quads: false,
        }
    }
}
