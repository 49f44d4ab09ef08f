//! What a parameter has on the tape.

use burn::module::ParamId;
use burn::tensor::{GradientCheckpointingStrategy, Tensor};

/// What a parameter has on the tape, and the updated one is to have again. Burn's own is private.
pub(crate) struct Context {
    requires_grad: bool,
    is_distributed: bool,
    checkpointing: Option<GradientCheckpointingStrategy>,
}

impl Context {
    pub fn of<const D: usize>(tensor: &Tensor<D>) -> Self {
        Self {
            requires_grad: tensor.is_require_grad(),
            is_distributed: tensor.is_distributed(),
            checkpointing: tensor.gradient_checkpointing_strategy(),
        }
    }

    pub fn restore<const D: usize>(self, updated: Tensor<D>, id: ParamId) -> Tensor<D> {
        let mut updated = Tensor::from_inner(updated);
        if let Some(strategy) = self.checkpointing {
            updated = updated.with_gradient_checkpointing_strategy(strategy);
        }
        if self.requires_grad {
            updated = updated.require_grad();
        }
        if self.is_distributed {
            updated = updated.set_distributed(id);
        }
        updated
    }
}
