//! What the steps so far took, for a caller who asks.

/// What a tensor is to a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operand {
    /// A parameter.
    Param,
    /// A gradient.
    Grad,
}

/// Why a tensor was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Its elements do not lie one after another. Burn hands out such gradients, for instance of a
    /// weight that was used transposed.
    NotContiguous,
    /// Something else holds its buffer: a clone of the module, a tensor of the graph, or a second
    /// place of the module. The step leaves that as it is.
    Shared,
    /// It is a parameter in f16, which a step keeps in f32 as well, or a gradient in another type than its
    /// parameter has in a step.
    OtherDtype,
}

/// A tensor that a step could not use where it lies, so that it costs a copy in such steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The parameter's path in the module.
    pub path: String,
    /// Whether it was the parameter or its gradient.
    pub operand: Operand,
    /// Why.
    pub reason: Reason,
}

/// How often what happened in all steps so far.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counts {
    /// Steps that updated something.
    pub steps: u64,
    /// Parameters that were brought into a buffer that they share with others. Once for each
    /// parameter, at its first step.
    pub gathered: u64,
    /// Copies of parameters whose buffer something else held.
    pub shared: u64,
    /// Copies of tensors whose elements did not lie one after another.
    pub not_contiguous: u64,
    /// Copies of parameters to f16 for the module, and of gradients in another type than their parameters.
    pub other_dtype: u64,
    /// Steps before which a parameter lay elsewhere than at the step before.
    pub moved: u64,
    /// Layouts that were made since other parameters had gradients, or since learning rates parted.
    pub regrouped: u64,
    /// Pairs of a parameter buffer and a gradient buffer in the last step: what a step needs in
    /// dispatches, at the least.
    pub buffers: usize,
}

impl Counts {
    /// Copies so far.
    pub fn copies(&self) -> u64 {
        self.gathered + self.shared + self.not_contiguous + self.other_dtype
    }
}
